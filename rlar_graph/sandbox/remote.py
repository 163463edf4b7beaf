"""Cells: the Python text that a remote machine runs for one call, and how its answer is read.

The remote machine has nothing of ours, so a cell brings along what it needs. Its answer is one printed line that begins
with a random word; the trainer reads numbers and bounded text from it and decodes nothing else.
"""

from __future__ import annotations

import base64
import math
import pickle
import secrets
from dataclasses import dataclass
from pathlib import Path

from rlar_graph.sandbox.base import Limits, Outcome, Status
from rlar_graph.sandbox.plain import pack

_MODULES = ("describe", "objects", "checks", "tally", "cases", "lint")
_STATUS: dict[str, Status] = {
    "ok": "ok",
    "error": "error",
    "memory": "memory",
    "invalid": "invalid",
    "refused": "refused",
    "timeout": "timeout",
}
_TEXT = 400

_CELL = r"""
def _rlar(word, sources, job):
    import base64, io, math, os, pickle, resource, signal, sys, types
    for name in ("rlar_graph", "rlar_graph.sandbox"):
        module = types.ModuleType(name); module.__path__ = []; sys.modules[name] = module
    for name, text in sources.items():
        module = types.ModuleType("rlar_graph.sandbox." + name); sys.modules[module.__name__] = module
        setattr(sys.modules["rlar_graph.sandbox"], name, module)
        exec(compile(text, name + ".py", "exec"), module.__dict__)
    job = pickle.loads(base64.b64decode(job))
    describe = sys.modules["rlar_graph.sandbox.describe"].describe
    real = sys.stdout
    class Sink(io.TextIOBase):
        def write(self, text): return len(text)
    class Late(BaseException): pass
    def late(*_): raise Late
    def answer(status, value="", text="", passed=0, total=0, fault="program"):
        sys.stdout = real
        text = base64.b64encode(str(text).encode("utf-8", "replace")[:job["most"]]).decode()
        print("\n%s %s %s %d %d %s %s" % (word, status, value or "-", passed, total, fault, text or "-"), flush=True)
    signal.signal(signal.SIGALRM, late)
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    space = mapped + (job["memory_mb"] << 20)
    resource.setrlimit(resource.RLIMIT_AS, (space, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.setitimer(signal.ITIMER_REAL, job["seconds"])
    sys.stdout = Sink()
    try:
        {body}
    except Late:
        answer("timeout")
    except MemoryError:
        answer("memory", text="MemoryError")
    except BaseException as error:
        answer("error", text=describe(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout = real
_rlar({word!r}, {sources!r}, {job!r})
"""

_CALL = """
        found = sys.modules["rlar_graph.sandbox.lint"].runs_code(job["source"])
        if found:
            answer("refused", text=found)
            return
        scope = {"__name__": "verifier"}
        exec(compile(job["source"], "verifier.py", "exec"), scope)
        if not callable(scope.get(job["function"])):
            raise NameError("the source defines no function %r" % job["function"])
        value = scope[job["function"]](**job["arguments"])
        if type(value) not in (float, int, bool):
            answer("invalid", text="returned %s, not a number" % type(value).__name__)
            return
        try:
            number = value * 1.0
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            answer("ok", number.hex(), fault="none")
        else:
            answer("invalid", text="not finite")
"""

_TESTS = """
        tests, checks = sys.modules["rlar_graph.sandbox.tally"], sys.modules["rlar_graph.sandbox.checks"]
        objects = sys.modules["rlar_graph.sandbox.objects"]
        tally = tests.Tally()
        module = types.ModuleType("solution"); sys.modules["solution"] = module
        exec(compile(job["source"], "solution.py", "exec"), module.__dict__)
        def find(name):
            owner, _, method = name.replace("()", "").partition(".")
            found = module.__dict__.get(owner)
            if method:
                return getattr(found(), method, None)
            if found is None and isinstance(module.__dict__.get("Solution"), type):
                return getattr(module.__dict__["Solution"](), name, None)
            return found
        try:
            if job["form"] == "cases":
                sys.modules["rlar_graph.sandbox.cases"].run_cases(job["tests"], find(job["entry"]), tally)
            else:
                plan = checks.plan_tests(job["tests"], job["entry"], objects=True)
                tests.run_plan(plan, tally, find, lambda: 1)
        except objects.BadTests as error:
            answer("refused", text=error, fault="sandbox")
            return
        answer("ok", (tally.passed / tally.total).hex(), tally.failure, tally.passed, tally.total,
               "none" if tally.passed == tally.total else "program")
"""

_PROGRAM = """
        class Capped(io.BytesIO):
            def write(self, part):
                if self.tell() < job["most"]: super().write(bytes(part)[: job["most"]])
                return len(part)
        out = Capped()
        sys.stdin = io.TextIOWrapper(io.BytesIO(job["stdin"]), "utf-8", "surrogateescape")
        sys.stdout = io.TextIOWrapper(out, "utf-8", "surrogateescape", write_through=True)
        kept = sys.stdout
        try:
            exec(compile(job["source"], "program.py", "exec"), {"__name__": "__main__"})
        except SystemExit as error:
            if error.code not in (None, 0):
                raise
        kept.flush()
        answer("ok", text=out.getvalue().decode("utf-8", "replace"), fault="none")
"""


@dataclass(frozen=True)
class Cell:
    """One cell to run."""

    code: str
    """The Python text."""
    word: str
    """The random word its answer begins with."""
    limits: Limits
    """What it may use."""


def call_cell(source: str, function: str, arguments: dict[str, object], limits: Limits) -> Cell:
    """A cell that calls a verifier once."""
    pack(arguments)  # refuses what is not plain, as the process engine does
    return _cell(_CALL, {"source": source, "function": function, "arguments": arguments}, limits, _TEXT)


def tests_cell(source: str, form: str, tests: object, entry: str, limits: Limits) -> Cell:
    """A cell that runs program and tests together."""
    return _cell(_TESTS, {"source": source, "form": form, "tests": tests, "entry": entry}, limits, _TEXT)


def program_cell(source: str, stdin: str, most: int, limits: Limits) -> Cell:
    """A cell that runs a program on one input and prints what it printed."""
    return _cell(_PROGRAM, {"source": source, "stdin": stdin.encode("utf-8", "surrogatepass")}, limits, most)


def _cell(body: str, job: dict[str, object], limits: Limits, most: int) -> Cell:
    word = secrets.token_hex(16)
    job |= {"seconds": limits.seconds, "memory_mb": limits.memory_mb, "most": most}
    here = Path(__file__).parent
    sources = {name: (here / f"{name}.py").read_text() for name in _MODULES}
    code = _CELL.replace("{body}", body.strip()).replace("{word!r}", repr(word))
    code = code.replace("{sources!r}", repr(sources))
    return Cell(code.replace("{job!r}", repr(base64.b64encode(pickle.dumps(job)).decode())), word, limits)


def read_answer(cell: Cell, printed: str, seconds: float) -> Outcome:
    """The outcome that a cell's output holds, checked field by field; ``crashed`` where there is none."""
    line = next((row for row in printed.splitlines() if row.startswith(cell.word + " ")), "")
    fields = line.split(" ")
    if len(fields) != 7 or fields[1] not in _STATUS or not (fields[3].isdigit() and fields[4].isdigit()):
        return Outcome("crashed", None, "the cell ended without an answer", seconds, fault="program")
    _, status, value, passed, total, fault, text = fields
    try:
        number = float.fromhex(value) if value != "-" else None
        detail = base64.b64decode(text, validate=True).decode("utf-8", "replace") if text != "-" else ""
    except ValueError:
        return Outcome("crashed", None, "the cell's answer is malformed", seconds, fault="program")
    if number is not None and not math.isfinite(number):
        return Outcome("invalid", None, "not finite", seconds, fault="program")
    whose = "sandbox" if fault == "sandbox" else "program" if fault == "program" else ""
    return Outcome(
        _STATUS[status],
        number if status == "ok" else None,
        detail,
        seconds,
        int(passed[:9]),
        int(total[:9]),
        fault="sandbox" if whose == "sandbox" else "program" if whose else "",
    )
