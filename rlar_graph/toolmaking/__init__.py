"""Reward tools being made: written, found, measured and proved, before the registrar decides."""
