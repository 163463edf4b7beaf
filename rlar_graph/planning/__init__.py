"""Where prompts go that rules leave open, and which families they form."""
