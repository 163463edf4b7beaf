"""Lists every setting in settings.md; a test fails when the list is not what :class:`Settings` declares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, cast

from rlar_graph.settings import Settings

Schema: TypeAlias = Mapping[str, object]

PAGE = Path(__file__).parent / "settings.md"
MARK = "<!-- written by docs/list_settings.py: `make drawing` -->"
SECTIONS = {
    "registry_url": "Registry, sandbox and limits",
    "llm_base_url": "Language model",
    "make_evidence": "How tools are sought",
    "reward_models": "Reward models",
    "hub_endpoint": "The Hub",
    "rm_server_url": "A reward model on a server",
    "near_tie_judge": "Near ties",
    "neutral_reward": "Trainers and servers",
}
"""The first setting of each section, in the order of declaration -> its heading."""
BOUNDS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}"}


def sections() -> str:
    """Return the tables of all settings, in the order of their declaration."""
    lines: list[str] = []
    for name, schema in Settings.model_json_schema()["properties"].items():
        if name in SECTIONS:
            lines += [
                "",
                f"## {SECTIONS[name]}",
                "",
                "| setting | default | may be | what it says |",
                "|---|---|---|---|",
            ]
        lines.append(row(name, schema))
    return "\n".join(lines).strip() + "\n"


def row(name: str, schema: Schema) -> str:
    """Return one setting's line."""
    cells = (f"`{name}`", default_of(schema), values_of(schema), str(schema["description"]))
    return "| " + " | ".join(cells) + " |"


def default_of(schema: Schema) -> str:
    """Return the default as ``rlar.toml`` would have it; nothing where the setting is off or chosen later."""
    value = schema["default"]
    if value is None:
        return ""
    text = (
        f"{value:_}"
        if isinstance(value, int) and value is not True and value >= 10_000
        else json.dumps(value)
    )
    return f"`{text}`"


def values_of(schema: Schema) -> str:
    """Return what the setting may be: the words it knows, or the kind of value with its bounds."""
    (kind, *_) = [*_kinds(schema), schema]
    words = re.fullmatch(r"\^\((.*)\)\$", str(kind.get("pattern", "")))
    if words:
        return ", ".join(f"`{word}`" for word in words[1].replace(r"(:\d+)?", "|cuda:N").split("|"))
    if kind.get("format") == "password":
        return "secret"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    said = names.get(str(kind["type"]), "list of texts")
    return " ".join([said, *(form.format(kind[key]) for key, form in BOUNDS.items() if key in kind)])


def _kinds(schema: Schema) -> Iterator[Schema]:
    choices = cast("list[Schema]", schema.get("anyOf", []))
    yield from (choice for choice in choices if choice.get("type") != "null")


def main() -> None:
    """Replace what follows the mark."""
    before, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(f"{before}{mark or MARK}\n\n{sections()}", encoding="utf-8")


if __name__ == "__main__":
    main()
