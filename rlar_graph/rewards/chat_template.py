"""A chat template rendered here, for servers that take text and leave the template to their clients."""

from __future__ import annotations

from collections.abc import Sequence

from rlar_graph.errors import ToolError
from rlar_graph.rewards.conversation import Turn


def render(template: str, turns: Sequence[Turn]) -> str:
    """Return a conversation as a template writes it.

    The beginning and end of text are left out: a server's tokenizer puts them there by itself.

    Raises:
        ToolError: The template is broken, or jinja2 is not installed.
    """
    try:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ToolError("this server needs chat templates rendered here: pip install jinja2") from error

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = refuse
    try:
        made = environment.from_string(template)
        return str(made.render(messages=list(turns), bos_token="", eos_token="", add_generation_prompt=False))
    except (TemplateError, TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the chat template cannot be rendered: {str(error)[:200]}") from error
