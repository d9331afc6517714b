"""Time that no one sets: a clock that is put right in mid-sweep spends no budget and takes none back."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since 1970: by the machine's clock when this is made, and from then on evenly, sleep of the machine
    included where the system tells it."""

    def __init__(self) -> None:
        self._start = time.time() - _since_boot()

    def __call__(self) -> float:
        return self._start + _since_boot()


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
