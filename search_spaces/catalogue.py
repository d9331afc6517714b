"""Spaces by name, joined by `+`, or from a user's YAML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import combinations
from operator import add
from typing import Any

from search_spaces.annealing import ANNEALING, CYCLICAL, FREE_BITS, LINEAR
from search_spaces.batch_size import BATCH_SIZE
from search_spaces.domains import Choice
from search_spaces.geco import GECO, GECO_VS_ANNEALING
from search_spaces.learning_rate import CLR, LR, ONE_CYCLE
from search_spaces.optimizer import OPTIMIZER
from search_spaces.space import Space
from trainables.config.paths import suggest
from trainables.errors import ConfigError

_SPACES = {
    space.name: space
    for space in (
        *(LINEAR, CYCLICAL, FREE_BITS, GECO, ANNEALING, GECO_VS_ANNEALING),
        *(LR, CLR, ONE_CYCLE, BATCH_SIZE, OPTIMIZER),
    )
}


def space_names() -> list[str]:
    """The names of all spaces.

    Examples
    --------
    >>> space_names()[:3]
    ['linear', 'cyclical', 'free-bits']
    """
    return list(_SPACES)


def space_named(name: str) -> Space:
    """The space of this name.

    Parameters
    ----------
    name
        One of `space_names()`.

    Returns
    -------
    Space
        As the reference lists it.

    Raises
    ------
    ConfigError
        The name is unknown; the message has the nearest known one.

    Examples
    --------
    >>> list(space_named("linear").dimensions)
    ['beta.end', 'beta.warmup']
    """
    if name not in _SPACES:
        raise ConfigError(f"space: {name!r} is unknown{suggest(name, space_names())}")
    return _SPACES[name]


def parse_space(value: str | Mapping[str, Any]) -> Space:
    """A space from names, or from its YAML form.

    Parameters
    ----------
    value
        Names joined by `+`, or the mapping of `Space.parse` with `use: [NAME, …]` to start from.

    Returns
    -------
    Space
        The named spaces, with the user's entries added or replaced.

    Raises
    ------
    ConfigError
        A name is unknown, or two spaces decide the same path differently.

    Examples
    --------
    >>> list(parse_space("geco+lr").dimensions)
    ['objective.kappa', 'lr.base']
    >>> list(parse_space({"use": ["lr"], "batch_size": {"choice": [32, 64]}}).dimensions)
    ['lr.base', 'batch_size']
    """
    if isinstance(value, str):
        return _joined([name.strip() for name in value.split("+")])
    if not isinstance(value, Mapping):
        raise ConfigError(f"space: {value!r} is not allowed; write names joined by + or {{PATH: …, use: [NAME]}}")
    own = {path: entry for path, entry in value.items() if path != "use"}
    start = _joined(_names(value["use"])) if "use" in value else None
    return start if start and not own else Space.parse(own, onto=start)


def _names(use: Any) -> list[str]:
    names = use.split("+") if isinstance(use, str) else use
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"space: use: {use!r} is not allowed; write [NAME, …]; known: {', '.join(space_names())}")
    return [name.strip() for name in names]


def _joined(names: list[str]) -> Space:
    spaces = [space_named(name) for name in dict.fromkeys(names)]
    for first, second in combinations(spaces, 2):
        _check_compatible(first, second)
    return reduce(add, spaces)


def _check_compatible(first: Space, second: Space) -> None:
    """Named spaces are joined only where neither decides what the other does."""
    mine, yours = ({**space.fixed, **space.dimensions} for space in (first, second))
    for path in mine:
        if path in yours and mine[path] != yours[path]:
            raise ConfigError(
                f"spaces {first.name} and {second.name} exclude each other: both decide {path}; "
                f"use {_choosing(path, first, second)}"
            )


def _choosing(path: str, *spaces: Space) -> str:
    """The space that chooses between what these decide, if there is one."""
    wanted = {option for space in spaces for option in _options(path, space)}
    return next((name for name, space in _SPACES.items() if wanted <= _options(path, space)), "one of them")


def _options(path: str, space: Space) -> set[Any]:
    domain = space.dimensions.get(path)
    return set(domain.options) if isinstance(domain, Choice) else {space.fixed.get(path)}
