"""Trials given one by one in place of a space to draw them from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search_spaces.space import Space, assemble
from trainables.errors import ConfigError

NO_SPACE = Space("points", {}, {})
CONSTANT = ("data.", "epochs", "device", "threads", "metrics.")

Point = Mapping[str, Any]


def check_points(
    points: Sequence[Point], base: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], object]
) -> None:
    """Refuse a point that is no valid configuration, or would make the trials of a sweep incomparable.

    Parameters
    ----------
    points
        Assignments by path.
    base
        The fixed part of every trial, as a tree.
    parse
        Raises ConfigError for a tree that is no valid configuration.

    Raises
    ------
    ConfigError
        It names the trial.
    """
    for number, point in enumerate(points):
        for path in point:
            if path.startswith(CONSTANT):
                raise ConfigError(f"search.points: {path} must be the same for all trials; set it in config")
        try:
            parse(assemble(base, NO_SPACE, point))
        except ConfigError as error:
            raise ConfigError(f"search.points: trial {number}: {error}") from None
