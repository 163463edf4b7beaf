"""Which program is taken out of a completion."""

from __future__ import annotations

import pytest

from rlar_graph.rewards.verifiers.code_block import fenced_blocks, find_program
from tests.patience import linear

HELPER = "from math import sqrt\n\n\ndef helper(x):\n    return x\n\n\n"
STUB = f'{HELPER}def add(a: int, b: int) -> int:\n    """Add."""\n'
CHAT = f"Complete this function:\n```python\n{STUB}```\n"


def run(
    completion: str, prompt: str = STUB, names: tuple[str, ...] = ("add",), call: str = "add(2, 3)"
) -> object:
    """Run the program found in a completion of ours and return what a call gives."""
    program = find_program(completion, prompt, names)
    assert program is not None
    space: dict[str, object] = {}
    exec(program, space)  # noqa: S102 - texts of this file
    return eval(call, space)  # noqa: S307 - texts of this file


@pytest.mark.parametrize(
    "completion",
    [
        pytest.param("def add(a, b):\n    return a + b", id="bare"),
        pytest.param("```python\ndef add(a, b):\n    return a + b\n```", id="fenced"),
        pytest.param("```\ndef add(a, b):\n    return a + b\n```", id="no label"),
        pytest.param("~~~py\ndef add(a, b):\n    return a + b\n~~~", id="tildes"),
        pytest.param("Code: ```python\ndef add(a, b):\n    return a + b```", id="fences within lines"),
        pytest.param(
            "1. Write it:\n   ```python\n   def add(a, b):\n       return a + b\n   ```", id="in a list"
        ),
        pytest.param("```python\ndef add(a, b):\n    return a + b", id="closing fence was the stop token"),
        pytest.param("Sure!\n\ndef add(a, b):\n    return a + b\n\nThis adds them up.", id="bare in prose"),
        pytest.param("    return a + b\n", id="body"),
        pytest.param("\n    c = a + b\n    return c\n\n\ndef other():\n    pass\n", id="body, then more"),
        pytest.param("c = a + b\nreturn c", id="body without its indentation"),
        pytest.param("c = a\n    c += b\n    return c", id="body whose first line lost its indentation"),
        pytest.param("```python\nreturn a + b\n```", id="fenced body"),
        pytest.param("```python\ndef add(a, b):\n    return helper(a) + b\n```", id="prompt's helper"),
        pytest.param("```python\ndef add(a, b):\n    return int(a + b + sqrt(0))\n```", id="prompt's import"),
        pytest.param(
            "```python\nimport math\n\ndef zero():\n    return int(math.cos(0)) - 1\n```\nNow:\n"
            "```python\ndef add(a, b):\n    return a + b + zero()\n```",
            id="helper in an earlier block",
        ),
        pytest.param(
            "```python\nfrom __future__ import annotations\ndef add(a: X, b):\n    return helper(a) + b\n```",
            id="future import stays on top",
        ),
        pytest.param(
            "First try:\n```python\ndef add(a, b):\n    return a - b\n```\nThat subtracts. Fixed:\n"
            "```python\ndef add(a, b):\n    return a + b\n```\nUse it:\n```python\nprint(add(1, 2))\n```\n"
            "```text\n3\n```",
            id="last block that defines it",
        ),
        pytest.param("```python\nadd = lambda a, b: a + b\n```", id="lambda"),
        pytest.param("<answer>\ndef add(a, b):\n    return a + b\n</answer>", id="answer tags"),
        pytest.param("[BEGIN]\ndef add(a, b):\n    return a + b\n[DONE]\n", id="MBPP's marks"),
        pytest.param("def add(a, b):\r\n    return a + b\r\n", id="DOS lines"),
        pytest.param(
            'def add(a, b):\n    r"""\\d\n```\nx\n"""\n    return a + b\n', id="odd escape in bare code"
        ),
    ],
)
@pytest.mark.parametrize("prompt", [STUB, CHAT])
def test_program_is_found(completion: str, prompt: str) -> None:
    assert run(completion, prompt) == 5


@pytest.mark.parametrize(
    "completion",
    ["", " \n", ".", "Solution:", "I would use a loop.", "The answer is 5.", "```\n```", "```python\n```"],
)
@pytest.mark.parametrize("names", [("add",), ()])
def test_nothing_that_could_be_a_program(completion: str, names: tuple[str, ...]) -> None:
    assert find_program(completion, STUB if names else "Read two numbers and print their sum.", names) is None


def test_completion_that_goes_on_in_the_prompts_open_fence() -> None:
    completion = "def add(a, b):\n    return a + b\n```\nThat is all."
    assert run(completion, "Write add.\n```python\n") == 5


def test_stdin_program_is_the_last_labelled_block() -> None:
    completion = (
        "```python\nprint(0)\n```\nBetter:\n```python\nprint(int(input()) * 2)\n```\nOutput:\n```\n(4)\n```"
    )
    assert find_program(completion, "Double it.") == "print(int(input()) * 2)\n"


def test_other_languages_are_no_python() -> None:
    assert (
        find_program("```bash\nadd 1 2\n```\n```js\nfunction add(a, b) { return a + b }\n```", "", ("add",))
        is None
    )


def test_blocks_know_whether_they_are_closed() -> None:
    blocks = fenced_blocks("```python\na\n```\n````md\n```\nb\n```\n````\n```py\nc")
    assert [(block.label, block.source, block.closed) for block in blocks] == [
        ("python", "a\n", True),
        ("md", "```\nb\n```\n", True),
        ("py", "c\n", False),
    ]


@pytest.mark.parametrize(
    "completion",
    [
        pytest.param("`" * 1_000_000, id="backticks"),
        pytest.param("```python\n" * 100_000, id="fences"),
        pytest.param("def add(a):\n" * 80_000, id="headers"),
        pytest.param("import " * 140_000, id="imports"),
        pytest.param("(" * 60_000, id="nesting"),
        pytest.param("def add(a, b):\n    return " + "-" * 60_000 + "1", id="unary nesting"),
        pytest.param("x\n" * 30_000 + "(", id="many statements"),
        pytest.param("\\" * 1_000_000, id="escapes"),
        pytest.param("\ud800\0" * 10_000, id="surrogates"),
    ],
)
@pytest.mark.parametrize("names", [("add",), ()])
def test_hostile_text_is_quick(completion: str, names: tuple[str, ...]) -> None:
    with linear():
        find_program(completion, STUB, names)
