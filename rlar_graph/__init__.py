"""Rewards for RL on language models, found, written, tested and kept by an agent."""
