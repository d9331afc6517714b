"""What a space can draw: what must be valid before a sweep starts, and the longest warm-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from search_spaces.covering import MOST_ENUMERATED
from search_spaces.domains import Float, Int
from search_spaces.space import Space, assemble, defaults_of
from search_spaces.values import among, same, word
from trainables.config.models import USER_MODEL
from trainables.config.paths import field_of, flatten, variants
from trainables.errors import ConfigError, UserError
from trainables.values import parse_duration, steps_of

CONSTANT = ("epochs", "device", "threads", "metrics.every", "metrics.nll_samples", "objective.constraint")

Assignment = dict[str, Any]
Parse = Callable[[dict[str, Any]], object]


def check(space: Space, base: Mapping[str, Any], parse: Parse) -> None:
    """Refuse a space that can draw an invalid configuration.

    The draws of `Space.covering` are assembled with the user's part and parsed: their number grows with the options of
    two choices, not with the branches.

    Parameters
    ----------
    space
        The space.
    base
        The user's fixed part, nested.
    parse
        Raises UserError for a configuration that is not valid.

    Raises
    ------
    ConfigError
        The message names the dimensions at fault, and a domain that is valid.
    """
    if not space.dimensions:
        raise ConfigError("space: nothing varies; add a dimension or start from a named space with `use: [NAME]`")
    _check_comparable(space)
    defaults, explicit = KindDefaults(), {**flatten(base), **space.fixed}
    refusals, reached = _Refusals(space, base, parse), set[str]()
    for draw in space.covering:
        existing = defaults.of({**explicit, **draw})
        _check_identifiable(space, draw, explicit)
        for path in draw:
            _check_exists(space, path, existing)
        reached |= {*draw, *(path for path in space.fixed if field_of(path) in existing)}
        refusals.check(draw)
    for path in (*space.fixed, *space.dimensions):
        if path not in reached:
            raise ConfigError(
                f"space {space.name}: {path} is never used: no configuration of the space has it; remove it"
            )


def is_constant(path: str) -> bool:
    """Whether trials that differ in this path could not be compared.

    Parameters
    ----------
    path
        As `data.name`.

    Returns
    -------
    bool
        True for the data and for the budget.

    Examples
    --------
    >>> is_constant("data.n_train"), is_constant("lr.base")
    (True, False)
    """
    return path.startswith("data.") or path in CONSTANT


def _check_comparable(space: Space) -> None:
    """Refuse what would make the trials of a sweep incomparable."""
    for path in space.dimensions:
        if is_constant(path):
            raise ConfigError(f"space {space.name}: {path} must be the same for all trials; set it in config")


def _check_identifiable(space: Space, active: Collection[str], fixed: Mapping[str, Any]) -> None:
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


class _Refusals:
    """What a space can draw and may not."""

    def __init__(self, space: Space, base: Mapping[str, Any], parse: Parse) -> None:
        self._space, self._base, self._parse = space, base, parse

    def check(self, draw: Assignment) -> None:
        """Raise ConfigError where a draw is refused, with the dimensions that make it so."""
        if self._message(draw) is None:
            return
        draw = self._smallest(draw)
        message = self._message(draw)
        culprits = self._culprits(draw, message)
        fix = self._fix(draw, culprits[0]) if len(culprits) == 1 else None
        named = ", ".join(f"{path} = {word(draw[path])}" for path in culprits)
        start = f"space {self._space.name} can draw {named}: " if culprits else ""
        raise ConfigError(f"{start}{message}" + (f"; {fix}" if fix else ""))

    def _message(self, draw: Assignment) -> str | None:
        try:
            self._parse(assemble(self._base, self._space, draw))
        except UserError as error:
            return str(error)
        return None

    def _with(self, draw: Assignment, path: str, value: Any) -> Assignment:
        """The draw with another value of one dimension, and the first of those that this switches on."""
        values = {**draw, path: value}
        return self._space.walk(lambda at, domain, chosen: values.get(at, domain.levels()[0]))

    def _others(self, draw: Assignment, path: str) -> Iterator[Assignment]:
        levels = self._space.dimensions[path].levels()
        return (self._with(draw, path, value) for value in levels if not same(value, draw[path]))

    def _smallest(self, draw: Assignment) -> Assignment:
        """A draw that is refused still, with as many dimensions as can be at their first value, or else at a bound."""
        for path in list(draw):
            levels = self._space.dimensions[path].levels()
            tried = (self._with(draw, path, level) for level in self._simpler(draw, path, levels))
            draw = next((other for other in tried if self._message(other) is not None), draw)
        return draw

    @staticmethod
    def _simpler(draw: Assignment, path: str, levels: tuple[Any, ...]) -> tuple[Any, ...]:
        if path not in draw:
            return ()
        return levels[:1] if among(draw[path], levels) else levels

    def _culprits(self, draw: Assignment, message: str | None) -> list[str]:
        """The dimensions of which another value changes the message, without the parents of one of them."""
        found = [path for path in draw if any(self._message(other) != message for other in self._others(draw, path))]
        parents = {parent for path in found for parent in self._ancestors(path)}
        return [path for path in found if path not in parents]

    def _ancestors(self, path: str) -> set[str]:
        parents = [parent for parent in self._space.dimensions[path].when if parent in self._space.dimensions]
        return {*parents}.union(*map(self._ancestors, parents))

    def _fix(self, draw: Assignment, path: str) -> str | None:
        """A domain in place of a range of which some values are taken and some are not."""
        domain = self._space.dimensions[path]
        if isinstance(domain, Float) and domain.low.is_integer() and domain.high.is_integer():
            ends = [self._message(self._with(draw, path, end)) for end in domain.levels()]
            return f"write {path}: {{int: [{domain.low:g}, {domain.high:g}]}}" if ends == [None, None] else None
        if not isinstance(domain, Int) or domain.high - domain.low >= MOST_ENUMERATED:
            return None
        values = range(domain.low, domain.high + 1)
        taken = [value for value in values if self._message(self._with(draw, path, value)) is None]
        return f"write {path}: {{choice: {taken}}}" if taken else None


class KindDefaults:
    """The defaults of a configuration by path, looked up once for each combination of kinds."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults for the kinds and the data set of these values.

        Parameters
        ----------
        flat
            Values by path.

        Returns
        -------
        dict of str to value
            By path.
        """
        kinds = repr([(path, value) for path, value in sorted(flat.items()) if path.endswith((".kind", ".name"))])
        if kinds not in self._known:
            self._known[kinds] = defaults_of(flat)
        return self._known[kinds]


def longest_warmup(space: Space, base: Mapping[str, Any], total_steps: int) -> int:
    """The longest warm-up (β or learning rate), first ramp of a cycle or one-cycle rise that a space can draw.

    Parameters
    ----------
    space
        The space.
    base
        The user's fixed part, nested.
    total_steps
        The budget; where the batch size varies, that of the largest, whose epochs have the fewest steps.

    Returns
    -------
    int
        In steps.
    """
    defaults, fixed = KindDefaults(), flatten(base)
    drawn = ({**fixed, **space.fixed, **draw} for draw in space.covering)
    return max(_ramp_steps(values, defaults.of(values), total_steps) for values in drawn)


def _ramp_steps(values: Mapping[str, Any], existing: Mapping[str, Any], total_steps: int) -> int:
    def steps(path: str) -> int:
        return steps_of(parse_duration(values.get(path, existing[path])), total_steps) if path in existing else 0

    def share(path: str) -> float:
        return float(values.get(path, existing.get(path, 0)))

    ramp, rise = steps("beta.period") * share("beta.ratio"), total_steps * share("lr.pct_start")
    return max(steps("beta.warmup"), round(ramp), steps("lr.warmup"), round(rise))
