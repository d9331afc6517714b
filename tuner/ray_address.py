"""Whether a Ray cluster can be reached, known before anything is written."""

from __future__ import annotations

import re
import socket

from trainables.errors import UserError

__all__ = ["check_ray_reachable", "connect"]

_WAY_OUT = "start one with `ray start --head`, or leave the address out to start Ray here"


def check_ray_reachable(address: str | None, seconds: float = 5.0) -> None:
    """Try the port of `host:port` or `ray://host:port` once; for `auto` look for a cluster on this machine.

    Ray itself takes half a minute to give up on a port. Raises UserError with the address and the way out.
    """
    if address == "auto":
        _check_found()
    elif address is not None:
        _check_port(address, seconds)


def connect(address: str) -> None:
    """Join a running cluster."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")


def _check_found() -> None:
    import ray

    if ray.is_initialized():
        return
    try:
        connect("auto")
    except ConnectionError:
        raise UserError(f"resources.ray_address: no Ray cluster runs here for `auto` to find; {_WAY_OUT}") from None
    ray.shutdown()


def _check_port(address: str, seconds: float) -> None:
    found = re.fullmatch(r"(?:ray://)?\[?([^\s/]+?)\]?:(\d{1,5})", address)
    if found is None:
        raise UserError(f"resources.ray_address: {address!r} is not allowed; allowed: auto, host:port, ray://host:port")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=seconds).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"resources.ray_address: no Ray cluster answers at {address} ({error}); {_WAY_OUT}") from None
