"""What a space can draw: corners that must be valid before a sweep starts, and the longest warm-up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

from search_spaces.domains import key_of, word
from search_spaces.space import Space, assemble, defaults_of
from trainables.config import USER_MODEL, parse_duration, steps_of
from trainables.errors import ConfigError, UserError
from trainables.paths import field_of, flatten, variants

__all__ = ["check", "longest_warmup"]

CONSTANT = ("epochs", "device", "threads", "metrics.every", "metrics.nll_samples", "objective.constraint")

Parse = Callable[[dict[str, Any]], object]


def check(space: Space, base: Mapping[str, Any], parse: Parse) -> None:
    """Refuse a space that can draw what is not valid.

    In every combination of the choices that decide kinds and conditions, all pairs of extremes are assembled with the
    user's part and parsed, the other dimensions at their first. Raises ConfigError naming the dimensions at fault.
    """
    if not space.dimensions:
        raise ConfigError("space: nothing varies; add a dimension or start from a named space with `use: [NAME]`")
    _check_comparable(space)
    reached: set[str] = set()
    for branch in space.branches():
        existing = defaults_of({**flatten(base), **space.fixed, **branch})
        active = space.active(branch)
        _check_identifiable(space, active, {**flatten(base), **space.fixed})
        for path in active:
            _check_exists(space, path, existing)
        reached |= {*active, *(path for path in space.fixed if field_of(path) in existing)}
        for corner in _corners(branch, _levels(space, branch)):
            _check_corner(space, base, parse, branch, corner)
    for path in (*space.fixed, *space.dimensions):
        if path not in reached:
            raise ConfigError(f"space {space.name}: {path} is never used: nothing the space draws has it; leave it out")


def _check_comparable(space: Space) -> None:
    """Refuse what would make the trials of a sweep incomparable."""
    for path in space.dimensions:
        if path.startswith("data.") or path in CONSTANT:
            raise ConfigError(f"space {space.name}: {path} must be the same for all trials; set it in config")


def _check_identifiable(space: Space, active: Sequence[str], fixed: Mapping[str, Any]) -> None:
    """Refuse β beside a σ that varies too, from trial to trial or within one: what matters is β·σ²."""
    if "beta.end" not in active:
        return
    if "model.sigma" in active:
        raise ConfigError(
            f"space {space.name}: model.sigma and beta.end weigh the same two terms and cannot both vary; fix one"
        )
    if fixed.get("model.learn_sigma"):
        raise ConfigError(
            f"space {space.name}: model.learn_sigma would undo whatever weight beta.end sets; fix beta.end at 1, or "
            "set model.learn_sigma to false"
        )


def _check_exists(space: Space, path: str, existing: Mapping[str, Any]) -> None:
    if field_of(path) in existing:
        return
    section = path.partition(".")[0]
    decider, needed = (section, path) if f"{section}.kind" in existing else ("objective", f"{section}.kind")
    homes = [kind for kind in variants(decider) if needed in defaults_of({f"{decider}.kind": kind})] or [USER_MODEL]
    raise ConfigError(
        f"space {space.name}: {path} does not exist under {decider}.kind {existing[f'{decider}.kind']}, "
        f"only under {' | '.join(homes)}; give it that condition or leave it out"
    )


def _levels(space: Space, branch: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {path: space.dimensions[path].levels() for path in space.active(branch) if path not in branch}


def _corners(branch: Mapping[str, Any], levels: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """All pairs of levels, the other dimensions at their first."""
    first = {**branch, **{path: values[0] for path, values in levels.items()}}
    corners = {key_of(first): first}
    for size in (1, 2):
        for paths in combinations(levels, size):
            for values in product(*(levels[path] for path in paths)):
                corner = {**first, **dict(zip(paths, values, strict=True))}
                corners[key_of(corner)] = corner
    yield from corners.values()


def _check_corner(
    space: Space, base: Mapping[str, Any], parse: Parse, branch: Mapping[str, Any], corner: dict[str, Any]
) -> None:
    message = _refusal(space, base, parse, corner)
    if message is None:
        return
    culprits = [
        f"{path} = {word(corner[path])}"
        for path, values in _levels(space, branch).items()
        if any(_refusal(space, base, parse, {**corner, path: value}) != message for value in values)
    ]
    raise ConfigError(f"space {space.name} can draw {', '.join(culprits)}: {message}" if culprits else message)


def _refusal(space: Space, base: Mapping[str, Any], parse: Parse, assignment: Mapping[str, Any]) -> str | None:
    try:
        parse(assemble(base, space, assignment))
    except UserError as error:
        return str(error)
    return None


def longest_warmup(space: Space, base: Mapping[str, Any], total_steps: int) -> int:
    """The steps of the longest warm-up (β or learning rate) or first ramp of a cycle that the space can draw.

    total_steps: the budget; where the batch size varies that of the largest, at which a number of steps is the most
        epochs.
    """
    return max(_longest(space, base, branch, total_steps) for branch in space.branches())


def _longest(space: Space, base: Mapping[str, Any], branch: Mapping[str, Any], total_steps: int) -> int:
    fixed = flatten(assemble(base, space, branch))
    levels = {path: (value,) for path, value in (defaults_of(fixed) | fixed).items()} | _levels(space, branch)

    def steps(path: str) -> int:
        return max(steps_of(parse_duration(value), total_steps) for value in levels.get(path, (0,)))

    ramp = steps("beta.period") * max(map(float, levels.get("beta.ratio", (0,))))
    return max(steps("beta.warmup"), round(ramp), steps("lr.warmup"))
