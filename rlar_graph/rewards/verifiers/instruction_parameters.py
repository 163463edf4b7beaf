"""The parameters of a verifiable instruction, read strictly.

Data sets carry them as loose mappings. A count given as text or a relation nobody defined must stop the
row, not become a random default as in the published verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlar_graph.errors import InputError


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one instruction; a missing or wrong one raises InputError when it is read."""

    instruction_id: str
    """The instruction they belong to, for messages."""
    values: Mapping[str, object]
    """As given with the data."""

    def text(self, name: str) -> str:
        """Return a parameter that is a text with something in it."""
        value = self.values.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        raise self._wrong(name, "a text")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a parameter that is a list of texts, at least one."""
        value = self.values.get(name)
        if (
            isinstance(value, list | tuple)
            and value
            and all(isinstance(text, str) and text for text in value)
        ):
            return tuple(value)
        raise self._wrong(name, "a list of texts")

    def count(self, name: str) -> int:
        """Return a parameter that is a whole number from 0 up."""
        value = self.values.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise self._wrong(name, "a whole number")

    def comparison(self, relation: str, number: str) -> tuple[Callable[[int], bool], int]:
        """Return the test of a count against a number, and the number."""
        bound = self.count(number)
        match self.text(relation).lower():
            case "less than":
                return (lambda count: count < bound), bound
            case "at least":
                return (lambda count: count >= bound), bound
        raise self._wrong(relation, "'less than' or 'at least'")

    def _wrong(self, name: str, wanted: str) -> InputError:
        given = self.values.get(name)
        problem = "is missing" if given is None else f"is {given!r:.60}"
        return InputError(f"{self.instruction_id} needs {wanted}; it {problem}", field=f"kwargs.{name}")
