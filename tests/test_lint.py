"""The lint of generated verifiers: no way round to the clock, to chance, or to evaluating a completion."""

from __future__ import annotations

import pytest

from rlar_graph.rewards.generated import check_source

HEAD = "def score(prompt, completion, reference, **evidence):\n"


@pytest.mark.parametrize(
    "source",
    [
        "import statistics\n" + HEAD + "    return float(statistics.sys.modules['time'].time() > 1)",
        "import uuid\n" + HEAD + "    return float(uuid.os.getpid() % 2)",
        "from statistics import random\n" + HEAD + "    return random.random()",
        "from enum import sys\n" + HEAD + "    return float(sys.maxsize > 1)",
        "import operator\n" + HEAD + "    return operator.attrgetter('__globals__')(score)['x']",
        "import typing, dataclasses\n"
        + HEAD
        + "    made = dataclasses.make_dataclass('A', [('x', completion)])\n"
        + "    return float(bool(typing.get_type_hints(made)))",
        HEAD + "    return float('{0.__globals__}'.format(score) == '')",
    ],
)
def test_side_doors_are_named(source: str) -> None:
    assert check_source(source)


@pytest.mark.parametrize(
    "source",
    [
        "import re\nimport collections\nimport urllib.parse\nimport xml.etree.ElementTree as ET\n"
        + HEAD
        + "    urllib.parse.quote('a'); ET.fromstring('<a/>'); collections.abc.Mapping\n"
        + "    return float(collections.Counter(completion)['__'] == 0)",
        "from collections import Counter\nfrom datetime import datetime\nfrom collections.abc import Mapping\n"
        + HEAD
        + "    return float(len(Counter(completion)))",
    ],
)
def test_ordinary_code_is_not(source: str) -> None:
    assert check_source(source) == []
