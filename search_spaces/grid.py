"""The points of a grid over a space, branch by branch, so that conditions neither repeat nor lose any."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from search_spaces.domains import Choice, Domain, Float, Int, among, same
from search_spaces.space import Space

__all__ = ["Grid", "every_point", "finest_grid"]

Assignment = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """Every combination of the branches of a space and, in each, of the values of the dimensions that it draws.

    values: by path, in the space's order. default: an assignment that is a point too, on the grid or beside it.
    """

    space: Space
    values: Mapping[str, Sequence[Any]]
    default: Assignment

    @property
    def n_points(self) -> int:
        """Σ_branches Π_dimensions of the numbers of values, and one for a default beside the grid."""
        return self._n_on_grid + (not self._has_default)

    def assignments(self, n: int, seed: int) -> list[Assignment]:
        """The default, then n − 1 other points (all there are, if fewer), shuffled by the seed; each once.

        Fewer are the first of more, so that a sweep can be extended.
        """
        draw, drawn = random.Random(f"grid/{seed}"), dict[int, None]()
        while len(drawn) < min(n, self._n_on_grid):
            drawn[draw.randrange(self._n_on_grid)] = None
        others = [point for point in map(self._point, drawn) if not same(point, self.default)]
        return [self.default, *others][:n]

    @cached_property
    def _branches(self) -> list[dict[str, Sequence[Any]]]:
        """Of each branch the values by path, a single one where the branch has chosen."""
        return [
            {path: (branch[path],) if path in branch else self.values[path] for path in self.space.active(branch)}
            for branch in self.space.branches()
        ]

    @property
    def _n_on_grid(self) -> int:
        return sum(map(_size, self._branches))

    @property
    def _has_default(self) -> bool:
        return all(_holds(self.values[path], value) for path, value in self.default.items())

    def _point(self, index: int) -> Assignment:
        """The point of this index, whose digits in the mixed base of its branch are the places of its values."""
        for branch in self._branches:
            if index < _size(branch):
                return dict(_digits(branch, index))
            index -= _size(branch)
        raise IndexError(index)


def _holds(values: Sequence[Any], value: Any) -> bool:
    return value in values if isinstance(values, range) else among(value, values)


def _size(branch: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(map(len, branch.values()))


def _digits(branch: Mapping[str, Sequence[Any]], index: int) -> Iterator[tuple[str, Any]]:
    for path, values in branch.items():
        index, place = divmod(index, len(values))
        yield path, values[place]


def every_point(space: Space, default: Assignment) -> Grid | None:
    """All assignments of a space; None where there is no end of them, as in a range of real numbers."""
    values: dict[str, Sequence[Any]] = {}
    for path, domain in space.dimensions.items():
        if isinstance(domain, Float):
            return None
        values[path] = domain.options if isinstance(domain, Choice) else range(domain.low, domain.high + 1)
    return Grid(space, values, default)


def finest_grid(space: Space, default: Assignment, n_max: int) -> Grid:
    """The finest grid of at most n_max points: all options of a Choice, n levels of every range.

    n is the largest that fits, n + 1 for as many ranges as fit then in the space's order, and 2, the bounds, where more
    than n_max points come of it even so.
    """
    ranges = [path for path, domain in space.dimensions.items() if not isinstance(domain, Choice)]

    def grid(levels: Mapping[str, int]) -> Grid:
        values = {path: _spread(domain, levels.get(path, 0)) for path, domain in space.dimensions.items()}
        return Grid(space, values, default)

    def n_points(n: int) -> int:
        return grid(dict.fromkeys(ranges, n)).n_points

    most = max((_n_values(space.dimensions[path], n_max) for path in ranges), default=2)
    n = 2 + bisect_right(range(3, most + 1), n_max, key=n_points)
    levels = dict.fromkeys(ranges, n)
    for path in ranges:
        finer = {**levels, path: n + 1}
        levels = finer if grid(finer).n_points <= n_max else levels
    return grid(levels)


def _n_values(domain: Domain, n_max: int) -> int:
    """How many values a range has, as far as that matters."""
    return min(n_max, domain.high - domain.low + 1) if isinstance(domain, Int) else n_max


def _spread(domain: Domain, n: int) -> tuple[Any, ...]:
    """n values from bound to bound, evenly in a range's own scale; of whole numbers no more than there are."""
    if isinstance(domain, Choice):
        return domain.options
    n = min(n, _n_values(domain, n))
    low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
    inner = [low + (high - low) * place / (n - 1) for place in range(1, n - 1)]
    values = [domain.low, *(map(math.exp, inner) if domain.log else inner), domain.high]
    return tuple(_whole(values, domain) if isinstance(domain, Int) else values)


def _whole(values: list[float], domain: Int) -> list[int]:
    """The nearest whole numbers that still differ, rising, with room for those that follow."""
    found: list[int] = []
    for place, value in enumerate(values):
        least = found[-1] + 1 if found else domain.low
        found.append(min(max(round(value), least), domain.high - (len(values) - 1 - place)))
    return found
