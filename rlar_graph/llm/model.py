"""The language model: the one way in which the library asks one anything.

It asks for structured replies in the strictest form the server understands, retries within a deadline, has a bad
reply repaired once, and keeps to the run's budget. What goes wrong is an :class:`~rlar_graph.errors.LLMError`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel, SecretStr

from rlar_graph.errors import LLMError, LLMReplyError, SettingsError
from rlar_graph.llm.chat import ChatServer
from rlar_graph.llm.dialect import Dialect, Sampling
from rlar_graph.llm.exchange import Account, Exchange, Terms
from rlar_graph.llm.ledger import Budget, Ledger, Price
from rlar_graph.llm.replies import AnswerT, Unreadable, instruct, read, repair, without_thoughts
from rlar_graph.types import Message

ResultT = TypeVar("ResultT")


class LanguageModel:
    """A model at an OpenAI-compatible address. Safe to share between threads; a context manager.

    Args:
        base_url: Address up to and with ``/v1``.
        model: Model name there.
        api_key: Its key; None for a server that wants none. Never shown, logged or quoted in an error.
        budget: The most this run may spend; no limit when left out.
        price: What tokens cost; needed for a budget of money.
        timeout_seconds: Longest wait for one request.
        deadline_seconds: Longest wait for one answer with its retries and its repair turn; three timeouts
            when left out.
        max_retries: Further tries after an overload, a server error or a lost connection.
        backoff_seconds: Pause before the first retry, doubled for each further one, unless the server asks
            for another.
        temperature: Sampling temperature; the server's default when left out.
        max_tokens: Longest reply, thoughts included.

    Raises:
        SettingsError: The address or key cannot be one, or money is limited but has no price.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: SecretStr | str | None = None,
        *,
        budget: Budget | None = None,
        price: Price | None = None,
        timeout_seconds: float = 120.0,
        deadline_seconds: float | None = None,
        max_retries: int = 2,
        backoff_seconds: float = 0.5,
        temperature: float | None = None,
        max_tokens: int = 4096,
    ) -> None:
        self.budget, self.price, self.ledger = budget or Budget(), price, Ledger()
        self._check_price()
        self._server = ChatServer(base_url, model, api_key, timeout_seconds)
        self._dialect = Dialect(base_url, max_tokens)
        deadline = 3 * timeout_seconds if deadline_seconds is None else deadline_seconds
        self._terms = Terms(timeout_seconds, deadline, max_retries, backoff_seconds, max_tokens)
        self._temperature = temperature

    @property
    def model(self) -> str:
        """Return the model's name."""
        return self._server.model

    @property
    def base_url(self) -> str:
        """Return the server's address without any credentials in it."""
        return self._server.place

    def for_run(self, budget: Budget) -> Self:
        """Return this model with a ledger and budget of its own; the connections are shared."""
        twin = copy.copy(self)
        twin.budget, twin.ledger = budget, Ledger()
        twin._check_price()
        return twin

    def ask(
        self,
        role: str,
        prompt: str | Sequence[Message],
        schema: type[AnswerT],
        *,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> AnswerT:
        """Return the model's answer in the form of ``schema``.

        Args:
            role: Who asks, e.g. ``planner``; the ledger counts by role.
            prompt: Text, or chat messages.
            schema: The form of the answer; it is added to the prompt.
            temperature: Instead of the model's own.
            seed: Where the server honours one.

        Raises:
            LLMUnavailable: The server cannot be reached, stays overloaded, or refuses our key or model name.
            LLMReplyError: The model refused, or its reply is not of that form, also after a repair turn.
            BudgetExhausted: The budget does not allow another request.
        """
        return self._server.run(self._ask(role, prompt, schema, self._sampling(temperature, seed)))

    def ask_text(
        self,
        role: str,
        prompt: str | Sequence[Message],
        *,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> str:
        """Return the model's answer as text, without what it thought aloud; see :meth:`ask`."""
        return self._server.run(self._ask_text(role, prompt, self._sampling(temperature, seed)))

    async def aask(self, role: str, prompt: str | Sequence[Message], schema: type[AnswerT]) -> AnswerT:
        """Return the model's answer in the form of ``schema``, from a coroutine; see :meth:`ask`."""
        work = self._ask(role, prompt, schema, self._sampling(None, None))
        return await asyncio.wrap_future(await asyncio.to_thread(self._server.submit, work))

    def ask_many(
        self,
        role: str,
        prompts: Sequence[str | Sequence[Message]],
        schema: type[AnswerT],
        *,
        temperature: float | None = None,
        seed: int | None = None,
        concurrency: int = 8,
    ) -> list[AnswerT | LLMError]:
        """Return an answer per prompt, in order, at most ``concurrency`` at a time.

        A prompt that fails has its error in its place and spoils no other.
        """
        sampling = self._sampling(temperature, seed)
        asked = [partial(self._ask, role, prompt, schema, sampling) for prompt in prompts]
        return self._server.run(_gather(asked, concurrency))

    def sample(
        self,
        role: str,
        prompt: str | Sequence[Message],
        schema: type[AnswerT],
        n: int,
        *,
        temperature: float = 0.8,
        seed: int | None = None,
        concurrency: int = 8,
    ) -> list[AnswerT | LLMError]:
        """Return ``n`` independent answers to one prompt, each from a request of its own.

        Args:
            role: Who asks.
            prompt: Text, or chat messages.
            schema: The form of the answer.
            n: How many.
            temperature: Sampling temperature; at 0 the answers would not be independent.
            seed: Seed of the first answer; each further one has the next.
            concurrency: How many requests at a time.
        """
        draws = [Sampling(temperature, None if seed is None else seed + number) for number in range(n)]
        asked = [partial(self._ask, role, prompt, schema, draw) for draw in draws]
        return self._server.run(_gather(asked, concurrency))

    def close(self) -> None:
        """End requests in flight and close the connections."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r}, model={self.model!r})"

    async def _ask(
        self, role: str, prompt: str | Sequence[Message], schema: type[AnswerT], sampling: Sampling
    ) -> AnswerT:
        """Ask, read, and let the model repair its reply once."""
        exchange = self._exchange(role, schema, sampling)
        messages = instruct(_conversation(prompt), schema)
        reply = await exchange.request(messages)
        answer = read(reply.text, schema)
        if isinstance(answer, Unreadable):
            problem = "it was cut off, be shorter" if reply.is_cut_off else answer.problem
            # A server whose grammar brings no JSON at all does better when it is left alone.
            reply = await exchange.request(repair(messages, reply.text, problem), looser=not answer.has_json)
            answer = read(reply.text, schema)
        if isinstance(answer, Unreadable):
            cause = f"cut off at {self._terms.max_tokens} tokens" if reply.is_cut_off else answer.problem
            raise LLMReplyError(f"{self.model} gave the {role} no {schema.__name__} in two tries: {cause}")
        return answer

    async def _ask_text(self, role: str, prompt: str | Sequence[Message], sampling: Sampling) -> str:
        """Ask for text; an empty answer is none."""
        exchange = self._exchange(role, None, sampling)
        reply = await exchange.request(_conversation(prompt))
        text = without_thoughts(reply.text)
        if not text or reply.is_cut_off:
            cause = (
                f"a text cut off at {self._terms.max_tokens} tokens" if reply.is_cut_off else "an empty text"
            )
            raise LLMReplyError(f"{self.model} gave the {role} {cause}")
        return text

    def _exchange(self, role: str, schema: type[BaseModel] | None, sampling: Sampling) -> Exchange:
        """Start the clock of one question."""
        account = Account(self.budget, self.ledger, self.price)
        return Exchange(self._server, self._dialect, self._terms, account, role, schema, sampling)

    def _sampling(self, temperature: float | None, seed: int | None) -> Sampling:
        """Return how to draw an answer; a call's own temperature comes before the model's."""
        return Sampling(self._temperature if temperature is None else temperature, seed)

    def _check_price(self) -> None:
        """Refuse to limit money that nobody can count."""
        if self.budget.money is not None and self.price is None:
            raise SettingsError("a budget of money needs the price of the language model's tokens")


async def _gather(
    asked: Sequence[Callable[[], Coroutine[Any, Any, ResultT]]], concurrency: int
) -> list[ResultT | LLMError]:
    """Run a few at a time, with errors in their places."""
    gate = asyncio.Semaphore(concurrency)

    async def guarded(ask: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT | LLMError:
        async with gate:
            try:
                return await ask()
            except LLMError as error:
                return error

    return await asyncio.gather(*(guarded(ask) for ask in asked))


def _conversation(prompt: str | Sequence[Message]) -> list[Message]:
    """Return a prompt as chat messages."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
