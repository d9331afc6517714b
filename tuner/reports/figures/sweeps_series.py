"""How each of several sweeps looks, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.reports.figures.style import COLOURS, LINES, MARKERS

__all__ = ["Look", "looks_of"]


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: object


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """By name, in order."""
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, name in enumerate(names)
    }
