"""Whether a JSON document conforms to a schema. Its text is run in the sandbox, so it imports nothing of ours.

A document chosen by its writer can make a validator work for ever: a ``pattern`` that backtracks, a
recursive ``anyOf``, ``uniqueItems`` over a long list. Only a sandbox's kill bounds that.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

CONFORMS, UNRESOLVED, UNDECIDED = 0.0, -1.0, -2.0
"""Answers of :func:`conforms` besides the number of a broken keyword."""


def conforms(schema: str, document: str, draft: str) -> float:
    """Return :data:`CONFORMS`, the number of a keyword that the document breaks, or why neither can be said.

    A sandboxed call can only hand a number back, so keywords are numbered from 2 in the alphabetical order of
    the draft; 1 is a place where the schema allows nothing at all.

    Args:
        schema: JSON text of a valid schema.
        document: JSON text.
        draft: Name of the validator class in ``jsonschema``.
    """
    # jsonschema imports this one if it can, which takes a second; the check of IRIs below does without.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import jsonschema
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped, unused-ignore]
    from referencing.exceptions import Unresolvable

    validator = getattr(jsonschema, draft)
    newest = jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers
    formats = jsonschema.FormatChecker(formats=())
    formats.checkers = {**newest, **validator.FORMAT_CHECKER.checkers}
    for iri, uri in (("iri", "uri"), ("iri-reference", "uri-reference")):
        formats.checkers[iri] = (_in_ascii(formats.checkers[uri][0]), ValueError)
    # The specifications' registry never fetches; the default one reads whatever address a $ref names.
    checked = validator(json.loads(schema), format_checker=formats, registry=REGISTRY)
    try:
        broken = next(checked.iter_errors(json.loads(document)), None)
    except Unresolvable:
        return UNRESOLVED
    except (RecursionError, OverflowError):
        return UNDECIDED
    if broken is None:
        return CONFORMS
    keywords = sorted(validator.VALIDATORS)
    return 2.0 + keywords.index(broken.validator) if broken.validator in keywords else 1.0


def _in_ascii(check: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return the check of an IRI as that of the URI it maps to; the packaged one parses with Earley's algorithm."""

    def check_iri(value: object) -> bool:
        return check(re.sub(r"[^\0-\x7f]", "%C3%A9", value) if isinstance(value, str) else value)

    return check_iri
