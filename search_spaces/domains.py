"""Dimensions: what one configuration field may be, and under which condition it is drawn.

Bounds are inclusive. A dimension with a condition is drawn only where its parents have one of the values named.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from search_spaces.values import (
    among,
    checked_options,
    finite_number,
    key_of,
    read_number,
    read_value,
    same,
    shown,
    whole_number,
    word,
    words,
)
from trainables.config.paths import suggest
from trainables.errors import ConfigError

REFERENCES = ("kappa_max", "kappa_min")
ASSUMED_REACH = 0.5


def _references(named: Any) -> str | tuple[str, str] | None:
    """One reference for both bounds, or one each."""
    if named is None or (isinstance(named, str) and named in REFERENCES):
        return named
    pair = tuple(named) if isinstance(named, list | tuple) else ()
    if len(pair) != 2 or not all(each in REFERENCES for each in pair):
        raise ConfigError(f"relative_to: {shown(named)} is unknown; known: {', '.join(REFERENCES)}, or a pair of them")
    return pair[0] if pair[0] == pair[1] else (pair[0], pair[1])


@dataclass(frozen=True)
class _Domain(ABC):
    """What one dimension may be; `when` maps parents to the values under which it is drawn."""

    kind: ClassVar[str]
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        normalise(self, when={parent: checked_options(values) for parent, values in self.when.items()})

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether every parent has one of the values named in `when`.

        Parameters
        ----------
        values
            Of other paths.

        Returns
        -------
        bool
            True without a condition.
        """
        return all(parent in values and among(values[parent], allowed) for parent, allowed in self.when.items())

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn.

        Parameters
        ----------
        value
            Plain data.

        Returns
        -------
        bool
            False outside the bounds or options.
        """

    def drawn(self, value: Any) -> Any:
        """A value that it contains, as it is drawn."""
        return value

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
        return ", ".join(f"{parent} = {words(allowed)}" for parent, allowed in self.when.items())

    def _when_mapping(self) -> dict[str, Any]:
        return {"when": {parent: list(allowed) for parent, allowed in self.when.items()}} if self.when else {}


def normalise(instance: Any, **values: Any) -> None:
    """Set fields of a frozen instance while it is being made.

    Parameters
    ----------
    instance
        The instance.
    **values
        By field.
    """
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
            raise ConfigError(f"log: {shown(self.log)} is not allowed; allowed: true or false")
        bounds = f"{self.kind} [{self.low:g}, {self.high:g}]"
        if self._in_one_unit and self.low >= self.high:
            raise ConfigError(
                f"{bounds}: the low bound must be below the high bound; fix one value by writing it alone"
            )
        if self.log and self.low <= 0:
            raise ConfigError(f"{bounds}: a log scale needs a low bound above 0")

    @property
    def _in_one_unit(self) -> bool:
        """Whether the bounds can be compared."""
        return True

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

    Parameters
    ----------
    low, high
        The bounds, both included.
    log
        Draw uniformly in the logarithm; `low` must be above 0.
    relative_to
        What the bounds are multiples of, one reference for both or a pair: `kappa_max`, what the mean image reaches,
        known with the data; `kappa_min`, what the largest model reaches, measured at the start of a sweep.
    when
        The values of other paths under which it is drawn.

    Raises
    ------
    ConfigError
        For bounds that are not finite numbers, are not in order, or do not suit a log scale.

    Examples
    --------
    >>> rate = Float("1e-4", 1e-2, log=True)
    >>> str(rate), rate.contains(0.5), round(rate.middle(), 6)
    ('0.0001 to 0.01 (log)', False, 0.001)
    """

    kind: ClassVar[str] = "float"
    relative_to: str | tuple[str, str] | None = None

    def __post_init__(self) -> None:
        normalise(self, low=finite_number(self.low), high=finite_number(self.high))
        normalise(self, relative_to=_references(self.relative_to))
        super().__post_init__()

    @property
    def references(self) -> tuple[str, str] | None:
        """What each bound is a multiple of; None where both are numbers."""
        named = self.relative_to
        return (named, named) if isinstance(named, str) else named

    @property
    def _in_one_unit(self) -> bool:
        return not isinstance(self.relative_to, tuple)

    def scaled(self, kappa_max: float, kappa_min: float | None = None) -> Float:
        """The same with its bounds in numbers.

        Parameters
        ----------
        kappa_max
            κ_max.
        kappa_min
            κ_min; while it is unknown it counts as half of κ_max, or as less where that leaves no range.

        Returns
        -------
        Float
            Itself where the bounds are numbers already.

        Raises
        ------
        ConfigError
            The low bound is not below the high one.
        """
        if self.references is None:
            return self
        if kappa_min is None:
            most = 0.9 * self.high / self.low if self.references == ("kappa_min", "kappa_max") else ASSUMED_REACH
            kappa_min = min(ASSUMED_REACH, most) * kappa_max
        references = {"kappa_max": kappa_max, "kappa_min": kappa_min}
        low, high = (bound * references[of] for bound, of in zip((self.low, self.high), self.references, strict=True))
        if low >= high:
            raise ConfigError(
                f"{self} is {low:.4g} to {high:.4g} here, and the low bound must be below the high bound; give the "
                "bounds as numbers"
            )
        return replace(self, low=low, high=high, relative_to=None)

    def to_mapping(self) -> dict[str, Any]:
        named = list(self.relative_to) if isinstance(self.relative_to, tuple) else self.relative_to
        return super().to_mapping() | ({"relative_to": named} if named else {})

    def __str__(self) -> str:
        if not isinstance(self.relative_to, tuple):
            return super().__str__() + (f" × {self.relative_to}" if self.relative_to else "")
        low, high = (f"{bound:g} × {of}" for bound, of in zip((self.low, self.high), self.relative_to, strict=True))
        return f"{low} to {high}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class Int(_Range):
    """A whole number in [low, high].

    Parameters
    ----------
    low, high
        The bounds, both included.
    log
        Draw uniformly in the logarithm; `low` must be above 0.
    when
        The values of other paths under which it is drawn.

    Raises
    ------
    ConfigError
        The bounds are not whole numbers, are not in order, or do not suit a log scale.

    Examples
    --------
    >>> Int(2, 64, log=True).middle(), Int(2, 64).contains(2.5)
    (11, False)
    """

    kind: ClassVar[str] = "int"
    low: int
    high: int

    def __post_init__(self) -> None:
        normalise(self, low=whole_number(self.low), high=whole_number(self.high))
        super().__post_init__()

    def contains(self, value: Any) -> bool:
        return super().contains(value) and float(value).is_integer()

    def middle(self) -> int:
        return round(super().middle())


@dataclass(frozen=True)
class Choice(_Domain):
    """One of some values: numbers, words, true, false, null, or lists of them.

    Parameters
    ----------
    options
        The values.
    when
        The values of other paths under which it is drawn.

    Raises
    ------
    ConfigError
        The list is empty, an option has another type, or one is listed twice.

    Examples
    --------
    >>> widths = Choice(([128], [256, 128]), when={"model.kind": "mlp"})
    >>> str(widths), widths.condition(), widths.middle()
    ('[128] | [256, 128]', 'model.kind = mlp', [128])
    """

    kind: ClassVar[str] = "choice"
    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.options, list | tuple) or not self.options:
            raise ConfigError(f"choice takes a list of options, not {shown(self.options)}")
        normalise(self, options=checked_options(self.options))
        if len(set(map(key_of, self.options))) < len(self.options):
            raise ConfigError(f"choice [{', '.join(map(word, self.options))}] lists an option twice")

    def place(self, value: Any) -> int | None:
        """The place of a value among the options. Records from before options kept their type may hold `8` for `"8"`.

        Parameters
        ----------
        value
            Plain data.

        Returns
        -------
        int or None
            From 0; None for a value that is not an option.
        """
        options = (*self.options, *map(read_number, self.options))
        return next((i % len(self.options) for i, option in enumerate(options) if same(option, value)), None)

    def contains(self, value: Any) -> bool:
        return self.place(value) is not None

    def drawn(self, value: Any) -> Any:
        place = self.place(value)
        return value if place is None else self.options[place]

    def middle(self) -> Any:
        return self.options[0]

    def levels(self) -> tuple[Any, ...]:
        return self.options

    def to_mapping(self) -> dict[str, Any]:
        return {self.kind: list(self.options)} | self._when_mapping()

    def __str__(self) -> str:
        return words(self.options)


Domain = Float | Int | Choice

_KEYS = {"float": ("log", "when", "relative_to"), "int": ("log", "when"), "choice": ("when",)}


def constant(path: str, value: Any) -> Choice:
    """The dimension of a path that has only one value.

    Parameters
    ----------
    path, value
        Of the configuration field.

    Returns
    -------
    Choice
        Of one option.
    """
    return Choice((read_value(path, value),))


def parse_domain(path: str, entry: Mapping[str, Any]) -> Domain:
    """The dimension of a path from its YAML form.

    Parameters
    ----------
    path
        The path of the configuration field, `lr.base`.
    entry
        `{float: [low, high], log: true, when: {PATH: VALUE}}`, `{int: [low, high]}` or `{choice: [VALUE, …]}`.

    Returns
    -------
    Float, Int or Choice
        Checked.

    Raises
    ------
    ConfigError
        The entry has another form; the message names the key or the value.

    Examples
    --------
    >>> parse_domain("lr.base", {"float": ["1e-4", "1e-2"], "log": True})
    Float(when={}, low=0.0001, high=0.01, log=True, relative_to=None)
    """
    kinds = [kind for kind in _KEYS if kind in entry]
    if len(kinds) != 1:
        raise ConfigError(f"{shown(dict(entry))} must have exactly one of float, int, choice")
    kind, options = kinds[0], {key: value for key, value in entry.items() if key not in kinds}
    for key in options:
        if key not in _KEYS[kind]:
            raise ConfigError(f"unknown key `{key}`{suggest(key, _KEYS[kind])}")
    if not isinstance(options.get("when", {}), Mapping):
        raise ConfigError(f"when: {shown(options['when'])} is not allowed; write {{PATH: VALUE}}")
    if "when" in options:
        options["when"] = {parent: read_value(str(parent), values) for parent, values in options["when"].items()}
    if kind == "choice":
        return Choice(read_value(path, entry[kind]), **options)
    if not isinstance(entry[kind], list | tuple) or len(entry[kind]) != 2:
        raise ConfigError(f"{kind} takes [low, high], not {shown(entry[kind])}")
    return (Float if kind == "float" else Int)(*entry[kind], **options)
