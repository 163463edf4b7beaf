"""Evidence made once per prompt where the data brings none: constraints, tests and references."""
