"""From a prompt and its evidence to the signature that names what could grade it."""
