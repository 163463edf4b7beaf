"""The registry: reward tools in SQLite or PostgreSQL, each with the evidence that admitted it."""
