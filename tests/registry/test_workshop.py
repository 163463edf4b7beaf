"""What acquisitions keep in the registry: families, labels, probes, attempts, cache and spending."""

from __future__ import annotations

import json

import pytest

from rlar_graph.errors import InputError
from rlar_graph.registry import Attempt, FamilyRecord, KeptProbe, Label, Spend
from rlar_graph.registry.store import Registry

FAMILY = FamilyRecord("family:1", "logic/text/none/en", "use the numbers # to make #", "Use 1, 2 ...", 12)
ODD = "caf\u00e9 \x00 \ud800 \U0001f600"


def probe(text: str, *, deciding: bool = True, **more: object) -> KeptProbe:
    return KeptProbe(json.dumps({"completion": text} | more), deciding, "data", "good")


def test_a_family_is_added_once(registry: Registry) -> None:
    registry.add_family(FAMILY)
    registry.add_family(FamilyRecord("family:1", "other", "other", "other", 1))
    registry.add_family(FamilyRecord("source:b", "s", ODD, "x" * 20_000, 1))
    first, second = registry.families()
    assert first == FAMILY
    assert second.sketch == "caf\u00e9 \\x00 \\ud800 \U0001f600"
    assert len(second.example) == 8_000


def test_a_prompt_has_one_label_of_each_source(registry: Registry) -> None:
    registry.add_labels([Label("h1", "p", "a", "rule"), Label("h2", "q", "b", "llm")])
    registry.add_labels([Label("h1", "p", "c", "rule"), Label("h1", "p", "d", "user")])
    registry.add_labels([])
    assert sorted((label.prompt_hash, label.source, label.target) for label in registry.labels()) == [
        ("h1", "rule", "c"),
        ("h1", "user", "d"),
        ("h2", "llm", "b"),
    ]
    assert [label.target for label in registry.labels(1)] == ["d"]


def test_probes_are_kept_once_by_content_and_a_visible_one_never_becomes_deciding(registry: Registry) -> None:
    assert registry.keep_probes("f", [probe("a", deciding=False), probe("b", why="x"), probe(ODD)]) == 3
    again = [probe("a"), KeptProbe('{"why":"x",  "completion":"b"}', False, "llm", "bad"), probe("c")]
    assert registry.keep_probes("f", again) == 1
    assert registry.keep_probes("g", [probe("a")]) == 1
    kept = registry.kept_probes("f")
    assert [json.loads(each.body)["completion"] for each in kept] == ["a", "b", ODD, "c"]
    assert [each.deciding for each in kept] == [False, True, True, True]
    assert registry.kept_probes("nothing") == ()


@pytest.mark.parametrize("body", ["[1]", "{", "[" * 100_000])
def test_a_probe_that_is_no_object_is_refused_with_all_beside_it(registry: Registry, body: str) -> None:
    with pytest.raises(InputError, match="JSON"):
        registry.keep_probes("f", [probe("a"), KeptProbe(body, True, "data", "good")])
    assert registry.kept_probes("f") == ()


def test_attempts_are_kept_and_a_repeated_one_leaves_one_row(registry: Registry) -> None:
    first = Attempt("f", "verifier", "rejected", "TPR 0.5", calls=3, tokens=900, money=0.1, seconds=2.5)
    registry.record_attempt(first)
    later = Attempt("f", "verifier", "rejected", "TPR 0.5", calls=3, tokens=900, money=0.1, seconds=2.5)
    registry.record_attempt(later)
    registry.record_attempt(Attempt("f", "judge", "refused", "no endpoint"))
    registry.record_attempt(Attempt("g", "judge", "refused", "no endpoint"))
    assert registry.attempts("f") == (later, registry.attempts("f")[1])
    assert len(registry.attempts()) == 3


def test_the_cache_keeps_the_first_value_of_a_key(registry: Registry) -> None:
    assert registry.cached("judge", "k") is None
    registry.cache("judge", "k", "first")
    registry.cache("judge", "k", "second")
    registry.cache_all("tests", {f"k{n}": f"{n}" for n in range(1_200)})
    assert registry.cached("judge", "k") == "first"
    found = registry.cached_all("tests", [f"k{n}" for n in range(1_199, -1, -1)] + ["none"])
    assert found == {f"k{n}": f"{n}" for n in range(1_200)}


def test_spending_adds_up_by_role(registry: Registry) -> None:
    registry.spend([Spend("solver", 1, 10, 20, 0.5, 0.25), Spend("judge", 1, 1, 1, 1.0, 0.0)])
    registry.spend([Spend("solver", 2, 30, 40, 0.5, 0.25)])
    assert registry.spent() == (Spend("judge", 1, 1, 1, 1.0, 0.0), Spend("solver", 3, 40, 60, 1.0, 0.5))
