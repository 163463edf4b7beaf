"""One chat server: its client, the thread its requests run on, and what came of each request.

Requests run on an event loop of their own, since only a cancelled coroutine is rid of a server that sends a byte now
and then for ever; a read timeout starts afresh with every byte. Callers on any thread share the loop and its
connections.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from time import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from rlar_graph.errors import LLMUnavailable, SettingsError
from rlar_graph.llm.replies import encodable
from rlar_graph.types import Message, message_text

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_openai import ChatOpenAI
    from openai import APIStatusError

ResultT = TypeVar("ResultT")

OVERLOADED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that ask for another try."""

KEYLESS = frozenset({401, 403})
"""Statuses that a request without a key may have for want of it."""

MISUNDERSTOOD = frozenset({400, 413, 415, 422, 501})
"""Statuses that find fault with the request: a format it does not know, a prompt that is too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said."""

    text: str
    """Its message; empty when it has none."""
    refusal: str | None = None
    """Why it refuses, if it does."""
    is_cut_off: bool = False
    """Whether it hit the token limit."""
    usage: tuple[int, int] | None = None
    """Prompt and completion tokens as the server counts them, if it does."""


class FaultKind(StrEnum):
    """What to do about a request without a reply."""

    TRANSIENT = "transient"
    """Try again."""
    REJECTED = "rejected"
    """Ask differently."""
    DENIED = "denied"
    """Give up: every request would end like this."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request brought no reply."""

    kind: FaultKind
    """What to do about it."""
    message: str
    """What happened, without the key."""
    status: int | None = None
    """HTTP status, if there was one."""
    retry_after: float | None = None
    """Seconds the server asks to wait."""
    may_be_billed: bool = False
    """Whether the model may have worked on it."""


class ChatServer:
    """An OpenAI-compatible chat server. Safe to share between threads and to use after a fork.

    Args:
        base_url: Address up to and with ``/v1``.
        model: Model name there.
        api_key: Its key; None for a server that wants none.
        timeout_seconds: Longest wait for a connection, and between two bytes.

    Raises:
        SettingsError: The address is no http(s) URL, or the key has characters that no header can carry.
    """

    def __init__(
        self, base_url: str, model: str, api_key: SecretStr | str | None, timeout_seconds: float
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError("the language model's base URL is an http:// or https:// address up to /v1")
        key = (api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key or "").strip()
        if not key.isascii() or not key.isprintable():
            raise SettingsError("the language model's API key has characters that no HTTP header can carry")
        self.model = model
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._base_url, self._key, self._timeout = base_url, SecretStr(key), timeout_seconds
        self._secrets = [SecretStr(secret) for secret in (key, parts.password) if secret]
        self._lock = threading.Lock()
        self._pid: int | None = None

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Start a coroutine on the server's loop and return its future."""
        with self._lock:
            # A forked child inherits neither the thread nor the right to the parent's connections.
            if self._pid != os.getpid():
                try:
                    self._start()
                except BaseException:
                    work.close()
                    raise
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the server's loop and wait for it; an interrupt ends its requests.

        Raises:
            LLMUnavailable: The server was closed meanwhile.
        """
        future = self.submit(work)
        try:
            return future.result()
        except CancelledError:
            raise LLMUnavailable(f"{self.model} at {self.place} was closed before it answered") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End requests in flight and close the connections; the next request opens them again."""
        with self._lock:
            if self._pid == os.getpid():
                asyncio.run_coroutine_threadsafe(self._end_requests(), self._loop).result()
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()
            self._pid = None

    async def request(
        self, messages: Sequence[Message], body: Mapping[str, object], role: str
    ) -> Reply | Fault:
        """Send one request, without any retry.

        Args:
            messages: The conversation.
            body: Further fields of the request. They go around the client's own structured output, which
                raises on a cut-off reply and throws its text away.
            role: Who asks, sent along for the logs of proxies.
        """
        import openai

        wire = [{**message, "content": encodable(message_text(message))} for message in messages]
        try:
            reply = await self._chat.ainvoke(wire, extra_body=dict(body), extra_headers={"X-Rlar-Role": role})
        except openai.APIStatusError as error:
            return self._status_fault(error)
        except openai.APITimeoutError:
            return Fault(FaultKind.TRANSIENT, f"no answer within {self._timeout:g} s", may_be_billed=True)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            cause = cause.__cause__ or cause
            unsent = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
            return Fault(FaultKind.TRANSIENT, self._redacted(cause), may_be_billed=not unsent)
        except (openai.OpenAIError, ValueError, TypeError, LookupError, AttributeError) as error:
            # What the client makes of a 200 whose body is no chat completion depends on what it is instead.
            said = f"the answer is no chat completion ({self._redacted(error)})"
            return Fault(FaultKind.TRANSIENT, said, 200, may_be_billed=True)
        return _reply(reply)

    def _start(self) -> None:
        """Build the client and its loop; importing langchain-openai takes over a second, so not before it is used."""
        import openai
        from langchain_openai import ChatOpenAI

        self._chat: ChatOpenAI = ChatOpenAI(
            model=self.model,
            base_url=self._base_url,
            # Without a key the client would send whatever OPENAI_API_KEY holds to this address.
            api_key=SecretStr(self._key.get_secret_value() or "none"),
            timeout=self._timeout,
            max_retries=0,
            use_responses_api=False,
            cache=False,  # LangChain's global cache would make samples copies of each other
            # The client's default is shared between all instances, and so would be its connections between loops.
            http_async_client=openai.DefaultAsyncHttpxClient(timeout=self._timeout),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"rlar {self.model}", daemon=True)
        self._thread.start()
        self._pid = os.getpid()

    async def _end_requests(self) -> None:
        """Cancel everything else on the loop and close the client."""
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for task in requests:
            task.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        await self._chat.root_async_client.close()

    def _status_fault(self, error: APIStatusError) -> Fault:
        """Sort an HTTP error status."""
        status = error.status_code
        if status in MISUNDERSTOOD:
            kind = FaultKind.REJECTED
        elif error.code != "insufficient_quota" and (status in OVERLOADED or status >= 500):
            kind = FaultKind.TRANSIENT
        else:
            kind = FaultKind.DENIED
        said = self._redacted(error)
        if status in KEYLESS and not self._key.get_secret_value():
            said = f"{said}; no key was sent (RLAR_LLM_API_KEY)"
        return Fault(kind, said, status, _retry_after(error.response.headers))

    def _redacted(self, error: BaseException) -> str:
        """Return a bounded description of an error; servers like to quote the key they refuse."""
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret.get_secret_value(), "[key]")
        return text[:500]


def _reply(message: BaseMessage) -> Reply:
    """Take from the client's message what is used here."""
    metadata = message.response_metadata
    finish = metadata.get("finish_reason")
    refusal = message.additional_kwargs.get("refusal")
    if finish == "content_filter":
        refusal = refusal or "stopped by the content filter"
    counted = metadata.get("token_usage") or {}
    sent, received = counted.get("prompt_tokens"), counted.get("completion_tokens")
    usage = (sent, received) if isinstance(sent, int) and isinstance(received, int) else None
    return Reply(encodable(str(message.text)), refusal, finish == "length", usage)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to wait, given in seconds or as a date."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, OverflowError):
        return None
