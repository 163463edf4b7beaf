"""One settings object, read once at the edge and passed down.

An explicit argument beats the environment (``RLAR_*``), which beats ``rlar.toml`` in the working directory,
which beats the defaults below.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from rlar_graph.environment import PREFIX, meant, say_once, unread, variable
from rlar_graph.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Settings(BaseSettings):
    """Everything a run can be told.

    Raises:
        pydantic.ValidationError: An argument is unknown or out of range (:meth:`load` raises
            :class:`~rlar_graph.errors.SettingsError` instead, in words for a person).
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="rlar.toml", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    registry_url: str = Field(
        default="sqlite:///rlar.db", repr=False, description="SQLAlchemy URL of the registry of reward tools."
    )
    sandbox: str = Field(
        default="process",
        pattern="^(process|ray|e2b|unsafe)$",
        description="Engine that runs untrusted code.",
    )
    workers: int = Field(
        default=2, ge=1, le=1024, description="Sandbox worker processes, or actors of the Ray engine."
    )
    ray_address: str = Field(
        default="auto",
        min_length=1,
        description="Ray cluster for sandbox='ray' and model replicas, unless the process has joined one.",
    )
    ray_cpus: float = Field(
        default=1.0, ge=0, le=1024, description="CPUs of one Ray actor: reserved, and used."
    )
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
    audit_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of scored rollouts that the auditor is shown, if there is one.",
    )
    audit_rollouts: int = Field(default=60, ge=1, description="Most rollouts a minute that it is shown.")
    llm_base_url: str | None = Field(default=None, description="Base URL of an OpenAI-compatible endpoint.")
    llm_model: str | None = Field(default=None, description="Model name at that endpoint.")
    llm_api_key: SecretStr | None = Field(
        default=None, description="Key for that endpoint; never logged or passed on."
    )
    llm_calls: int = Field(default=500, ge=0, description="Most requests of one run that seek tools.")
    llm_reply_tokens: int = Field(default=4096, ge=16, description="Longest reply of the language model.")
    judge_calls: int = Field(
        default=20_000, ge=0, description="Most requests of judges in one run; they ask one per completion."
    )
    llm_tokens: int | None = Field(default=None, ge=0, description="Most tokens in one run, both ways.")
    llm_money: float | None = Field(
        default=None, ge=0, description="Most money in one run; needs the two prices."
    )
    llm_prompt_price: float | None = Field(
        default=None, ge=0, description="Price of a million prompt tokens."
    )
    llm_completion_price: float | None = Field(
        default=None, ge=0, description="Price of a million completion tokens."
    )
    llm_seconds: float = Field(
        default=120.0, gt=0, description="Longest wait for one request to the language model."
    )
    make_evidence: bool = Field(
        default=False,
        description="Make evidence (constraints, tests, references) for prompts that bring none.",
    )
    family_prompts: int = Field(
        default=4,
        ge=1,
        description="Prompts a family must have before a tool is sought for it; unnamed families only.",
    )
    writer_candidates: int = Field(
        default=3, ge=1, le=16, description="Independent verifiers written for one family."
    )
    writer_rounds: int = Field(
        default=3, ge=1, le=16, description="Drafts of one verifier, repairs included."
    )
    acquire: str = Field(
        default="wait",
        pattern="^(wait|background|prepare)$",
        description="When tools are sought: a call waits for them, they come in the background, or only prepare().",
    )
    acquire_wait_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Wait for another process that seeks the same tool; 0 abstains at once.",
    )
    review: bool = Field(
        default=False, description="Leave new tools as candidates until a person approves them."
    )
    reward_models: str = Field(
        default="off",
        pattern="^(off|catalogue|hub|web)$",
        description="Where reward models are looked for: nowhere, the catalogue, also the Hub, also the web.",
    )
    reward_model_names: tuple[str, ...] = Field(
        default=(), description="Repositories on the Hub to try first, e.g. ['org/name']."
    )
    reward_model_candidates: int = Field(
        default=3, ge=1, le=50, description="Reward models measured for one family at most."
    )
    reward_model_licences: tuple[str, ...] = Field(
        default=(
            "apache-2.0",
            "mit",
            "bsd-2-clause",
            "bsd-3-clause",
            "cc0-1.0",
            "cc-by-4.0",
            "isc",
            "unlicense",
        ),
        description="Licences of reward models that may be used, as the Hub writes them.",
    )
    reward_model_accuracy: float = Field(
        default=0.7, ge=0.5, le=1, description="Share of labelled pairs a reward model must order rightly."
    )
    reward_model_memory_mb: int | None = Field(
        default=None,
        ge=16,
        description="Memory of all reward models together; by default 80 % of what is free.",
    )
    reward_model_device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where reward models run."
    )
    ray_gpus: float | None = Field(
        default=None, ge=0, description="GPUs of one replica on a Ray cluster; by default one if it has any."
    )
    reward_model_replicas: int = Field(
        default=0, ge=0, le=1024, description="Replicas of a reward model on a Ray cluster; 0 runs it here."
    )
    reward_model_dtype: str = Field(
        default="auto",
        pattern="^(auto|bfloat16|float32)$",
        description="Arithmetic of reward models; by default bfloat16 on a GPU and float32 on a CPU.",
    )
    reward_model_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Tokens of one batch, padding included; by default what suits the device.",
    )
    reward_model_exact: bool | None = Field(
        default=None,
        description="Whether 16-bit reward models read completions one by one; by default on a CPU.",
    )
    reward_model_seconds: float = Field(
        default=600.0,
        gt=0,
        description="Longest wait for a reward model to load or to read one batch of rollouts.",
    )
    hub_endpoint: str | None = Field(default=None, description="Address of the Hub or a mirror of it.")
    hub_cache: str | None = Field(
        default=None, description="Folder for downloaded models; by default the Hub's own."
    )
    hub_seconds: float = Field(
        default=10.0, gt=0, description="Longest wait for a search on the Hub or the web."
    )
    hub_download_seconds: float = Field(default=3600.0, gt=0, description="Longest wait for a model's files.")
    rm_server_url: str | None = Field(
        default=None, description="Address of a server that runs a reward model (vLLM, SGLang, a reranker)."
    )
    rm_server_model: str | None = Field(default=None, description="Name of the reward model on that server.")
    rm_server_dialect: str = Field(
        default="vllm", pattern="^(vllm|vllm-classify|sglang|rerank)$", description="What that server speaks."
    )
    rm_server_key: SecretStr | None = Field(default=None, description="Key for that server; never logged.")
    rm_server_retries: int = Field(
        default=3, ge=0, le=20, description="Further tries of a request that failed."
    )
    near_tie_judge: str | None = Field(
        default=None,
        description="Judge in the registry that near ties of a reward model are put to; none by default.",
    )
    near_tie_margin: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Values that close to the best of their rollout are tied with it.",
    )
    near_tie_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of completions that the judge of near ties may be asked about.",
    )
    neutral_reward: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Reward of an abstention, in trainers with no word for it and without others of its group.",
    )
    server_token: SecretStr | None = Field(
        default=None, description="What requests to the server must carry; none serves this machine only."
    )
    engine: str = Field(
        default="auto",
        pattern="^(auto|own|machine)$",
        description="Engine behind adapters: one that the processes of a machine share, where it can be; own; machine.",
    )
    engine_grace_seconds: float = Field(
        default=2.0, ge=0, le=86_400, description="How long a shared engine outlives its last user."
    )
    engine_silent_seconds: float = Field(
        default=30.0, ge=2, description="A shared engine that is silent for longer is replaced."
    )

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

    def model_post_init(self, context: object) -> None:
        """Warn, once in a process, of what was set and has no effect."""
        for sentence in self.unheeded():
            say_once(sentence)

    def unheeded(self) -> tuple[str, ...]:
        """Return what was set and has no effect, a sentence each: a variable's name is wrong, or another is missing."""
        vain = [variable(name) for name in ("llm_model", "llm_api_key") if getattr(self, name) is not None]
        unknown = unread(type(self).model_fields)
        if not vain or self.llm_base_url is not None:
            return unknown
        lack = f"without {variable('llm_base_url')} there is no server: no language model is asked"
        return (*unknown, " and ".join(vain) + f": {lack}")

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
            faults = "; ".join(map(_fault, error.errors()))
            raise SettingsError(f"{faults} (from arguments, RLAR_* variables or rlar.toml)") from error
        except SourceError as error:
            name = variable(error.args[0].split('"')[1])
            raise SettingsError(f'{name}: a list in a variable is JSON, e.g. \'["one", "two"]\'') from error
        except ValueError as error:
            raise SettingsError(f"rlar.toml: {error}") from error


def _fault(each: ErrorDetails) -> str:
    """Say what is wrong with a setting."""
    name, pattern = ".".join(map(str, each["loc"])), str(each.get("ctx", {}).get("pattern"))
    if each["type"] == "extra_forbidden":
        return f"{name}: there is no such setting{meant(name, Settings.model_fields)}"
    if re.fullmatch(r"\^\([\w|-]+\)\$", pattern):
        return f"{name}: must be one of {', '.join(pattern[2:-2].split('|'))}"
    return f"{name}: {each['msg']}"
