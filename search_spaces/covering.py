"""Few draws of a space in which every option occurs, and every two extremes meet under each option that decides them.

A space of n choices has exponentially many branches; what makes a draw invalid is one value, or two that do not go
together, under a kind. Draws that hold each such combination at least once are about as many as the options of the two
largest choices multiplied (pairwise testing; Cohen et al. 1997, The AETG system).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from search_spaces.domains import Choice, Domain, Float, Int
from search_spaces.values import among, key_of, same
from trainables.config.paths import KWARGS, field_of
from trainables.grouping import grouped

if TYPE_CHECKING:
    from search_spaces.space import Space

MOST_ENUMERATED = 64
GOLDEN = (math.sqrt(5) - 1) / 2

DIVIDING = ("model.latent_dim", "objective.groups", "objective.free_bits")
"""Fields of which one must divide the other, or be as long: extremes alone say nothing of those between."""

Assignment = dict[str, Any]


def covering_draws(space: Space) -> list[Assignment]:
    """Few draws of a space that cover it, beginning with every dimension's first value.

    They hold every value of a choice and of a range of at most 64 whole numbers; of longer ranges both ends, their
    neighbours and the middle; of real numbers both ends and a point between. Every two extremes meet, under each option
    of the choices that switch one of them on, and under each kind of their section. Options that switch on the same
    dimensions count as one.

    Parameters
    ----------
    space
        A space with dimensions.

    Returns
    -------
    list of dict
        Assignments by path.
    """
    return list(_Cover(space).draws())


class _Cover:
    def __init__(self, space: Space) -> None:
        self._space, self._dimensions = space, space.dimensions
        self._random = random.Random(0)
        self._values = {path: _values(domain) for path, domain in self._dimensions.items()}
        self._deciders = {path: self._representatives(path) for path in self._deciding()}
        self._extremes = {path: self._meeting(path) for path in self._dimensions}

    def draws(self) -> Iterator[Assignment]:
        yield self._space.walk(lambda path, domain, chosen: domain.levels()[0])
        for wanted, pool in ((self._alone(), self._values), (self._together(), self._extremes)):
            waiting = {_items(combination): combination for combination in wanted}
            while waiting:
                combination = waiting.pop(next(iter(waiting)))
                placed = self._placed(combination)
                if placed is None:
                    continue
                draw = self._drawn(placed, pool)
                held = _items(draw)
                waiting = {items: left for items, left in waiting.items() if not items <= held}
                yield draw

    def _alone(self) -> Iterator[Assignment]:
        for path, values in self._values.items():
            yield from ({path: value} for value in values)

    def _together(self) -> Iterator[Assignment]:
        for one, other in combinations(self._extremes, 2):
            pairs = list(product(self._extremes[one], self._extremes[other]))
            if not self._exclude_each_other(one, other):
                yield from ({one: first, other: second} for first, second in pairs)
                for path, options in self._deciders_of(one, other).items():
                    for option, (first, second) in product(options, pairs):
                        yield {path: option, one: first, other: second}

    def _exclude_each_other(self, one: str, other: str) -> bool:
        """Whether a parent of both has no option for both."""
        mine, yours = self._dimensions[one].when, self._dimensions[other].when
        return any(not any(among(option, yours[path]) for option in mine[path]) for path in mine if path in yours)

    def _deciders_of(self, *paths: str) -> dict[str, list[Any]]:
        """What else decides these dimensions, and its options under which they are drawn where that leaves several."""
        found = {}
        for decider, options in self._deciders.items():
            if decider not in paths and any(self._decides(decider, path) for path in paths):
                conditions = [self._dimensions[path].when.get(decider, options) for path in paths]
                found[decider] = [option for option in options if all(among(option, c) for c in conditions)]
        return {path: options for path, options in found.items() if len(options) > 1}

    def _drawn(self, placed: Assignment, pool: Mapping[str, Sequence[Any]]) -> Assignment:
        """A draw with these values, the others at random."""
        return self._space.walk(
            lambda path, domain, chosen: placed[path] if path in placed else self._random.choice(pool[path])
        )

    def _placed(self, wanted: Assignment) -> Assignment | None:
        """The values with such of their parents that they are drawn; None where they exclude each other."""
        for path in wanted:
            for parent, allowed in self._dimensions[path].when.items():
                if parent in self._space.fixed:
                    if not among(self._space.fixed[parent], allowed):
                        return None
                elif parent not in wanted:
                    tried = (self._placed({**wanted, parent: option}) for option in allowed)
                    return next((found for found in tried if found is not None), None)
                elif not among(wanted[parent], allowed):
                    return None
        return wanted

    # --- what must meet ---

    def _deciding(self) -> list[str]:
        """The choices that decide a kind or a condition."""
        parents = {parent for domain in self._dimensions.values() for parent in domain.when}
        return [path for path in self._dimensions if path in parents or _is_kind(path)]

    def _representatives(self, path: str) -> tuple[Any, ...]:
        """An option of each set of those that switch on the same; every kind is its own."""
        options = self._dimensions[path].levels()
        if _is_kind(path):
            return options
        switched = {self._space.switched_on(path, option): option for option in reversed(options)}
        return tuple(reversed(switched.values()))

    def _decides(self, path: str, other: str) -> bool:
        section = other.partition(".")[0]
        kinds = (f"{section}.kind", *(["objective.kind"] if section == "beta" else []))
        return path in self._dimensions[other].when or path in kinds

    def _meeting(self, path: str) -> tuple[Any, ...]:
        """The values of a dimension that meet those of others."""
        domain, deciding = self._dimensions[path], self._deciders.get(path, ())
        if path in DIVIDING or _is_kind(path):
            return self._values[path]
        if field_of(path) == KWARGS:  # nothing of ours reads two arguments of a user's model
            return deciding or self._values[path][:1]
        extremes = _extreme_options(domain.options) if isinstance(domain, Choice) else domain.levels()
        return (*deciding, *(value for value in extremes if not among(value, deciding)))


def _is_kind(path: str) -> bool:
    return field_of(path) == path and path.endswith(".kind")


def _items(assignment: Mapping[str, Any]) -> frozenset[Any]:
    return frozenset((path, key_of(value)) for path, value in assignment.items())


def _values(domain: Domain) -> tuple[Any, ...]:
    match domain:
        case Float(low=low, high=high):
            return low, high, low + (1 - GOLDEN) * (high - low)
        case Int(low=low, high=high) if high - low >= MOST_ENUMERATED:
            middle = (low + high) // 2
            return low, high, low + 1, high - 1, middle, middle + 1
        case Int(low=low, high=high):
            return low, high, *range(low + 1, high)
        case Choice(options=options):
            return options


def _extreme_options(options: Sequence[Any]) -> list[Any]:
    """The least and the greatest of the numbers, of the numbers of steps and of the lists by length; every word."""
    kinds = grouped((_measure(option)[0], option) for option in options)
    found = [extreme for kind in kinds.values() for extreme in (min(kind, key=_measure), max(kind, key=_measure))]
    return [option for option in options if _measure(option)[0] == "word" or any(same(option, x) for x in found)]


def _measure(option: Any) -> tuple[str, float]:
    if isinstance(option, list):
        return "list", len(option)
    if isinstance(option, int | float) and not isinstance(option, bool):
        return "number", option
    steps = str(option).split()
    return ("steps", int(steps[0])) if len(steps) == 2 and steps[0].isdecimal() else ("word", 0.0)
