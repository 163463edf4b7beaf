"""Where code nobody trusts is run: one contract, several engines behind it."""
