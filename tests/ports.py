"""Ports for servers that a test starts."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port nobody listens at, below those that the kernel gives to outgoing connections.

    Between here and the start of the server nothing takes it but another test that draws the same number.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
