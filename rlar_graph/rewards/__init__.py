"""Reward tools: what scores a completion, built in or acquired."""
