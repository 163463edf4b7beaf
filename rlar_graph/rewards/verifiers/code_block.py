"""The program inside a completion: fenced, bare, or a mere body that goes on where the prompt stopped.

The program is the completion itself where all of it is Python that binds a wanted name, for fences may
stand in its docstrings. Else it is the first of these that exists:

1. the last complete Python block (labelled so, or not labelled) that binds a wanted name; where no name is
   wanted, the last labelled block, else the last unlabelled one that parses;
2. an unfinished last block that binds one: the stop token was the closing fence, or the tokens ran out;
3. a block, or the bare completion, that goes on from the ``def`` the prompt ends with;
4. bare code: from the first line that can only be Python, cut before what no longer parses;
5. all Python blocks in order, as one program.

Whatever it uses without binding it (helpers, imports) is supplied from its own earlier blocks, then from the
prompt's code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rlar_graph.rewards.verifiers.python_source import (
    binds,
    code_region,
    parsing_prefix,
    supply,
    syntax_tree,
)

PYTHON_LABELS = frozenset({"python", "py", "python3", "py3", "python2", "sage", "ipython"})
_TAGS = re.compile(
    r"^[ \t]*(?:<(?i:answer|code|solution|python)>|\[(?:BEGIN|PYTHON)\])"
    r"|(?:</(?i:answer|code|solution|python)>|^\[(?:END|DONE|/PYTHON)\])[ \t]*$",
    re.MULTILINE,
)
_STUB = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of Markdown text."""

    label: str
    """First word after the opening fence, in lower case; empty where there is none."""
    source: str
    """Its lines, relieved of the fence's own indentation."""
    closed: bool
    """Whether its closing fence was there."""

    @property
    def is_python(self) -> bool:
        """Whether the block says it is Python, or says nothing."""
        return self.label in PYTHON_LABELS or not self.label


def fenced_blocks(text: str, *, opened: bool = False) -> list[Block]:
    """Return the fenced blocks of a text in order.

    Args:
        text: Markdown; fences are three or more backticks or tildes, at either end of a line.
        opened: Whether the text starts inside a block, as when the prompt ended with an opening fence.
    """
    blocks: list[Block] = []
    fence, label, indent = ("```", "python", 0) if opened else ("", "", 0)
    lines: list[str] = []
    for line in text.split("\n"):
        mark, before, after = _fence(line)
        if not mark or (fence and (mark[0] != fence[0] or len(mark) < len(fence))):
            lines.append(line)
            continue
        if fence:
            if before.strip():
                lines.append(before)
            blocks.append(Block(label, _unindented(lines, indent), closed=True))
        # A labelled fence inside a block means that the block before it was never closed.
        opens = not fence or bool(after)
        fence = mark if opens else ""
        label = after.split()[0].lower() if opens and after else ""
        indent = len(line) - len(line.lstrip()) if opens else 0
        lines = []
    if fence and lines:
        blocks.append(Block(label, _unindented(lines, indent), closed=False))
    return blocks


def _fence(line: str) -> tuple[str, str, str]:
    """Return a line's fence, what stands before it and its label; three empty texts for other lines."""
    text = line.strip()
    for tick in ("`", "~"):
        if text.startswith(tick * 3):
            label = text.lstrip(tick)
            return ("", "", "") if tick in label else (text[: len(text) - len(label)], "", label.strip())
    start = text.rfind("```")
    if start < 0:
        return "", "", ""
    before, label = text[:start].rstrip("`"), text[start + 3 :].strip().lower()
    if "```" in before or (label and label not in PYTHON_LABELS):
        return "", "", ""
    return "```", line[: line.rfind("```")].rstrip("`"), label


def _unindented(lines: list[str], indent: int) -> str:
    """Join lines, taking up to ``indent`` leading blanks off each."""
    stripped = (line[:indent].lstrip() + line[indent:] for line in lines) if indent else lines
    return "".join(line + "\n" for line in stripped)


def find_program(
    completion: str, prompt: str = "", names: Collection[str] = (), also: Collection[str] = ()
) -> str | None:
    """Return the Python program a completion answers with, ready to run.

    Args:
        completion: Its text, without reasoning in ``<think>`` tags.
        prompt: What it answers; its code supplies imports, helpers, and the ``def`` a bare body belongs to.
        names: Names one of which the program must bind; empty for programs that read stdin.
        also: Further names the tests call: helpers that the prompt may define.

    Returns:
        The program, or None where the completion holds nothing that could be one.
    """
    prompt, completion = _unix_lines(prompt), _TAGS.sub("", _unix_lines(completion))
    asked = [block.source for block in fenced_blocks(prompt) if block.is_python]
    if (region := code_region(prompt)) is not None:
        asked.append(region)
    prompt_code = [prefix for source in asked if (prefix := parsing_prefix(source)) is not None]
    if binds(completion, names) and syntax_tree(completion) is not None:
        return supply(completion, prompt_code, also)
    blocks = fenced_blocks(completion, opened=_ends_inside_block(prompt))
    usable = [block for block in blocks if block.is_python and block.source.strip()]
    chosen = _fenced_program(usable, names)
    if chosen is not None:
        earlier = [block.source for block in reversed(usable[: usable.index(chosen)])]
        return supply(chosen.source, [*earlier, *prompt_code], also)
    stub = _stub(asked, names)
    for program in _other_programs(usable, completion, stub, names):
        if program is not None:
            return supply(program, prompt_code, also)
    return None


def _unix_lines(text: str) -> str:
    """Return a text with the line ends that Python's parser counts by."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _fenced_program(usable: list[Block], names: Collection[str]) -> Block | None:
    """Return the block that is the program by rules 1 and 2."""
    complete = [block for block in reversed(usable) if block.closed]
    if names:
        return next((block for block in [*complete, *reversed(usable)] if binds(block.source, names)), None)
    labelled = next((block for block in complete if block.label), None)
    if labelled is not None:
        return labelled
    return next((block for block in [*complete, *reversed(usable)] if _is_program(block.source)), None)


def _other_programs(
    usable: list[Block], completion: str, stub: str | None, names: Collection[str]
) -> Iterator[str | None]:
    """Yield the programs of rules 3 to 5, most trusted first."""
    bare = "" if usable else completion
    body = usable[-1].source if usable else bare
    if stub is not None and (_starts_indented(body) or not binds(body, names)):
        yield _continued(stub, body)
    yield _bare_program(bare, names)
    if usable:
        yield "\n".join(block.source for block in usable)


def _is_program(source: str) -> bool:
    """Tell whether text parses and says more than a word, a number or a text would."""
    tree = syntax_tree(source)
    return tree is not None and "(" in source and bool(tree.body)


def _bare_program(bare: str, names: Collection[str]) -> str | None:
    """Return the code of a completion without fences."""
    if _is_program(bare) and (not names or binds(bare, names)):
        return bare
    region = code_region(bare)
    prefix = parsing_prefix(region) if region is not None else parsing_prefix(bare)
    if prefix is not None and (binds(prefix, names) if names else _is_program(prefix)):
        return prefix
    return region if region is not None and (not names or binds(region, names)) else None


def _stub(asked: list[str], names: Collection[str]) -> str | None:
    """Return the code a prompt ends with where its last function is one that the tests call."""
    for source in reversed(asked):
        definitions = list(_STUB.finditer(source))
        if definitions and binds(source[definitions[-1].start() :], names):
            prefix = parsing_prefix(source)
            return prefix if prefix is not None and binds(prefix, names) else source
    return None


def _starts_indented(text: str) -> bool:
    """Tell whether the first line with something on it is indented."""
    line = text.lstrip("\n")
    return line[:1] in (" ", "\t")


def _continued(stub: str, body: str) -> str | None:
    """Join a stub and the body that goes on from it; models often drop the indentation of the first line."""
    start = stub.rstrip("\n") + "\n"
    text = body.strip("\n")
    if not text.strip():
        return None
    if _starts_indented(text):
        joined = [start + text, stub + body]
    else:
        all_lines = start + "".join(f"    {line}\n" for line in text.split("\n"))
        first_line = f"{start}    {text}"
        is_flat = re.search(r"\n[^\s#]", text) is not None
        joined = [all_lines, first_line] if is_flat else [first_line, all_lines]
    for program in joined:
        prefix = parsing_prefix(program)
        if prefix is not None and prefix.rstrip("\n").count("\n") >= start.count("\n"):
            return prefix
    return None


def _ends_inside_block(prompt: str) -> bool:
    """Tell whether a prompt ends with a fence left open for the completion to go on."""
    last_line = prompt.rstrip().rpartition("\n")[2]
    if not last_line.lstrip().startswith("```"):
        return False
    return sum(line.lstrip().startswith("```") for line in prompt.splitlines()) % 2 == 1
