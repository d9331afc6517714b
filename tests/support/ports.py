"""Ports for servers that tests start."""

import socket
from contextlib import suppress
from random import SystemRandom

BELOW_THE_KERNELS_OWN = (20_000, 32_000)  # what it gives to connections would be taken again before a server listens


def free_port():
    """A port of 127.0.0.1 that nobody has."""
    while True:
        port = SystemRandom().randrange(*BELOW_THE_KERNELS_OWN)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
