"""The reward function as each trainer calls it: one module a trainer, a few lines each.

No module here imports its trainer when it is imported; docs/trainers.md says how each is plugged in and what it does
with a completion that nothing could judge.
"""
