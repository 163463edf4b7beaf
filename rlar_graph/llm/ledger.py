"""What language models cost a run, and how much it may cost.

The ledger says what was spent, role by role; the budget says no *before* a request that could go over. A request
reserves the most it can cost and gives back what it did not use, so that no number of threads can overspend.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rlar_graph.errors import BudgetExhausted, SettingsError


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens cost, in the currency of the budget."""

    prompt: float
    """Per million prompt tokens."""
    completion: float
    """Per million completion tokens."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of one request."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used; usages add up."""

    calls: int = 0
    """Requests that the model answered or may have answered (a timeout counts)."""
    failures: int = 0
    """Requests that brought no reply: refused, overloaded, cut off or too slow."""
    prompt_tokens: int = 0
    """Tokens sent, as the server counts them; an upper bound where it does not."""
    completion_tokens: int = 0
    """Tokens received, as the server counts them; an upper bound where it does not."""
    seconds: float = 0.0
    """Seconds spent in requests, added up over parallel ones; pauses between retries are not counted."""
    cost: float = 0.0
    """Money, by the price that was set; 0 without one."""

    @property
    def tokens(self) -> int:
        """Return prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.failures + other.failures,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
            self.cost + other.cost,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.calls - other.calls,
            self.failures - other.failures,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            self.seconds - other.seconds,
            self.cost - other.cost,
        )


class Ledger:
    """Usage by role. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._roles: dict[str, Usage] = {}

    def record(self, role: str, usage: Usage) -> None:
        """Add ``usage`` to what ``role`` has used."""
        with self._lock:
            self._roles[role] = self._roles.get(role, Usage()) + usage

    def snapshot(self) -> Mapping[str, Usage]:
        """Return the usage of every role up to now; later requests do not change it."""
        with self._lock:
            return MappingProxyType(dict(self._roles))

    def total(self) -> Usage:
        """Return the usage of all roles together."""
        return sum(self.snapshot().values(), Usage())


@dataclass(frozen=True, slots=True)
class Claim:
    """An amount of everything a budget limits."""

    calls: int = 0
    """Requests."""
    tokens: int = 0
    """Prompt and completion tokens together."""
    money: float = 0.0
    """Cost in the budget's currency."""

    def __add__(self, other: Claim) -> Claim:
        return Claim(self.calls + other.calls, self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Claim) -> Claim:
        return Claim(self.calls - other.calls, self.tokens - other.tokens, self.money - other.money)


class Budget:
    """The most one run may spend on language models. Safe to share between threads and models.

    It holds as far as the server keeps to the token limit sent with each request. What a server bills beyond
    that is entered in full, and the next request is refused.

    Args:
        calls: Requests; None is no limit.
        tokens: Prompt and completion tokens together; None is no limit.
        money: Cost at the model's price; None is no limit.

    Raises:
        SettingsError: A limit is negative or not a number.
    """

    def __init__(
        self, calls: int | None = None, tokens: int | None = None, money: float | None = None
    ) -> None:
        for name, limit in (("calls", calls), ("tokens", tokens), ("money", money)):
            if limit is not None and not limit >= 0:
                raise SettingsError(f"a budget's {name} are 0 or more, not {limit}")
        self.calls, self.tokens, self.money = calls, tokens, money
        self._lock = threading.Lock()
        self._spent, self._held, self._in_flight = Claim(), Claim(), 0

    @property
    def spent(self) -> Claim:
        """Return what finished requests have used."""
        return self._spent

    def reserve(self, claim: Claim) -> bool:
        """Set ``claim`` aside for a request.

        Returns:
            True when it is set aside; False when that depends on what requests in flight give back: ask again.

        Raises:
            BudgetExhausted: It does not fit, whatever they give back.
        """
        with self._lock:
            if self._excess(self._spent + self._held + claim) is None:
                self._held, self._in_flight = self._held + claim, self._in_flight + 1
                return True
            excess = self._excess(self._spent + claim)
            if excess is None:
                return False
            raise BudgetExhausted(excess)

    def settle(self, claim: Claim, used: Claim) -> None:
        """Give back a reserved ``claim`` and charge what was ``used``."""
        with self._lock:
            self._spent += used
            self._in_flight -= 1
            # Subtracting floats leaves a residue that would hold money back for ever.
            self._held = self._held - claim if self._in_flight else Claim()

    def _excess(self, claim: Claim) -> str | None:
        """Say which limit ``claim`` goes over, or None."""
        for name in ("calls", "tokens", "money"):
            limit, spent, wanted = getattr(self, name), getattr(self._spent, name), getattr(claim, name)
            if limit is not None and wanted > limit:
                return (
                    f"the run's budget of {limit:g} {name} is exhausted: {spent:g} spent, and the next request "
                    f"may need {wanted - spent:g}; raise the budget or start a new run"
                )
        return None
