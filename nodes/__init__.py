"""Graph nodes: one file per node, node functions only."""
