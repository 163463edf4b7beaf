"""Every error the library raises, in one tree.

    RlarError
    ├── SettingsError             a setting is missing, malformed or contradictory
    ├── InputError                records, columns or files handed to us are not what they must be
    ├── RegistryError             the registry cannot be opened, read or written
    │   ├── MigrationError        its schema is newer than this library, or broken
    │   ├── UnknownTool           no reward tool (or version) of that name
    │   └── RegistryFrozen        a change was asked of a frozen registry
    ├── SandboxError              the sandbox as a whole failed; never the fault of one program in it
    │   ├── SandboxUnavailable    a layer below the minimum is missing on this machine
    │   └── SandboxClosed         used after it was closed
    ├── ToolError                 a reward tool broke as a whole; its completions abstain
    ├── EngineError               the engine that processes of this machine share cannot be used
    ├── Unscored                  nothing could judge a completion, told to a trainer that leaves such samples out
    ├── PromptError               a prompt document and the fields given to it do not match
    └── LLMError                  the language model gave nothing to go on; what needed it abstains
        ├── LLMUnavailable        it cannot be reached, is overloaded, or refuses our key or model name
        ├── LLMReplyError         it refused, or its reply has not the form that was asked for
        └── BudgetExhausted       the run may not spend another call, token or cent

A broken completion, a timed-out program or an unparsable answer is not an error: it is an *abstention*, a
:class:`~rlar_graph.types.Score` without a value. Messages say what happened, where, and what to do next.
"""

from __future__ import annotations


class RlarError(RuntimeError):
    """Root of the tree: catch this to catch everything the library raises on purpose.

    A ``RuntimeError``, because the LangGraph server tells its clients the message of nothing but built-in errors.
    """


class SettingsError(RlarError):
    """A setting is missing, malformed or contradicts another."""


class InputError(RlarError):
    """Records, columns or files handed to us are not what they must be.

    Args:
        problem: What is wrong, in words for the person who wrote the input.
        file: File it was read from, if any.
        line: 1-based line in that file, if any.
        field: Name of the field or column at fault, if one is.
    """

    def __init__(
        self, problem: str, *, file: str | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.problem, self.file, self.line, self.field = problem, file, line, field
        place = [file] if file else []
        if line is not None:
            place.append(f"line {line}")
        if field is not None:
            place.append(f"field {field!r}")
        super().__init__(f"{', '.join(place)}: {problem}" if place else problem)


class RegistryError(RlarError):
    """The registry cannot be opened, read or written."""


class MigrationError(RegistryError):
    """The registry's schema is newer than this library, or a migration failed."""


class UnknownTool(RegistryError):
    """There is no reward tool (or version of it) of that name."""


class RegistryFrozen(RegistryError):
    """A change was asked of a frozen registry."""


class SandboxError(RlarError):
    """The sandbox as a whole failed; never the fault of one program in it."""


class SandboxUnavailable(SandboxError):
    """A layer below the minimum is missing on this machine; the message names it and offers a way out."""


class SandboxClosed(SandboxError):
    """The sandbox was used after it was closed."""


class ToolError(RlarError):
    """A reward tool broke as a whole; the completions it was to score abstain."""


class EngineError(RlarError):
    """The engine that the processes of this machine share cannot be started, ended twice, or does not answer."""


class Unscored(RlarError):
    """Nothing could judge a completion, said as an exception to trainers that leave such samples out."""


class PromptError(RlarError):
    """A prompt document and the fields given to it do not match."""


class LLMError(RlarError):
    """The language model gave nothing to go on; whatever needed its answer abstains."""


class LLMUnavailable(LLMError):
    """The model's server cannot be reached, stays overloaded, or refuses our key or model name."""


class LLMReplyError(LLMError):
    """The model refused, or its reply has not the form that was asked for, also after a repair turn."""


class BudgetExhausted(LLMError):
    """The run's budget of calls, tokens or money does not allow another request."""
