"""What the figures of a comparison share: colours by method, and its runs by method and level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trainables.grouping import grouped
from tuner.comparison.design import PLAIN, Trained
from tuner.comparison.kinds import METHODS
from tuner.reports.figures.style import COLOURS, LINES, MARKERS

SHOWN = (*METHODS, PLAIN)


def colour_of(method: str) -> str:
    """The same in every figure."""
    return COLOURS[SHOWN.index(method)]


def marker_of(method: str) -> str:
    return MARKERS[SHOWN.index(method)]


def look_of(method: str) -> dict[str, Any]:
    """A line's colour, and dashes by which it is seen beneath another."""
    at = SHOWN.index(method)
    return {"color": COLOURS[at], "linestyle": LINES[at], "linewidth": 1.9 if at == 0 else 1.5}


def by_method(trained: Iterable[Trained]) -> dict[str, list[Trained]]:
    """Those that trained to their end."""
    return grouped((each.run.method, each) for each in trained if each.completed)


def middle_level(trained: Sequence[Trained]) -> list[Trained]:
    """The path's runs at the middle one of its levels."""
    levels = sorted({each.run.kappa for each in trained if each.run.kappa is not None})
    return [each for each in trained if levels and each.run.kappa == levels[len(levels) // 2]]
