"""``python -m rlar_graph.cli`` is the ``rlar`` command."""

from rlar_graph.cli.app import main

main()
