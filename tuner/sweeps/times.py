"""When the trials of a sweep began and ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tuner.sweeps.events import Line

Times = Mapping[str, tuple[float, float]]
"""By trial, when it began and ended, in seconds since 1970."""


def trial_times(lines: Iterable[Line]) -> Times:
    """By trial, the times of the first and the last event that names it, in seconds since 1970.

    A trial begins when the sampler is asked for it, and ends with its last report or with the event that ends it.
    """
    found: dict[str, tuple[float, float]] = {}
    for line in lines:
        if trial := line.get("trial"):
            found[trial] = (found.get(trial, (line["t"],))[0], line["t"])
    return found
