"""The points of a grid over a space, branch by branch, so that conditions neither repeat nor lose any."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from search_spaces.domains import Choice, Domain, Float, Int
from search_spaces.space import Space
from search_spaces.values import among, same
from trainables.grouping import grouped

Assignment = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """Every combination of the branches of a space and, in each, of the values of the dimensions that it draws.

    Parameters
    ----------
    values
        The values of each path, in the space's order.
    default
        An assignment that is a point too, on the grid or beside it.

    Examples
    --------
    >>> warmup = Float(0, 0.5, when={"beta.kind": "linear"})
    >>> space = Space("mine", {}, {"beta.kind": Choice(("constant", "linear")), "beta.warmup": warmup})
    >>> grid = Grid(space, {"beta.kind": ["constant", "linear"], "beta.warmup": [0.1, 0.5]}, {"beta.kind": "constant"})
    >>> grid.n_points
    3
    >>> grid.assignments(2, seed=0)
    [{'beta.kind': 'constant'}, {'beta.kind': 'linear', 'beta.warmup': 0.1}]
    """

    space: Space
    values: Mapping[str, Sequence[Any]]
    default: Assignment

    @property
    def n_points(self) -> int:
        """Σ_branches Π_dimensions of the numbers of values, and one for a default beside the grid."""
        return self._n_on_grid + (not self._has_default)

    def assignments(self, n: int, seed: int) -> list[Assignment]:
        """The default, then other points, shuffled by the seed; each once.

        A smaller n gives the first of a larger one, so that a sweep can be extended.

        Parameters
        ----------
        n
            How many; all points where there are fewer.
        seed
            Of the order.

        Returns
        -------
        list of dict
            Assignments by path.
        """
        return list(islice(self.points(seed), n))

    def points(self, seed: int, start: int = 0) -> Iterator[Assignment]:
        """All points one by one, in the order of `assignments`.

        Parameters
        ----------
        seed
            Of the order.
        start
            The number of the first, from 0.

        Returns
        -------
        Iterator of dict
            Assignments by path.
        """
        if start == 0:
            yield self.default
        yield from map(self._point, islice(self._others(seed), max(start - 1, 0), None))

    def _others(self, seed: int) -> Iterator[int]:
        """The indices of the points other than the default, shuffled by the seed."""
        draw, drawn = random.Random(f"grid/{seed}"), set[int]()
        default = self._index(self.default) if self._has_default else None
        while len(drawn) < self._n_on_grid:
            index = draw.randrange(self._n_on_grid)
            if index not in drawn and index != default:
                yield index
            drawn.add(index)

    @cached_property
    def _n_on_grid(self) -> int:
        return self._count({})

    @cached_property
    def _has_default(self) -> bool:
        return all(_holds(self.values[path], value) for path, value in self.default.items())

    # --- points by index: branch after branch, in each the digits of its values in a mixed base -----------------------

    def _point(self, index: int) -> Assignment:
        """The point of this index."""
        chosen: Assignment = {}
        for path in self._deciding:
            if self.space.dimensions[path].holds({**self.space.fixed, **chosen}):
                for option in self.values[path]:
                    below = self._count({**chosen, path: option})
                    if index < below:
                        chosen[path] = option
                        break
                    index -= below
        return dict(_digits(self._branch(chosen), index))

    def _index(self, point: Assignment) -> int:
        """The inverse of `_point`."""
        index, chosen = 0, dict[str, Any]()
        for path in self._deciding:
            if path in point:
                options, place = self.values[path], _place(self.values[path], point[path])
                index += sum(self._count({**chosen, path: option}) for option in options[:place])
                chosen[path] = options[place]
        base = 1
        for path, values in self._branch(chosen).items():
            index += base * _place(values, point[path])
            base *= len(values)
        return index

    def _branch(self, chosen: Assignment) -> dict[str, Sequence[Any]]:
        """The values by path where the deciding choices are these."""
        return {path: (chosen[path],) if path in chosen else self.values[path] for path in self.space.active(chosen)}

    @cached_property
    def _deciding(self) -> list[str]:
        """The choices that decide a kind or a condition: their options part the branches."""
        parents = {parent for domain in self.space.dimensions.values() for parent in domain.when}
        choices = [path for path, domain in self.space.dimensions.items() if isinstance(domain, Choice)]
        return [path for path in choices if path in parents or path.endswith(".kind")]

    def _count(self, chosen: Assignment) -> int:
        """The points in which these choices have these options, by a walk that knows of the dimensions behind it only
        what those before it depend on: each condition's subtree is counted by itself."""
        counts: dict[tuple[tuple[str, int], ...], int] = {(): 1}
        for path, kept in self._order:
            after: dict[tuple[tuple[str, int], ...], int] = {}
            for state, count in counts.items():
                for place, n in self._ways(path, dict(state), chosen):
                    held = {**dict(state), path: place}
                    key = tuple(sorted((parent, at) for parent, at in held.items() if parent in kept))
                    after[key] = after.get(key, 0) + count * n
            counts = after
        return sum(counts.values())

    def _ways(self, path: str, parents: Mapping[str, int], chosen: Assignment) -> list[tuple[int, int]]:
        """The number of a group of options that switch on the same (−1: not drawn), and how many these are."""
        known = {parent: self._groups[parent][at][0] for parent, at in parents.items() if at >= 0}
        if not self.space.dimensions[path].holds({**self.space.fixed, **known}):
            return [(-1, 1)]
        if path in chosen:
            places = (place for place, group in enumerate(self._groups[path]) if among(chosen[path], group))
            return [(place, 1) for place in places]
        return [(place, len(group)) for place, group in enumerate(self._groups[path])]

    @cached_property
    def _groups(self) -> dict[str, list[Sequence[Any]]]:
        """Of each dimension its values, those together that switch on the same."""
        return {path: self._grouped(path) if path in self._deciding else [self.values[path]] for path in self.values}

    def _grouped(self, path: str) -> list[Sequence[Any]]:
        return list(grouped((self.space.switched_on(path, option), option) for option in self.values[path]).values())

    @cached_property
    def _order(self) -> list[tuple[str, frozenset[str]]]:
        """The dimensions, each child as soon as its parents are there, with the parents whose children are not all
        there yet."""
        conditions = {path: set(domain.when) - {*self.space.fixed} for path, domain in self.space.dimensions.items()}
        order: list[str] = []

        def place(path: str) -> None:
            order.append(path)
            for child, parents in conditions.items():
                if path in parents and child not in order and parents <= {*order}:
                    place(child)

        for path, parents in conditions.items():
            if not parents:
                place(path)
        left = [{parent for child in order[place + 1 :] for parent in conditions[child]} for place in range(len(order))]
        return [(path, frozenset(needed)) for path, needed in zip(order, left, strict=True)]


def _holds(values: Sequence[Any], value: Any) -> bool:
    return value in values if isinstance(values, range) else among(value, values)


def _place(values: Sequence[Any], value: Any) -> int:
    if isinstance(values, range):
        return values.index(value)
    return next(place for place, other in enumerate(values) if same(other, value))


def _digits(branch: Mapping[str, Sequence[Any]], index: int) -> Iterator[tuple[str, Any]]:
    for path, values in branch.items():
        index, place = divmod(index, len(values))
        yield path, values[place]


def every_point(space: Space, default: Assignment) -> Grid | None:
    """All assignments of a space.

    Parameters
    ----------
    space
        Any space.
    default
        An assignment to begin with.

    Returns
    -------
    Grid or None
        None where a range of real numbers makes them infinitely many.

    Examples
    --------
    >>> every_point(Space("", {}, {"batch_size": Choice((32, 64)), "model.latent_dim": Int(2, 4)}), {}).n_points
    6
    """
    values: dict[str, Sequence[Any]] = {}
    for path, domain in space.dimensions.items():
        if isinstance(domain, Float):
            return None
        values[path] = domain.options if isinstance(domain, Choice) else range(domain.low, domain.high + 1)
    return Grid(space, values, default)


def finest_grid(space: Space, default: Assignment, n_max: int) -> Grid:
    """The finest grid of at most n_max points: all options of a Choice, n levels of every range.

    n is the largest that fits; as many ranges as still fit then have n + 1, in the space's order. With n = 2, the
    bounds, it may have more than n_max points.

    Parameters
    ----------
    space
        With its bounds in numbers.
    default
        An assignment to begin with.
    n_max
        The number of trials.

    Returns
    -------
    Grid
        Its points can be counted and drawn.
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
