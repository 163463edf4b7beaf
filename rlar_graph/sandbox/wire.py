"""The wire between trainer and sandbox: fixed records and shared pages, laid out once for both sides.

Nothing that comes out of a child is parsed by the trainer: it copies fixed-size records once, then checks the copy.
"""

from __future__ import annotations

import struct
from enum import IntEnum


class Kind(IntEnum):
    """What a child is for."""

    WORKER = 1
    """Defines one verifier and serves batches of calls."""
    CANDIDATE = 2
    """Defines one program and serves single calls from a grader."""
    GRADER = 3
    """Runs tests against a candidate in another process."""
    PROGRAM = 4
    """Runs one program on one standard input."""
    TOGETHER = 5
    """Runs program and tests in one process; not attested."""
    PROBE = 6
    """Attacks every layer and reports what got through."""


class Code(IntEnum):
    """How one call ended, as the child reports it."""

    OK = 0
    ERROR = 1
    MEMORY = 2
    INVALID = 3
    REFUSED = 4
    CRASHED = 5
    BAD_TESTS = 6
    """The tests broke before they called the program."""


SPAWN = struct.Struct("<BxxxIII")
"""Request for a child: kind, MiB of address space, CPU seconds, unused; descriptors travel beside it."""
SPAWNED = struct.Struct("<i")
"""Answer: 0 with the child's pidfd beside it, or an errno."""

DOORBELL = struct.Struct("<IIII")
"""One batch is ready: slot, number of calls, bytes, length of the function's name at their head."""
LOADED = struct.Struct("<B191s")
"""The source is defined, or could not be: code and text."""

RECORD = struct.Struct("<dBxxxI")
"""One result: value, code, and last its 1-based index. The index commits the record: a worker killed while it writes
must not leave a record that looks whole."""
BATCH_CALLS = 256
"""Most calls in one batch."""
BATCH_BYTES = 192 * 1024
"""Bytes after which a batch is closed: larger ones fall out of the cache."""
TEXT_BYTES = 192
"""Bytes kept of one error text."""
TEXTS = BATCH_CALLS * RECORD.size
"""Offset of the error texts behind the records of a slot."""
SLOT_BYTES = TEXTS + BATCH_CALLS * TEXT_BYTES
"""One slot of results."""
SLOTS = 2
"""Batches a worker may hold: it never waits for the trainer to write the next."""
INBOX = -(-SLOTS * SLOT_BYTES // 4096) * 4096
"""Offset of the arguments behind the results."""
INBOX_BYTES = 32 << 20
"""Most bytes of arguments per slot. The pages exist only where they are written."""
ASK = INBOX + SLOTS * INBOX_BYTES
"""Offset of what a worker asks of the trainer: to run a program against tests."""
ASK_BYTES = 4 << 20
"""Most bytes of program and tests in one such request."""
ASK_HEAD = struct.Struct("<II")
"""Head of a request: bytes of the program and of the packed tests behind it."""
SHARED_BYTES = ASK + ASK_BYTES
"""Size of the memory that trainer and worker share."""

DONE, ASKED = b"D", b"R"
"""What a worker says on the bell: the oldest batch is done; a request lies in the shared memory."""
REPLY_SLOT = 0xFFFFFFFF
"""Slot number that marks a doorbell as the reply to a request: code, tests passed, tests counted follow."""

VERDICT = struct.Struct("<BBxxII180s")
"""What a grader found: code, 1 where the program is at fault, tests passed, tests counted, text."""
PROBED = struct.Struct("<QQ")
"""What a probe found: a magic word and the mask of attacks that got through."""
PROBE_MAGIC = 0x524C41522D50524F

PLAIN_BYTES = 8 << 20
"""Most bytes of one value between grader and candidate."""
