"""Flavours of zygote: what each has imported before it locks itself down.

A fork of a zygote with sympy costs twice a fork of a bare one, and importing sympy in every child would cost half a
second: so code is sent to the zygote that has what its text asks for.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
from functools import cache

_STANDARD = [
    "abc",
    "array",
    "ast",
    "base64",
    "bisect",
    "builtins",
    "calendar",
    "cmath",
    "collections",
    "collections.abc",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "errno",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "html",
    "inspect",
    "io",
    "itertools",
    "json",
    "keyword",
    "math",
    "numbers",
    "operator",
    "pprint",
    "queue",
    "random",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "threading",
    "time",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "uuid",
    "zlib",
]
_SEALED_EXTRA = [
    "asyncio",
    "binascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.ascii",
    "encodings.utf_16",
    "bz2",
    "codecs",
    "concurrent.futures",
    "configparser",
    "doctest",
    "email",
    "filecmp",
    "fnmatch",
    "getpass",
    "glob",
    "gzip",
    "html.parser",
    "http",
    "ipaddress",
    "linecache",
    "locale",
    "logging",
    "lzma",
    "pathlib",
    "pickle",
    "platform",
    "secrets",
    "shlex",
    "signal",
    "socketserver",
    "sqlite3",
    "stringprep",
    "tempfile",
    "timeit",
    "tokenize",
    "unittest",
    "unittest.mock",
    "urllib.parse",
    "urllib.request",
    "weakref",
    "xml.etree.ElementTree",
    "zoneinfo",
]

_PACKAGES = (
    "msgpack",
    "sympy",
    "mpmath",
    "math_verify",
    "latex2sympy2_extended",
    "antlr4",
    "numpy",
    "gmpy2",
    "regex",
)
_PRELOADS = {
    "light": [],
    "math": ["sympy", "mpmath", "latex2sympy2_extended", "math_verify"],
    "array": ["numpy"],
    "schema": [],
}
# Parsing fills the grammar's prediction tables, which takes most of the first parse's time.
_WARM = {
    "math": r"""
from math_verify import parse, verify
for text in (r"$\frac{1}{2}$", r"$x^2+\sqrt{3}$", r"$\{1,2\}$", r"$(1,2]$", "$0.5$", r"\boxed{3}"):
    verify(parse(text, parsing_timeout=None), parse(text, parsing_timeout=None), timeout_seconds=None)
""",
    # Without its optional parser of IRIs, which alone takes a second to import and which nobody here asks for.
    "schema": """
import sys
sys.modules.setdefault("rfc3987_syntax", None)
import jsonschema, jsonschema_specifications, referencing.exceptions
for draft in (jsonschema.Draft4Validator, jsonschema.Draft7Validator, jsonschema.Draft202012Validator):
    draft({"type": "object"}, registry=jsonschema_specifications.REGISTRY).is_valid({})
""",
}
_ASKS = (
    ("math", re.compile(r"\b(?:sympy|mpmath|math_verify|latex2sympy2_extended)\b")),
    ("schema", re.compile(r"^\s*(?:import|from)\s+jsonschema\b", re.MULTILINE)),
    ("array", re.compile(r"^\s*(?:import|from)\b[^#\n]*\bnumpy\b", re.MULTILINE)),
)


def flavour_for(*texts: str) -> str:
    """The flavour whose imports the ``texts`` ask for."""
    return next((name for name, pattern in _ASKS if any(pattern.search(text) for text in texts)), "light")


def preloads(flavour: str) -> list[str]:
    """Modules a zygote of this flavour imports before lockdown."""
    return [*_STANDARD, *_PRELOADS[flavour]]


def sealed_preloads(flavour: str) -> list[str]:
    """What is imported besides, where nothing can be imported later."""
    return [*_SEALED_EXTRA, "numpy"] if flavour == "math" else _SEALED_EXTRA


def warm_up(flavour: str) -> str:
    """Statements that fill the caches of what was preloaded."""
    return _WARM.get(flavour, "")


@cache
def import_path() -> tuple[str, ...]:
    """Directories that hold the packages code in the sandbox may import."""
    found = (importlib.util.find_spec(name) for name in _PACKAGES)
    roots = [
        os.path.dirname(place) for spec in found if spec for place in spec.submodule_search_locations or ()
    ]
    return tuple(dict.fromkeys(roots))


@cache
def readable() -> tuple[str, ...]:
    """The files that children may read: the interpreter's own, its shared libraries, and the packages above."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
    libraries = [f"{root}/{multiarch}" for root in ("/lib", "/usr/lib")] + ["/lib64", "/usr/lib64"]
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    standard += [f"{prefix}/lib/{version}" for prefix in (sys.base_prefix, sys.base_exec_prefix)]
    data = ["/etc/ld.so.cache", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom"]
    return tuple(dict.fromkeys([*standard, *import_path(), *libraries, *data]))
