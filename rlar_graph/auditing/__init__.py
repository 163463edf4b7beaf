"""Auditing: what was scored, shown to somebody who does not share the grader's faults.

``background`` has it done beside the scoring, ``sample`` picks the rollouts, ``judge`` is the language model asked.
"""

from rlar_graph.auditing.background import Auditing, Auditor, Values, read_values

__all__ = ["Auditing", "Auditor", "Values", "read_values"]
