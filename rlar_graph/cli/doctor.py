"""``rlar doctor``: what this machine can do, and what to do about what it cannot."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata, util
from typing import TYPE_CHECKING

import typer

from rlar_graph.cli.console import console
from rlar_graph.cli.options import JsonOption, RegistryOption, settings_from
from rlar_graph.errors import LLMError, RlarError, SettingsError

if TYPE_CHECKING:
    from rlar_graph.resources import Resources
    from rlar_graph.settings import Settings

EXTRAS = {
    "server": ("fastapi", "pip install 'rlar-graph[server]' for the HTTP server and LangGraph Studio"),
    "local": ("torch", "pip install 'rlar-graph[local]' for reward models on this machine"),
    "e2b": ("e2b_code_interpreter", "pip install 'rlar-graph[e2b]' for a remote sandbox"),
    "ray": ("ray", "pip install 'rlar-graph[ray]' for sandbox workers and model replicas on a cluster"),
    "pooling": (
        "jinja2",
        "pip install 'rlar-graph[pooling]' for chat templates of reward models on a server",
    ),
    "trl": ("trl", "pip install 'rlar-graph[trl]' to train with TRL"),
    "postgres": ("psycopg", "pip install 'rlar-graph[postgres]' for a registry on PostgreSQL"),
}
LLM_SECONDS = 60.0
"""Longest wait for the language model's answer; one that has to be loaded first takes a while."""
DISTRIBUTIONS = ("langgraph", "langchain-openai", "sqlalchemy", "math-verify", "sacrebleu", "jsonschema")


def doctor(json_: JsonOption = False, registry: RegistryOption = None) -> None:
    """Check settings, registry, sandbox, models and extras; exit code 1 if something needed is broken.

    A language model that is configured is asked one short question.
    """
    from rlar_graph.cli.doctor_models import model_findings
    from rlar_graph.resources import Resources

    settings = settings_from(registry)
    with Resources(settings) as resources:
        findings = [
            _python(),
            *_misspelt(settings),
            _registry(resources),
            *_sandbox(resources),
            _llm(settings),
        ]
        findings += [*model_findings(settings), *_extras()]
    broken = any(finding["state"] == "broken" for finding in findings)
    if json_:
        typer.echo(json.dumps({"ok": not broken, "findings": findings}, indent=2))
    else:
        _show(findings)
    if broken:
        raise typer.Exit(1)


def _finding(what: str, state: str, note: str) -> dict[str, str]:
    return {"what": what, "state": state, "note": note}


def _python() -> dict[str, str]:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in DISTRIBUTIONS)
    return _finding("python", "ok", f"{platform.python_version()} on {sys.platform}; {versions}")


def _misspelt(settings: Settings) -> list[dict[str, str]]:
    """Say which variables look like settings and are none; nothing where there are none."""
    from rlar_graph.environment import unread

    return [_finding("settings", "off", said) for said in unread(type(settings).model_fields)]


def _registry(resources: Resources) -> dict[str, str]:
    try:
        tools = resources.registry.tools()
    except RlarError as error:
        return _finding("registry", "broken", str(error))
    active = sum(tool.active is not None for tool in tools)
    return _finding("registry", "ok", f"{len(tools)} tools, {active} active")


def _sandbox(resources: Resources) -> list[dict[str, str]]:
    """Report the sandbox as its self-test found it."""
    try:
        report = resources.sandbox().report()
    except RlarError as error:
        return [_finding("sandbox", "broken", str(error))]
    escaped = f"; NOT contained: {', '.join(report.escaped)}" if report.escaped else ""
    state = "ok" if report.confined else "broken"
    rows = [_finding("sandbox", state, report.summary + escaped)]
    rows += [
        _finding(f"  {layer.name}", "on" if layer.active else "off", layer.note) for layer in report.layers
    ]
    return rows


def _llm(settings: Settings) -> dict[str, str]:
    """Ask the language model one short question: a wrong key or model name shows in nothing less."""
    from rlar_graph.llm import LanguageModel

    if settings.llm_base_url is None and settings.llm_model is not None:
        note = "RLAR_LLM_MODEL names a model, but RLAR_LLM_BASE_URL no server: nothing is asked of it"
        return _finding("language model", "broken", note)
    if settings.llm_base_url is not None and settings.llm_model is None:
        note = "RLAR_LLM_BASE_URL names a server, but RLAR_LLM_MODEL no model there"
        return _finding("language model", "broken", note)
    if settings.llm_base_url is None:
        note = (
            "none: prompts without a tool abstain. Set RLAR_LLM_BASE_URL, RLAR_LLM_MODEL and RLAR_LLM_API_KEY"
        )
        return _finding("language model", "off", note)
    try:
        with LanguageModel(
            settings.llm_base_url,
            settings.llm_model or "",
            settings.llm_api_key,
            timeout_seconds=min(LLM_SECONDS, settings.llm_seconds),
            max_retries=0,
            max_tokens=settings.llm_reply_tokens,
        ) as model:
            where = f"{model.model} at {model.base_url}"
            model.ask_text("doctor", "Reply with one word: ready")
    except (LLMError, SettingsError) as error:
        return _finding("language model", "broken", str(error))
    return _finding("language model", "ok", f"{where} answers")


def _extras() -> list[dict[str, str]]:
    return [
        _finding(
            f"extra {name}",
            "ok" if util.find_spec(module) else "off",
            "" if util.find_spec(module) else advice,
        )
        for name, (module, advice) in EXTRAS.items()
    ]


def _show(findings: list[dict[str, str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("what", "state", "note")
    colours = {"ok": "green", "on": "green", "off": "yellow", "broken": "red"}
    for finding in findings:
        table.add_row(
            finding["what"], f"[{colours[finding['state']]}]{finding['state']}[/]", escape(finding["note"])
        )
    console().print(table)
