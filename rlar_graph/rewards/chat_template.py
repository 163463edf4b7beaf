"""Chat templates rendered here, for servers that take text and leave the template to their clients.

A template is a stranger's program. jinja2's sandbox keeps it from reaching out, and not from looping for ever or from
filling the memory, so it runs in a process of its own: no network, little memory, a deadline, a few named variables.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from rlar_graph.errors import ToolError
from rlar_graph.rewards.conversation import Turn
from rlar_graph.rewards.model_worker import leave_the_network

SECONDS = 20.0
MEMORY_BYTES = 1 << 30
REPLY_BYTES = 256 << 20
ERROR_CHARS = 200


def rendered(
    template: str, conversations: Sequence[Sequence[Turn]], *, seconds: float = SECONDS
) -> list[str | None]:
    """Return each conversation as a template writes it, None where it refuses one.

    The beginning and end of text are left out: a server's tokenizer puts them there by itself.

    Args:
        template: The template.
        conversations: The conversations.
        seconds: How long it may take over all of them.

    Raises:
        ToolError: The template is broken, late, too large or refuses every conversation; or jinja2 is not installed.
    """
    asked = json.dumps({"template": template, "conversations": [list(turns) for turns in conversations]})
    root = Path(__file__).resolve().parents[2]
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": str(root)}
    with tempfile.TemporaryDirectory(prefix="rlar-template-") as folder, tempfile.TemporaryFile() as replies:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-s", "-m", "rlar_graph.rewards.chat_template"],
                input=asked.encode("utf-8", "surrogatepass"),
                stdout=replies,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                env=environment,
                cwd=folder,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"the chat template was not rendered within {seconds:g} s") from error
        found = _reply(replies, len(conversations))
    if found is None:
        raise ToolError(f"the chat template broke the process that rendered it (status {done.returncode})")
    texts = [entry if isinstance(entry, str) else None for entry in found]
    refused = [entry["error"] for entry in found if isinstance(entry, Mapping)]
    if refused and not any(text is not None for text in texts):
        raise ToolError(f"the chat template cannot be rendered: {refused[0]}")
    return texts


def _reply(replies: IO[bytes], count: int) -> list[str | Mapping[str, str]] | None:
    """Return what the process wrote, or None where that is no reply."""
    replies.seek(0)
    try:
        read = json.loads(replies.read(REPLY_BYTES))
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, list) and len(read) == count else None


def main() -> int:
    """Render what standard input asks for; this is the process of its own."""
    leave_the_network()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (REPLY_BYTES, REPLY_BYTES))
    asked = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    found = [_one(asked["template"], turns) for turns in asked["conversations"]]
    sys.stdout.write(json.dumps(found))
    return 0


def _one(template: str, turns: Sequence[Turn]) -> str | dict[str, str]:
    """Return one conversation as text, or what went wrong."""
    try:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        return {"error": "this server needs chat templates rendered here: pip install jinja2"}

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = refuse
    try:
        made = environment.from_string(template)
        return str(made.render(messages=list(turns), bos_token="", eos_token="", add_generation_prompt=False))
    except Exception as error:  # noqa: BLE001 - the process's edge: a stranger's template raises what it likes
        return {"error": f"{type(error).__name__}: {str(error)[:ERROR_CHARS]}"}


if __name__ == "__main__":
    raise SystemExit(main())
