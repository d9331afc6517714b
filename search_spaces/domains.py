"""Dimensions, conditions between them, and the spaces they form.

A dimension's name is the path of the configuration field it sets. Bounds are inclusive. A dimension with a condition is
drawn only where its parents have one of the values named.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, ClassVar, NamedTuple

from trainables.errors import ConfigError
from trainables.paths import flatten, known_paths, parse_config, suggest, unflatten

__all__ = ["Choice", "Domain", "Float", "Int", "Row", "Space", "assemble", "defaults_of", "one_of"]

Assignment = dict[str, Any]


# --- values -----------------------------------------------------------------------------------------------------------


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, default=str)


def _number(value: Any, role: str = "bound") -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{role} {_shown(value)} is not a finite number")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ConfigError(f"bound {_shown(value)} is not a whole number; use float")
    return int(number)


def _read(word: Any) -> Any:
    """A number that YAML left a string (`1e-4`) as a number; anything else as it is."""
    for convert in (int, float):
        try:
            number = convert(word) if isinstance(word, str) else math.nan
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return word


def _option(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(
            f"option {_shown(value)} is neither a number nor a word "
            "(YAML reads yes, no, on, off as booleans; the word for off is `none`)"
        )
    if isinstance(value, float):
        _number(value, "option")
    return _read(value)


def _listed(values: Any) -> tuple[Any, ...]:
    return tuple(map(_option, values if isinstance(values, list | tuple) else [values]))


def _words(values: Iterable[Any]) -> str:
    return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


# --- domains ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Domain(ABC):
    """What one dimension may be; `when` maps parents to the values under which it is drawn."""

    kind: ClassVar[str]
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        _set(self, when={parent: _listed(values) for parent, values in self.when.items()})

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether every parent has one of the values named."""
        return all(parent in values and values[parent] in allowed for parent, allowed in self.when.items())

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn."""

    @abstractmethod
    def middle(self) -> Any:
        """The value to begin with where the configuration's default is outside."""

    @abstractmethod
    def levels(self) -> tuple[Any, ...]:
        """The extremes: both bounds, or every option."""

    @abstractmethod
    def to_mapping(self) -> dict[str, Any]:
        """The YAML form; inverse of parsing."""

    def condition(self) -> str:
        """`objective.kind = elbo, beta.kind = linear`, or nothing."""
        return ", ".join(f"{parent} = {_words(allowed)}" for parent, allowed in self.when.items())

    def _when_mapping(self) -> dict[str, Any]:
        return {"when": {parent: list(allowed) for parent, allowed in self.when.items()}} if self.when else {}


def _set(instance: Any, **values: Any) -> None:
    """Normalise a frozen instance while it is made."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


@dataclass(frozen=True)
class _Range(_Domain):
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.log, bool):
            raise ConfigError(f"log: {_shown(self.log)} is not allowed; allowed: true or false")
        shown = f"{self.kind} [{self.low:g}, {self.high:g}]"
        if self.low >= self.high:
            raise ConfigError(f"{shown}: the low bound must be below the high bound; fix one value by writing it alone")
        if self.log and self.low <= 0:
            raise ConfigError(f"{shown}: a log scale needs a low bound above 0")

    def contains(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def middle(self) -> float:
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2

    def levels(self) -> tuple[float, ...]:
        return self.low, self.high

    def to_mapping(self) -> dict[str, Any]:
        return {self.kind: [self.low, self.high]} | ({"log": True} if self.log else {}) | self._when_mapping()

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class Float(_Range):
    """A real number in [low, high], uniform or uniform in its logarithm.

    relative_to: `kappa_max` where the bounds are multiples of the RMS error of the mean image, known with the data.
    """

    kind: ClassVar[str] = "float"
    relative_to: str | None = None

    def __post_init__(self) -> None:
        _set(self, low=_number(self.low), high=_number(self.high))
        super().__post_init__()
        if self.relative_to not in (None, "kappa_max"):
            raise ConfigError(f"relative_to: {_shown(self.relative_to)} is unknown; known: kappa_max")

    def scaled(self, kappa_max: float) -> Float:
        """Its bounds in absolute terms."""
        if self.relative_to is None:
            return self
        return replace(self, low=self.low * kappa_max, high=self.high * kappa_max, relative_to=None)

    def to_mapping(self) -> dict[str, Any]:
        return super().to_mapping() | ({"relative_to": self.relative_to} if self.relative_to else {})

    def __str__(self) -> str:
        return super().__str__() + (f" × {self.relative_to}" if self.relative_to else "")


@dataclass(frozen=True)
class Int(_Range):
    """A whole number in [low, high], both included."""

    kind: ClassVar[str] = "int"
    low: int
    high: int

    def __post_init__(self) -> None:
        _set(self, low=_whole(self.low), high=_whole(self.high))
        super().__post_init__()

    def contains(self, value: Any) -> bool:
        return super().contains(value) and float(value).is_integer()

    def middle(self) -> int:
        return round(super().middle())


@dataclass(frozen=True)
class Choice(_Domain):
    """One of some numbers or words."""

    kind: ClassVar[str] = "choice"
    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.options, list | tuple) or not self.options:
            raise ConfigError(f"choice takes a list of options, not {_shown(self.options)}")
        _set(self, options=_listed(self.options))
        if len(set(self.options)) < len(self.options):
            raise ConfigError(f"choice [{', '.join(map(str, self.options))}] names an option twice")

    def contains(self, value: Any) -> bool:
        return value in self.options

    def middle(self) -> Any:
        return self.options[0]

    def levels(self) -> tuple[Any, ...]:
        return self.options

    def to_mapping(self) -> dict[str, Any]:
        return {self.kind: list(self.options)} | self._when_mapping()

    def __str__(self) -> str:
        return _words(self.options)


Domain = Float | Int | Choice

_KEYS = {"float": ("log", "when", "relative_to"), "int": ("log", "when"), "choice": ("when",)}


def _parse_domain(entry: Mapping[str, Any]) -> Domain:
    kinds = [kind for kind in _KEYS if kind in entry]
    if len(kinds) != 1:
        raise ConfigError(f"{_shown(dict(entry))} must have exactly one of float, int, choice")
    kind, options = kinds[0], {key: value for key, value in entry.items() if key not in kinds}
    for key in options:
        if key not in _KEYS[kind]:
            raise ConfigError(f"unknown key `{key}`{suggest(key, _KEYS[kind])}")
    if not isinstance(options.get("when", {}), Mapping):
        raise ConfigError(f"when: {_shown(options['when'])} is not allowed; write {{PATH: VALUE}}")
    if kind == "choice":
        return Choice(entry[kind], **options)
    if not isinstance(entry[kind], list | tuple) or len(entry[kind]) != 2:
        raise ConfigError(f"{kind} takes [low, high], not {_shown(entry[kind])}")
    return (Float if kind == "float" else Int)(*entry[kind], **options)


# --- spaces -----------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of a printed space."""

    path: str
    varies: str
    condition: str


@dataclass(frozen=True)
class Space:
    """Fixed values and dimensions by configuration path; dimensions stand after their parents.

    Raises ConfigError for unknown paths, and for conditions on unknown parents, in a circle, or that never hold.
    """

    name: str
    fixed: Mapping[str, Any]
    dimensions: Mapping[str, Domain]

    def __post_init__(self) -> None:
        for path in (*self.fixed, *self.dimensions):
            _check_known(path, f"space {self.name}: ")
        for path, domain in self.dimensions.items():
            for parent, allowed in domain.when.items():
                self._check_condition(path, parent, allowed)
        _set(self, dimensions={path: self.dimensions[path] for path in self._parents_first()})

    def __add__(self, other: Space) -> Space:
        """Both; the later replaces the earlier path by path."""
        return self.extended(other.name, other.fixed, other.dimensions)

    def extended(self, name: str, fixed: Mapping[str, Any], dimensions: Mapping[str, Domain]) -> Space:
        """With these entries added or replaced; what they make unreachable here leaves.

        What replaces a dimension that has a condition, and states none itself, keeps the condition.
        """
        held = {path: _constant(path, value) for path, value in fixed.items() if self._when(path)}
        replacing = {**dimensions, **held}
        now_fixed = {path: value for path, value in self.fixed.items() if path not in dimensions} | {
            path: value for path, value in fixed.items() if path not in held
        }
        inherited = {path: old for path, old in self.dimensions.items() if path not in {**now_fixed, **replacing}}
        added = {path: new if new.when else replace(new, when=self._when(path)) for path, new in replacing.items()}
        dimensions = {**_reachable(inherited, now_fixed, added), **added}
        return Space("+".join(filter(None, (self.name, name))), now_fixed, dimensions)

    @classmethod
    def parse(cls, mapping: Mapping[str, Any], onto: Space | None = None) -> Space:
        """A space from its YAML form: `{PATH: DOMAIN}` to vary and `{PATH: VALUE}` to fix.

        DOMAIN: `{float: [low, high], log: true, when: {PATH: VALUE}}`, `{int: [low, high]}` or `{choice: [VALUE, …]}`.
        onto: the space that these entries are added to, which may hold the parents of their conditions.
        """
        domains = {path: _parse_at(path, entry) for path, entry in mapping.items() if isinstance(entry, Mapping)}
        fixed = {path: value for path, value in mapping.items() if path not in domains}
        return (onto or cls("", {}, {})).extended("custom", fixed, domains)

    def to_mapping(self) -> dict[str, Any]:
        """The YAML form; inverse of `parse` but for the name."""
        return {**self.fixed, **{path: domain.to_mapping() for path, domain in self.dimensions.items()}}

    def walk(self, choose: Callable[[str, Domain, Assignment], Any]) -> Assignment:
        """An assignment, parents first: `choose(path, domain, chosen so far)` of each dimension that is drawn."""
        chosen: Assignment = {}
        for path, domain in self.dimensions.items():
            if domain.holds({**self.fixed, **chosen}):
                chosen[path] = choose(path, domain, chosen)
        return chosen

    def active(self, assignment: Mapping[str, Any]) -> list[str]:
        """The dimensions that are drawn where the choices are those of the assignment, parents first."""
        return list(self.walk(lambda path, domain, chosen: assignment.get(path)))

    def branches(self) -> list[Assignment]:
        """Every combination of the choices that decide a kind or a condition."""
        parents = {parent for domain in self.dimensions.values() for parent in domain.when}
        found: list[Assignment] = [{}]
        for path, domain in self.dimensions.items():
            if isinstance(domain, Choice) and (path in parents or path.endswith(".kind")):
                found = [{**branch, **step} for branch in found for step in self._steps(path, domain, branch)]
        return found

    def scaled(self, kappa_max: float) -> Space:
        """Bounds that are multiples of κ_max in absolute terms."""
        return replace(
            self,
            dimensions={
                path: domain.scaled(kappa_max) if isinstance(domain, Float) else domain
                for path, domain in self.dimensions.items()
            },
        )

    def default(self, base: Mapping[str, Any]) -> Assignment:
        """The default configuration as an assignment: of each dimension the value that the user's part, or else the
        configuration by default, has where it lies inside, and the middle where not."""
        explicit = flatten(base)

        def choose(path: str, domain: Domain, chosen: Assignment) -> Any:
            value = _read((defaults_of({**explicit, **self.fixed, **chosen}) | explicit).get(path))
            return value if domain.contains(value) else domain.middle()

        return self.walk(choose)

    def describe(self) -> list[Row]:
        """What is fixed, what varies and under which condition, for printing."""
        fixed = [Row(path, f"fixed at {_words([value])}", "") for path, value in self.fixed.items()]
        return fixed + [Row(path, str(domain), domain.condition()) for path, domain in self.dimensions.items()]

    def decides(self, path: str) -> bool:
        """Whether the space chooses the kind of the path's section."""
        section = path.partition(".")[0]
        deciding = {f"{section}.kind"} | ({"objective.kind"} if section == "beta" else set())
        return bool(deciding & {*self.fixed, *self.dimensions})

    def _when(self, path: str) -> Mapping[str, Any]:
        return self.dimensions[path].when if path in self.dimensions else {}

    def _steps(self, path: str, domain: Choice, branch: Assignment) -> list[Assignment]:
        return [{path: option} for option in domain.options] if domain.holds({**self.fixed, **branch}) else [{}]

    def _check_condition(self, path: str, parent: str, allowed: Sequence[Any]) -> None:
        start = f"space {self.name}: {path}: when names {parent}"
        if parent not in self.fixed and parent not in self.dimensions:
            raise ConfigError(f"{start}, which the space neither fixes nor varies; add it to the space")
        possible = _possible(parent, self.fixed, self.dimensions)
        if not possible:
            raise ConfigError(f"{start}, which is a range; a condition needs a choice or a fixed value")
        for value in allowed:
            if value not in possible:
                raise ConfigError(f"{start} = {_words([value])}, which is never so; {parent} is {_words(possible)}")

    def _parents_first(self) -> list[str]:
        parents = {path: [p for p in d.when if p in self.dimensions] for path, d in self.dimensions.items()}
        try:
            return list(TopologicalSorter(parents).static_order())
        except CycleError as error:
            raise ConfigError(f"space {self.name}: conditions form a circle: {' → '.join(error.args[1])}") from None


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"space: {path}: {error}") from None


def _constant(path: str, value: Any) -> Choice:
    with _naming(path):
        return Choice((value,))


def _parse_at(path: str, entry: Mapping[str, Any]) -> Domain:
    _check_known(path, "space: ")
    with _naming(path):
        return _parse_domain(entry)


def _possible(path: str, fixed: Mapping[str, Any], dimensions: Mapping[str, Domain]) -> tuple[Any, ...]:
    """The values a parent can have; none where it is absent or a range."""
    if path in fixed:
        return (fixed[path],)
    domain = dimensions.get(path)
    return domain.options if isinstance(domain, Choice) else ()


def _reachable(
    inherited: Mapping[str, Domain], fixed: Mapping[str, Any], added: Mapping[str, Domain]
) -> dict[str, Domain]:
    """The inherited dimensions whose conditions can still hold, conditions narrowed to what is still possible."""
    kept: dict[str, Domain] = {}
    for path, domain in inherited.items():
        when = {
            parent: tuple(value for value in allowed if value in _possible(parent, fixed, {**kept, **added}))
            for parent, allowed in domain.when.items()
        }
        if all(when.values()):
            kept[path] = replace(domain, when=when)
    return kept


def one_of(name: str, selector: str, *branches: Space) -> Space:
    """A choice between spaces that fix the selector's path at different values; each dimension is drawn in its own.

    Raises ValueError where the branches disagree on anything but the selector.
    """
    options = {branch.fixed[selector]: branch for branch in branches}
    others = [{path: value for path, value in branch.fixed.items() if path != selector} for branch in branches]
    if any(other != others[0] for other in others):
        raise ValueError(f"the branches of {selector} fix other paths differently")
    dimensions: dict[str, Domain] = {selector: Choice(tuple(options))}
    for path in dict.fromkeys(path for branch in branches for path in branch.dimensions):
        homes = {value: branch.dimensions[path] for value, branch in options.items() if path in branch.dimensions}
        domain, *rest = homes.values()
        if any(other != domain for other in rest):
            raise ValueError(f"{path} differs between the branches of {selector}")
        condition = {selector: tuple(homes)} if len(homes) < len(options) else {}
        dimensions[path] = replace(domain, when={**condition, **domain.when})
    return Space(name, others[0], dimensions)


# --- configurations ---------------------------------------------------------------------------------------------------


def assemble(base: Mapping[str, Any], space: Space, assignment: Mapping[str, Any]) -> dict[str, Any]:
    """The user's fixed part, overlaid by the space's, overlaid by an assignment; nested, ready for `parse_config`.

    Where the space chooses a kind, what the chosen kind does not have leaves the fixed parts. Raises ConfigError for
    paths that no kind has.
    """
    fixed = {**flatten(base), **space.fixed}
    for path in fixed:
        _check_known(path)
    existing = defaults_of({**fixed, **assignment})
    kept = {path: value for path, value in fixed.items() if path in existing or not space.decides(path)}
    return unflatten({**kept, **assignment})


def defaults_of(flat: Mapping[str, Any]) -> dict[str, Any]:
    """By path, the defaults of a configuration of these kinds and this data set (GECO has no `beta`)."""
    kinds = {path: value for path, value in flat.items() if path.endswith(".kind") or path == "data.name"}
    beta = kinds.pop("beta.kind", None)
    config = parse_config(unflatten(kinds))
    if beta is not None and config.beta is not None:
        config = parse_config(unflatten({**kinds, "beta.kind": beta}))
    return flatten(config.model_dump())


def _check_known(path: str, start: str = "") -> None:
    if path not in known_paths():
        raise ConfigError(f"{start}unknown key `{path}`{suggest(str(path), known_paths())}")
