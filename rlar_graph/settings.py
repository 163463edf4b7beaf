"""One settings object, read once at the edge and passed down.

An explicit argument beats the environment (``RLAR_*``), which beats ``rlar.toml`` in the working directory,
which beats the defaults below.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rlar_graph.errors import SettingsError


class Settings(BaseSettings):
    """Everything a run can be told.

    Raises:
        pydantic.ValidationError: An argument is unknown or out of range (:meth:`load` raises
            :class:`~rlar_graph.errors.SettingsError` instead, in words for a person).
    """

    model_config = SettingsConfigDict(
        env_prefix="RLAR_", toml_file="rlar.toml", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    registry_url: str = Field(
        default="sqlite:///rlar.db", description="SQLAlchemy URL of the registry of reward tools."
    )
    sandbox: str = Field(
        default="process", pattern="^(process|e2b|unsafe)$", description="Engine that runs untrusted code."
    )
    workers: int = Field(default=2, ge=1, le=1024, description="Sandbox worker processes.")
    max_completion_chars: int = Field(
        default=1_000_000, ge=1, description="Longer completions abstain instead of being scored."
    )
    code_seconds: float = Field(
        default=6.0, gt=0, le=3600, description="Wall-clock seconds for one program and its tests."
    )
    code_memory_mb: int = Field(default=512, ge=16, description="Address space in MiB for one program.")
    partial_credit: bool = Field(
        default=False, description="Score code and instructions by the fraction passed, not all-or-nothing."
    )
    decision_sample: float = Field(
        default=0.01, ge=0, le=1, description="Share of scored completions kept in the registry as decisions."
    )
    llm_base_url: str | None = Field(default=None, description="Base URL of an OpenAI-compatible endpoint.")
    llm_model: str | None = Field(default=None, description="Model name at that endpoint.")
    llm_api_key: SecretStr | None = Field(
        default=None, description="Key for that endpoint; never logged or passed on."
    )
    llm_calls: int = Field(default=200, ge=0, description="Most requests to the language model in one run.")
    llm_tokens: int | None = Field(default=None, ge=0, description="Most tokens in one run, both ways.")
    llm_money: float | None = Field(default=None, ge=0, description="Most money in one run; needs the two prices.")
    llm_prompt_price: float | None = Field(default=None, ge=0, description="Price of a million prompt tokens.")
    llm_completion_price: float | None = Field(
        default=None, ge=0, description="Price of a million completion tokens."
    )
    llm_seconds: float = Field(default=120.0, gt=0, description="Longest wait for one request to the language model.")
    family_prompts: int = Field(
        default=4,
        ge=1,
        description="Prompts a family must have before a tool is sought for it; unnamed families only.",
    )
    writer_candidates: int = Field(
        default=3, ge=1, le=16, description="Independent verifiers written for one family."
    )
    writer_rounds: int = Field(default=3, ge=1, le=16, description="Drafts of one verifier, repairs included.")
    acquire: str = Field(
        default="wait",
        pattern="^(wait|background|prepare)$",
        description="When tools are sought: a call waits for them, they come in the background, or only prepare().",
    )
    acquire_wait_seconds: float = Field(
        default=0.0, ge=0, description="Wait for another process that seeks the same tool; 0 abstains at once."
    )
    review: bool = Field(default=False, description="Leave new tools as candidates until a person approves them.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, ``rlar.toml``."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, **explicit: object) -> Self:
        """Return the settings in force; None among the arguments means not given.

        Raises:
            SettingsError: A setting is unknown or out of range, or ``rlar.toml`` cannot be read.
        """
        given = {name: value for name, value in explicit.items() if value is not None}
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
            )
            raise SettingsError(f"{faults} (from arguments, RLAR_* variables or rlar.toml)") from error
        except ValueError as error:
            raise SettingsError(f"rlar.toml: {error}") from error
