"""The ``rlar`` command: one file per group of subcommands."""
