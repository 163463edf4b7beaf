"""One question on its way to the model: formats tried, requests retried, each paid for.

Three nested reasons to ask again, from the outside in: the server does not know the format, it does not know an
option, or it was busy. All of them share one deadline.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from pydantic import BaseModel

from rlar_graph.errors import LLMReplyError, LLMUnavailable
from rlar_graph.llm.chat import ChatServer, Fault, FaultKind, Reply
from rlar_graph.llm.dialect import Dialect, Rung, Sampling
from rlar_graph.llm.ledger import Budget, Claim, Ledger, Price, Usage
from rlar_graph.types import Message, message_text

MAX_PAUSE = 30.0
"""Longest pause between two tries that was not asked for by the server."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long to wait, how often to try, how much to ask for."""

    timeout_seconds: float
    """Longest wait for one request."""
    deadline_seconds: float
    """Longest wait for one answer, with its retries and its repair turn."""
    max_retries: int
    """Further tries after a transient fault."""
    backoff_seconds: float
    """Pause before the first retry; each further one is twice as long."""
    max_tokens: int
    """Longest reply."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays for a request."""

    budget: Budget
    """What may be spent."""
    ledger: Ledger
    """What was spent."""
    price: Price | None
    """What tokens cost, if that is known."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what tokens cost, 0 without a price."""
        return self.price.cost(prompt_tokens, completion_tokens) if self.price else 0.0


class Exchange:
    """One question and its repair turn; the deadline runs from the start."""

    def __init__(
        self,
        server: ChatServer,
        dialect: Dialect,
        terms: Terms,
        account: Account,
        role: str,
        schema: type[BaseModel] | None,
        sampling: Sampling,
    ) -> None:
        self._server, self._dialect, self._terms, self._account = server, dialect, terms, account
        self._role, self._schema, self._sampling = role, schema, sampling
        self._deadline = monotonic() + terms.deadline_seconds

    async def request(self, messages: Sequence[Message], *, looser: bool = False) -> Reply:
        """Walk down the ladder to a reply, and remember the rung that brought it.

        Args:
            messages: The conversation.
            looser: Start one rung below the one that the server is known to understand.

        Raises:
            LLMUnavailable: No reply, and there would be none to any other question.
            LLMReplyError: The server rejects this question, or the model refuses it.
            BudgetExhausted: The budget does not allow another request.
        """
        first = Rung(min(self._dialect.rung + looser, Rung.TEXT)) if self._schema else Rung.TEXT
        rung = first
        outcome = await self._speak(messages, rung)
        while isinstance(outcome, Fault) and self._dialect.may_dislike(rung, outcome):
            rung = Rung(rung + 1)
            outcome = await self._speak(messages, rung)
        if isinstance(outcome, Fault):
            kind = LLMReplyError if outcome.kind is FaultKind.REJECTED else LLMUnavailable
            place = f"{self._server.model} at {self._server.place}"
            raise kind(f"{place} gave the {self._role} no reply: {outcome.message}")
        self._dialect.accept(rung, first)
        if outcome.refusal:
            raise LLMReplyError(f"{self._server.model} refused the {self._role}: {outcome.refusal[:200]}")
        return outcome

    async def _speak(self, messages: Sequence[Message], rung: Rung) -> Reply | Fault:
        """Ask on one rung, without the options that the server turns out not to know."""
        while True:
            body = self._dialect.body(rung, self._schema, self._sampling)
            outcome = await self._persist(messages, body)
            if isinstance(outcome, Reply) or not self._dialect.learn(outcome, body):
                return outcome

    async def _persist(self, messages: Sequence[Message], body: dict[str, object]) -> Reply | Fault:
        """Try until there is a reply, the tries are used up, or the deadline leaves no time for another."""
        tried = 0
        while True:
            outcome = await self._pay(messages, body)
            if isinstance(outcome, Reply) or outcome.kind is not FaultKind.TRANSIENT:
                return outcome
            tried += 1
            pause = self._pause(outcome, tried)
            if tried > self._terms.max_retries or monotonic() + pause > self._deadline:
                return replace(outcome, message=f"{outcome.message} (tried {tried}x)")
            await asyncio.sleep(pause)

    def _pause(self, fault: Fault, tried: int) -> float:
        """Return how long to wait before the next try; jitter keeps parallel callers from coming back as one."""
        jitter = random.random()  # noqa: S311 - guards nothing
        if fault.retry_after is not None:
            return fault.retry_after * (1 + jitter / 10)
        return min(self._terms.backoff_seconds * 2.0 ** (tried - 1), MAX_PAUSE) * (0.5 + jitter / 2)

    async def _pay(self, messages: Sequence[Message], body: dict[str, object]) -> Reply | Fault:
        """Make one request within the budget and enter it in the ledger."""
        account, most = self._account, (_prompt_bound(messages, body), self._terms.max_tokens)
        claim = Claim(1, sum(most), account.cost(*most))
        while monotonic() > self._deadline or not account.budget.reserve(claim):
            if monotonic() > self._deadline:
                spent = f"its {self._terms.deadline_seconds:g} s were over before it could be asked"
                return Fault(FaultKind.DENIED, spent)
            await asyncio.sleep(0.01)
        # What a cancelled request is charged: the model may have worked on it.
        usage, started = Usage(1, 1, *most), monotonic()
        try:
            outcome = await self._attempt(messages, body)
            usage = _usage(outcome, most)
        finally:
            cost = account.cost(usage.prompt_tokens, usage.completion_tokens)
            account.budget.settle(claim, Claim(usage.calls, usage.tokens, cost))
            account.ledger.record(self._role, replace(usage, seconds=monotonic() - started, cost=cost))
        return outcome

    async def _attempt(self, messages: Sequence[Message], body: dict[str, object]) -> Reply | Fault:
        """Make one request that ends in time, whatever the server does."""
        seconds = min(self._terms.timeout_seconds, max(0.0, self._deadline - monotonic()))
        try:
            async with asyncio.timeout(seconds):
                return await self._server.request(messages, body, self._role)
        except TimeoutError:
            message = f"no complete answer within {seconds:.3g} s"
            return Fault(FaultKind.TRANSIENT, message, may_be_billed=True)


def _prompt_bound(messages: Sequence[Message], body: dict[str, object]) -> int:
    """Return more tokens than a prompt can have: a token is at least one byte, and templates add a few."""
    written = sum(len(message_text(message).encode("utf-8", "replace")) + 16 for message in messages)
    return written + len(json.dumps(body)) + 64


def _usage(outcome: Reply | Fault, most: tuple[int, int]) -> Usage:
    """Return what a request used; what the server does not say is charged at its upper bound."""
    if isinstance(outcome, Fault):
        return Usage(1, 1, *most) if outcome.may_be_billed else Usage(failures=1)
    if outcome.usage is None:
        return Usage(1, 0, most[0], min(most[1], len(outcome.text.encode("utf-8", "replace"))))
    return Usage(1, 0, *outcome.usage)
