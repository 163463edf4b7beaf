"""Built-in verifiers: code that decides from hard evidence, each with a table of cases that admits it."""
