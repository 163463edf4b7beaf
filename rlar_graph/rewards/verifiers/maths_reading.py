r"""Reads the tokens of an answer into its shape: what is a pair, a set, an interval, an equation, a quantity, words.

A bare comma makes a list, brackets that close at the very end make a tuple or interval, ``\pm`` makes two values; what
only names the answer (``f(x) =``, ``x \in``) is dropped, and so are units, which are kept beside the value.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from rlar_graph.rewards.verifiers.maths_expression import Expression
from rlar_graph.rewards.verifiers.maths_shapes import Approximation, Group, Quantity, Relation, Shape, Words
from rlar_graph.rewards.verifiers.maths_tokens import Token
from rlar_graph.rewards.verifiers.maths_values import NotExact, constant, letter

RELATIONS = frozenset({"=", "<", ">", "<=", ">=", "\\ne"})
_OPENING, _CLOSING = frozenset({"(", "[", "{", "\\{"}), frozenset({")", "]", "}", "\\}"})
_EQUALS = frozenset({"="})
_SET_SIGNS = frozenset({"\\cap", "\\cup", "\\setminus", "∩", "∪"})
_COMMAS = frozenset({",", ";", "and", "or"})
_PERCENT = frozenset({"%", "percent", "percentage", "pct"})
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NO_UNITS = frozenset(
    (
        "or", "and", "not", "more", "less", "than", "half", "times", "plus", "minus", "dozen", "if", "when", "over",
        "by", "of", "no", "is", "are", "to", "between", "either", "maybe", "but", "wrong", "incorrect", "except",
        "without", "squared", "cubed", "factorial", "point", "halves", "thirds", "quarters",
    )
)  # fmt: skip
_SHORT_UNITS = frozenset(
    ("cm", "mm", "km", "in", "ft", "yd", "mi", "kg", "mg", "lb", "oz", "hr", "ms", "ml", "am", "pm")
)
_PER = frozenset(("h", "s"))
_APPROXIMATELY = frozenset(("about", "approximately", "exactly", "roughly"))
_NUMERALS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip


def read_shape(tokens: list[Token]) -> Shape:
    """Return the shape of an answer.

    Raises:
        NotExact: It is not read here.
        TooLarge: It is beyond the caps.
    """
    if not tokens:
        raise NotExact("nothing there")
    if is_words(tokens):
        return _words(tokens)
    if len(tokens) > 1 and all(token.kind in ("number", "group") for token in tokens):
        return Words(" ".join(token.text for token in tokens))  # a grid or sequence, which nobody multiplies
    tokens = _without_membership(tokens)
    tokens = _without_name(tokens)
    pieces = [piece for piece in split(tokens, {"\\approx"}) if piece]
    if len(pieces) == 1 < len(tokens) - len(pieces[0]) + 1:
        return read_shape(pieces[0])
    if len(pieces) > 1:
        return Approximation(read_shape(pieces[0]), read_shape(pieces[-1]))
    pieces = split(tokens, {"\\cup"})
    if len(pieces) > 1:
        return Group("union", tuple(map(read_shape, pieces)))
    pieces = split(tokens, _COMMAS)
    if len(pieces) > 1:
        return Group("list", tuple(read_shape(piece) for piece in pieces if piece))
    return _group(tokens) or _plus_minus(tokens) or _relation(tokens) or _quantity(tokens)


def split(tokens: list[Token], separators: set[str] | frozenset[str]) -> list[list[Token]]:
    """Split tokens at separators that stand outside brackets."""
    pieces: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif depth == 0 and token.text in separators:
            pieces.append([])
            continue
        pieces[-1].append(token)
    return pieces


def is_words(tokens: list[Token]) -> bool:
    """Say whether an answer is words, or a time of day."""
    kinds = {token.kind for token in tokens}
    if kinds & {"command", "other"}:
        return False
    if kinds & {"number", "group"}:
        tail = "".join(token.text for token in tokens[-4:]).lower().replace(".", "")
        return any(token.text == ":" for token in tokens) and tail.endswith(("am", "pm"))
    if not any(token.kind == "text" or (token.kind == "word" and len(token.text) > 2) for token in tokens):
        return False
    return all(token.kind != "sign" or token.text in "()-'.&?!" for token in tokens)


def _words(tokens: list[Token]) -> Shape:
    text = "".join(filter(str.isalnum, "".join(token.text for token in tokens))).lower()
    if text in _NUMERALS:
        return Quantity(constant(_NUMERALS.index(text)))
    return Words(text)


def _without_membership(tokens: list[Token]) -> list[Token]:
    r"""Drop ``x \\in`` before a set."""
    for at, token in enumerate(tokens[:6]):
        if token.text == "\\in" and 0 < at < len(tokens) - 1:
            return tokens[at + 1 :]
    return tokens


def _without_name(tokens: list[Token]) -> list[Token]:
    r"""Drop what only names the answer before its equals sign: ``f(x) =``, ``(x, y) =``, ``\\text{Area} =``."""
    pieces = split(tokens, _EQUALS)
    if len(pieces) != 2 or not all(pieces):
        return tokens
    name, rest = pieces
    is_label = all(token.kind in ("text", "word", "letter") for token in name) and any(
        token.kind == "text" or len(token.text) > 2 for token in name
    )
    is_call = len(name) >= 4 and name[0].kind == "letter" and name[1].text == "(" and name[-1].text == ")"
    is_group = name[0].text == "(" and name[-1].text == ")" and any(token.text == "," for token in name)
    is_set = len(name) == 1 or all(token.kind == "letter" or token.text in _SET_SIGNS for token in name)
    holds_group = is_set and rest[0].text in _OPENING and any(token.text == "," for token in rest)
    return rest if is_label or is_call or is_group or holds_group else tokens


def _group(tokens: list[Token]) -> Group | None:
    """Read what stands in brackets that close at the very end, if it has several members or is a set."""
    opening, closing = tokens[0].text, tokens[-1].text
    if opening == "\\emptyset" and len(tokens) == 1:
        return Group("set", ())
    if opening not in _OPENING or closing not in _CLOSING or not _closes_at_end(tokens):
        return None
    pieces = split(tokens[1:-1], _COMMAS)
    if opening == "\\{":
        if closing != "\\}" or any(token.text in ("|", ":") for token in tokens):
            raise NotExact("a set by description")
        return Group("set", tuple(map(read_shape, pieces)) if tokens[1:-1] else ())
    if len(pieces) == 1:
        return None
    if opening == "{":
        return Group("braces", tuple(map(read_shape, pieces)))
    return Group("tuple", tuple(map(_member, pieces)), opening + closing)


def _member(tokens: list[Token]) -> Shape:
    """Read one coordinate or end point; only there may infinity stand."""
    if tokens and tokens[-1].text == "\\infty" and len(tokens) <= 2:
        end = letter("\\infty")
        return Quantity(-end if tokens[0].text == "-" else end)
    return read_shape(tokens)


def _closes_at_end(tokens: list[Token]) -> bool:
    depth = 0
    for at, token in enumerate(tokens):
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
            if depth == 0:
                return at == len(tokens) - 1
    return False


def _plus_minus(tokens: list[Token]) -> Group | None:
    r"""Read ``a \\pm b`` as the two values it stands for."""
    signs = [token.text for token in tokens if token.text in ("\\pm", "\\mp")]
    if not signs:
        return None
    if len(split(tokens, RELATIONS)) > 2:
        raise NotExact("a chain with two values")
    upper = {"\\pm": Token("sign", "+"), "\\mp": Token("sign", "-")}
    lower = {"\\pm": Token("sign", "-"), "\\mp": Token("sign", "+")}
    both = ([table.get(token.text, token) for token in tokens] for table in (upper, lower))
    return Group("list", tuple(map(read_shape, both)))


def _relation(tokens: list[Token]) -> Relation | None:
    pieces = split(tokens, RELATIONS)
    if len(pieces) == 1:
        return None
    signs = tuple(_outer(tokens, RELATIONS))
    if not pieces[0] and signs[0] == "=" and len(pieces) == 2:
        pieces, signs = [*pieces[1:], *pieces[1:]], ("=",)
    last = _quantity(pieces[-1])
    if last.percent or last.base:
        raise NotExact("an equation with a percentage or base")
    return Relation(signs, (*(Expression(piece).value() for piece in pieces[:-1]), last.value))


def _outer(tokens: list[Token], wanted: frozenset[str]) -> Iterator[str]:
    depth = 0
    for token in tokens:
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif depth == 0 and token.text in wanted:
            yield token.text


def _quantity(tokens: list[Token]) -> Quantity:
    rest = list(tokens)
    while len(rest) > 1 and rest[0].text.lower() in _APPROXIMATELY:
        rest.pop(0)
    percent = _drop_percent(rest)
    units, scale = _drop_units(rest)
    percent = percent or _drop_percent(rest)
    if not rest:
        raise NotExact("no quantity before the unit")
    if len(rest) >= 3 and rest[-2].text == "_" and all(token.kind == "number" for token in rest[:-2]):
        return Quantity(Expression(rest[:-2]).value(), units, percent, rest[-1].text)
    if len(rest) == 5 and [token.text for token in rest[1:3]] == ["_", "{"] and rest[0].kind == "number":
        return Quantity(Expression(rest[:1]).value(), units, percent, rest[3].text)
    value = Expression(rest).value()
    return Quantity(value * constant(Fraction(10) ** scale) if scale else value, units, percent)


def _drop_percent(tokens: list[Token]) -> bool:
    if len(tokens) > 1 and tokens[-1].text.lower() in _PERCENT:
        tokens.pop()
        return True
    return False


def _drop_units(tokens: list[Token]) -> tuple[str, int]:
    """Take unit words, with their powers, off the end; return them and the power of ten they stand for."""
    units: list[str] = [rate] if (rate := _drop_rate(tokens)) else []
    scale = 0
    while len(tokens) > 1:
        power = _unit_power(tokens)
        token = tokens[-1 - power]
        word = token.text.lower()
        is_unit = token.kind == "text" or (token.kind == "word" and (len(word) > 2 or word in _SHORT_UNITS))
        if not is_unit:
            break
        if not _NO_UNITS.isdisjoint(word.split()):
            raise NotExact(f"{word!r} is no unit")
        if word in _SCALES:
            scale += _SCALES[word]
        elif word not in _PERCENT:
            units.append(word + "^" * (power > 0) + (tokens[-1].text if power == 2 else ""))
        else:
            break
        del tokens[len(tokens) - 1 - power :]
    return "".join(reversed(units)).replace(" ", ""), scale


def _drop_rate(tokens: list[Token]) -> str:
    """Take a unit over a unit, ``km/h`` or ``m/s^2``, off the end of a number; return it, empty where there is none."""
    end = len(tokens) - _unit_power(tokens)
    if end < 4 or tokens[end - 2].text != "/" or tokens[end - 4].kind != "number":
        return ""
    above, below = tokens[end - 3], tokens[end - 1]
    is_rate = (above.kind == "word" or above.text == "m") and (below.kind == "word" or below.text in _PER)
    if not is_rate or not _NO_UNITS.isdisjoint((above.text.lower(), below.text.lower())):
        return ""
    rate = "".join(token.text for token in tokens[end - 3 :])
    del tokens[end - 3 :]
    return rate


def _unit_power(tokens: list[Token]) -> int:
    """Return how many tokens at the end are the power of a unit: 2 for ``^2``, 4 for ``^{2}``."""
    if len(tokens) > 3 and tokens[-2].text == "^":
        return 2
    if len(tokens) > 5 and tokens[-4].text == "^" and tokens[-3].text == "{":
        return 4
    return 0
