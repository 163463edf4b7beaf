"""The environment's variables as settings: what each is called, and which of them nobody reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from difflib import get_close_matches

PREFIX = "RLAR_"
OF_TESTS = f"{PREFIX}TEST_"
"""How the variables of the test suite begin."""

log = logging.getLogger(__name__)
_said: set[str] = set()


def variable(setting: str) -> str:
    """Return the variable of a setting."""
    return f"{PREFIX}{setting.upper()}"


def unread(settings: Collection[str]) -> tuple[str, ...]:
    """Return what is wrong with variables that look like settings and are none, a sentence each.

    They are no error: a cluster may set variables of its own for all that runs there.

    Args:
        settings: The names of all settings.
    """
    return tuple(
        f"{name} is no setting and is not read{meant(name, settings, PREFIX)}"
        for name in sorted(os.environ)
        if name.upper().startswith(PREFIX)
        and name.upper().removeprefix(PREFIX).lower() not in settings
        and not name.startswith(OF_TESTS)
    )


def meant(name: str, settings: Collection[str], prefix: str = "") -> str:
    """Return the question whether the nearest setting was meant; nothing where none is near.

    Args:
        name: What is no setting, with its prefix.
        settings: The names of all settings.
        prefix: How variables begin; empty where the name is written as in ``rlar.toml``.
    """
    near = get_close_matches(name.upper().removeprefix(prefix).lower(), settings, 1)
    if not near:
        return ""
    return f"; did you mean {variable(near[0]) if prefix else near[0]}?"


def say_once(sentence: str) -> None:
    """Warn of something, the first time in a process."""
    if sentence not in _said:
        _said.add(sentence)
        log.warning("%s", sentence)
