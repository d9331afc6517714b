"""Signal handlers that native code puts in the place of this process's own, which Python does not know of."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["handlers_kept"]

MOST_BYTES = 256
"""More than any system's `struct sigaction`, which begins with the handler."""

_Action = bytes
_LIBC = ctypes.CDLL(None)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """What native code sets for a signal while the block lasts is undone: Ray's ends the process at SIGTERM, and is
    taken away in favour of none at all. Python sets handlers in the main thread alone, this is for any.

    A handler that Python was given meanwhile stays.
    """
    before = {number: _action(number) for number in signal.valid_signals()}
    kinds = {number: _kind(number) for number in before}
    by_kind: dict[object, _Action | None] = {kinds[number]: action for number, action in before.items()}
    by_kind |= {signal.SIG_DFL: bytes(MOST_BYTES), signal.SIG_IGN: _with_handler(int(signal.SIG_IGN))}
    try:
        yield
    finally:
        for number, action in before.items():
            if _action(number) != action:
                _set(number, action if _kind(number) == kinds[number] else by_kind.get(_kind(number), action))


def _kind(number: int) -> object:
    """What Python knows of a signal: ignored, left to the system, its own handler's, or None for native code's."""
    handler = signal.getsignal(number)
    return callable if callable(handler) else handler


def _with_handler(address: int) -> _Action:
    return address.to_bytes(ctypes.sizeof(ctypes.c_void_p), sys.byteorder).ljust(MOST_BYTES, b"\0")


def _action(number: int) -> _Action | None:
    """None of a signal that no process may ask about."""
    found = ctypes.create_string_buffer(MOST_BYTES)
    return found.raw if _LIBC.sigaction(number, None, found) == 0 else None


def _set(number: int, action: _Action | None) -> None:
    _LIBC.sigaction(number, action, None)
