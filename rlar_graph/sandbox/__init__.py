"""Running code nobody trusts: verifiers written by models, programs written by policies.

Importing this package starts nothing and loads no engine; :func:`open_sandbox` does.
"""

from rlar_graph.sandbox.base import Layer, Limits, Outcome, Sandbox, SandboxReport, TestJob
from rlar_graph.sandbox.choose import open_sandbox

__all__ = ["Layer", "Limits", "Outcome", "Sandbox", "SandboxReport", "TestJob", "open_sandbox"]
