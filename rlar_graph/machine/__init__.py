"""One engine for all processes of a machine: trainers' processes share pool, models, registry and memo of verdicts.

``client`` is what a process holds: it looks like the line in front of a reward function. ``rendezvous`` is where
processes meet and how an engine is started, ``process`` is that engine, and ``frames`` is what the two say to each
other. A connection is a lifetime: the kernel closes it for a client that crashed, and the engine ends with its last.
"""
