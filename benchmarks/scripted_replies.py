"""What a scripted model answers for each family: a right verifier, and a plausible wrong one as weak models write them.

They exercise the loop and the gate without a model. Each wrong one misses a rule, or looks at the form alone.
"""

from __future__ import annotations

_HEAD = "def score(prompt, completion, reference, **evidence):\n"


def _verifier(body: str, before: str = "import re\n\n") -> str:
    lines = body.strip("\n").splitlines()
    return before + _HEAD + "\n".join(f"    {line}" for line in lines) + "\n"


_ARITHMETIC = """import ast
import re
from fractions import Fraction


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -value(node.operand)
    if not isinstance(node, ast.BinOp):
        raise ValueError("not arithmetic")
    left, right = value(node.left), value(node.right)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    if isinstance(node.op, ast.Div):
        return left / right
    raise ValueError("not arithmetic")


"""

RIGHT: dict[str, str] = {
    "listing": _verifier(r"""
n = int(re.search(r"exactly (\d+)", prompt).group(1))
parts = completion.strip().split(", ")
return float(len(parts) == n and all(re.fullmatch(r"[a-z]+", part) for part in parts))"""),
    "alliteration": _verifier(r"""
n = int(re.search(r"at least (\d+)", prompt).group(1))
letter = re.search(r"letter '(.)'", prompt).group(1)
words = [w for w in (w.strip(".,;:!?'\"()") for w in completion.split()) if w]
return float(len(words) >= n and all(w[0].lower() == letter for w in words))"""),
    "primes": _verifier(r"""
n, low, high = map(int, re.findall(r"\d+", prompt)[:3])
parts = [part.strip() for part in completion.strip().split(",")]
if len(parts) != n or not all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
    return 0.0
numbers = [int(part) for part in parts]
prime = all(x > 1 and all(x % d for d in range(2, int(x**0.5) + 1)) for x in numbers)
return float(prime and numbers == sorted(set(numbers)) and low <= numbers[0] and numbers[-1] <= high)"""),
    "dates": _verifier(
        r"""
low, high = [date.fromisoformat(text) for text in re.findall(r"\d{4}-\d\d-\d\d", prompt)]
text = completion.strip()
if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
    return 0.0
try:
    return float(low < date.fromisoformat(text) < high)
except ValueError:
    return 0.0""",
        "import re\nfrom datetime import date\n\n",
    ),
    "brackets": _verifier(r"""
wanted = int(re.search(r"exactly (\d+)", prompt).group(1))
level = deepest = 0
for char in completion.strip():
    if char not in "()":
        return 0.0
    level += 1 if char == "(" else -1
    deepest = max(deepest, level)
    if level < 0:
        return 0.0
return float(level == 0 and deepest == wanted)"""),
    "divisible": _verifier(r"""
digits, divisor = map(int, re.findall(r"\d+", prompt)[:2])
text = completion.strip()
if not re.fullmatch(r"[1-9][0-9]*", text) or len(text) != digits:
    return 0.0
return float(int(text) % divisor == 0)"""),
    "sum": _verifier(r"""
n, total = map(int, re.findall(r"\d+", prompt)[:2])
parts = completion.split()
if len(parts) != n or not all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
    return 0.0
numbers = [int(part) for part in parts]
return float(min(numbers) > 0 and len(set(numbers)) == n and sum(numbers) == total)"""),
    "acrostic": _verifier(r"""
word = re.search(r"word '(\w+)'", prompt).group(1)
lines = completion.strip().splitlines()
if not all(re.fullmatch(r"[A-Za-z]+", line) for line in lines):
    return 0.0
return float("".join(line[0].lower() for line in lines) == word)"""),
    "countdown": _verifier(
        r"""
head = prompt.strip().split("\n")[0]
listed = re.search(r"numbers:? ([0-9, ]+)", head).group(1)
target = int(re.search(r"\d+", head.replace(listed, "")).group())
numbers = sorted(map(int, re.findall(r"\d+", listed)))
text = completion.strip()
if len(text) > 200 or not re.fullmatch(r"[0-9+\-*/() ]+", text):
    return 0.0
if sorted(map(int, re.findall(r"\d+", text))) != numbers:
    return 0.0
try:
    return float(value(ast.parse(text, mode="eval").body) == target)
except (ValueError, SyntaxError, ZeroDivisionError, RecursionError):
    return 0.0""",
        _ARITHMETIC,
    ),
    "n_queens": _verifier(r"""
given = [line.split() for line in prompt.splitlines() if re.fullmatch(r"[_Q]( [_Q])+\s*", line)]
board = [line.split() for line in completion.strip().splitlines()]
n = len(given)
if len(board) != n or any(len(row) != n or set(row) - {"_", "Q"} for row in board):
    return 0.0
queens = [(r, c) for r in range(n) for c in range(n) if board[r][c] == "Q"]
kept = all(board[r][c] == "Q" for r in range(n) for c in range(n) if given[r][c] == "Q")
apart = all(len({f(r, c) for r, c in queens}) == n for f in (lambda r, c: r, lambda r, c: c,
            lambda r, c: r - c, lambda r, c: r + c))
return float(kept and len(queens) == n and apart)"""),
    "mini_sudoku": _verifier(r"""
given = [line.split() for line in prompt.splitlines() if re.fullmatch(r"[_1-4]( [_1-4]){3}\s*", line)]
grid = [line.split() for line in completion.strip().splitlines()]
if len(grid) != 4 or any(len(row) != 4 for row in grid):
    return 0.0
groups = [*grid, *([row[c] for row in grid] for c in range(4))]
groups += [[grid[r + i][c + j] for i in (0, 1) for j in (0, 1)] for r in (0, 2) for c in (0, 2)]
kept = all(given[r][c] in ("_", grid[r][c]) for r in range(4) for c in range(4))
return float(kept and all(sorted(group) == ["1", "2", "3", "4"] for group in groups))"""),
    "palindrome_generation": _verifier(r"""
letters = re.search(r"following letters: (.+)", prompt).group(1).replace(",", " ").split()
text = completion.strip()
return float(text == text[::-1] and sorted(text) == sorted(letters))"""),
    "word_sorting": _verifier(r"""
words = [w.strip() for w in prompt.rsplit(": ", 1)[1].split(",")]
found = [w.strip() for w in completion.strip().split(",")]
return float(found == sorted(words, reverse="in descending order (" in prompt))"""),
}
"""A right verifier by family; there is none for ``string_manipulation``, whose rules are the prompt's own."""

WRONG: dict[str, str] = {
    "listing": _verifier(r"""
return float(re.fullmatch(r"[a-z]+(, [a-z]+)*", completion.strip()) is not None)"""),
    "alliteration": _verifier(r"""
letter = re.search(r"letter '(.)'", prompt).group(1)
return float(completion.strip().lower().startswith(letter))"""),
    "primes": _verifier(r"""
n = int(re.findall(r"\d+", prompt)[0])
numbers = list(map(int, re.findall(r"\d+", completion)))
return float(len(numbers) == n and all(x % 2 for x in numbers))"""),
    "dates": _verifier(r"""
return float(re.fullmatch(r"\d{4}-\d\d-\d\d", completion.strip()) is not None)"""),
    "brackets": _verifier(r"""
text = completion.strip()
return float(text.count("(") == text.count(")") and len(text) > 0 and set(text) <= set("()"))"""),
    "divisible": _verifier(r"""
divisor = int(re.findall(r"\d+", prompt)[1])
return float(int(completion) % divisor == 0)"""),
    "sum": _verifier(r"""
total = int(re.findall(r"\d+", prompt)[1])
return float(sum(map(int, re.findall(r"\d+", completion))) == total)"""),
    "acrostic": _verifier(r"""
word = re.search(r"word '(\w+)'", prompt).group(1)
return float(len(completion.split()) == len(word))"""),
    "countdown": _verifier(r"""
numbers = re.findall(r"\d+", re.search(r"numbers:? ([0-9, ]+)", prompt).group(1))
return float(sorted(re.findall(r"\d+", completion)) == sorted(numbers))"""),
    "n_queens": _verifier(r"""
rows = [line for line in completion.splitlines() if "Q" in line]
return float(len(rows) == 8 and all(row.count("Q") == 1 for row in rows))"""),
    "mini_sudoku": _verifier(r"""
rows = [line.split() for line in completion.strip().splitlines()]
return float(len(rows) == 4 and all(sorted(row) == ["1", "2", "3", "4"] for row in rows))"""),
    "palindrome_generation": _verifier(r"""
text = completion.strip()
return float(len(text) > 1 and text == text[::-1])"""),
    "string_manipulation": _verifier(r"""
return float(re.fullmatch(r"[abc]*", completion.strip()) is not None)"""),
    "word_sorting": _verifier(r"""
words = [w.strip() for w in completion.split(",")]
return float(len(words) > 1 and words == sorted(words))"""),
}
"""A wrong verifier by family."""
