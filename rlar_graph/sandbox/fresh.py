"""A fresh call: one process for one call, for verifiers that keep state between calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rlar_graph.errors import SandboxClosed
from rlar_graph.sandbox.base import Limits, Outcome
from rlar_graph.sandbox.plain import pack
from rlar_graph.sandbox.pool import Pool, Verifier
from rlar_graph.sandbox.wire import ASKED, DONE, INBOX_BYTES
from rlar_graph.sandbox.worker import Worker, wait_any


def fresh_call(
    pool: Pool,
    verifier: Verifier,
    function: str,
    arguments: Mapping[str, object],
    limits: Limits,
    answer: Callable[[Worker, Limits], bool],
) -> Outcome:
    """Fork a worker, run one call in it, end it."""
    name = function.encode("utf-8", "replace")
    try:
        payload = pack(arguments)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return Outcome("refused", None, f"the arguments cannot be sent: {error}", fault="sandbox")
    if len(payload) + len(name) > INBOX_BYTES:
        return Outcome(
            "refused", None, f"the arguments take more than {INBOX_BYTES >> 20} MiB", fault="sandbox"
        )
    permits = pool.acquire(1)
    try:
        outcome = _once(pool, verifier, name, payload, limits, answer)
        if outcome.status == "crashed" and not pool.closed:
            # The machine may have killed it, for want of memory say: only a call that dies twice is to blame.
            outcome = _once(pool, verifier, name, payload, limits, answer)
    except SandboxClosed:
        return _CLOSED
    finally:
        pool.release(permits)
    return _CLOSED if pool.closed and outcome.status == "crashed" else outcome


_REQUESTS = 4
_CLOSED = Outcome("crashed", None, "the sandbox was closed", fault="sandbox")


def _once(
    pool: Pool,
    verifier: Verifier,
    name: bytes,
    payload: bytes,
    limits: Limits,
    answer: Callable[[Worker, Limits], bool],
) -> Outcome:
    worker = pool.fork(verifier)
    try:
        # The call is in the worker's hands before its source is defined: one wake-up less.
        worker.send(name, payload, range(1), 0)
        return worker.load(limits.seconds) or _result(worker, limits, answer)
    finally:
        pool.discard(worker)


def _result(worker: Worker, limits: Limits, answer: Callable[[Worker, Limits], bool]) -> Outcome:
    batch = worker.batches[0]
    batch.started = begun = time.monotonic()
    word = b""
    for _ in range(_REQUESTS + 1):
        if not wait_any([worker], limits.seconds):
            spent = time.monotonic() - begun
            return Outcome("timeout", None, f"over {limits.seconds:g} s", spent, fault="program")
        word = worker.word()
        if word != ASKED or not answer(worker, limits):
            break
    worker.kill()
    outcomes = worker.harvest(batch) if word == DONE else []
    if outcomes:
        return outcomes[0]
    return Outcome(
        "crashed", None, "the process ended during the call", time.monotonic() - begun, fault="program"
    )
