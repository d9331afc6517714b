"""What trials that were given one by one differ in, as if it had been searched."""

from __future__ import annotations

from typing import Any

from search_spaces.space import Space
from tuner.sweeps.state import Sweep

__all__ = ["space_of"]

WIDE = 10.0  # the ratio from which a range is shown logarithmically


def space_of(sweep: Sweep) -> Space:
    """The space that was searched; of given trials each field over the values that they have."""
    searched = Space.parse(sweep.header["space"])
    if searched.dimensions:
        return searched
    values: dict[str, list[Any]] = {}
    for trial in sweep.trials.values():
        for path, value in trial.assignment.items():
            values.setdefault(path, []).append(value)
    return Space.parse({path: _dimension(found) for path, found in values.items() if len(set(map(str, found))) > 1})


def _dimension(values: list[Any]) -> dict[str, Any]:
    distinct = list(dict.fromkeys(values))
    if all(isinstance(value, float) for value in distinct):
        low, high = min(distinct), max(distinct)
        return {"float": [low, high], "log": 0 < WIDE * low <= high}
    return {"choice": sorted(distinct) if all(isinstance(value, int) for value in distinct) else distinct}
