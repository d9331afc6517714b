"""Imports of large packages, which take a fifth less time while nobody looks for garbage: they make none."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_blocks = 0
_was_enabled = False


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is looked for while a block runs, in whatever thread; afterwards as before."""
    global _blocks, _was_enabled
    with _lock:
        if _blocks == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0 and _was_enabled:
                gc.enable()
