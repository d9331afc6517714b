"""Spaces: dimensions by the path of the configuration field they set, and the configurations they amount to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from search_spaces.covering import covering_draws
from search_spaces.domains import Choice, Domain, Float, constant, normalise, parse_domain
from search_spaces.values import among, read_number, words
from trainables.config.paths import field_of, flatten, is_known, known_paths, parse_config, suggest, unflatten
from trainables.errors import ConfigError

Assignment = dict[str, Any]


class Row(NamedTuple):
    """One line of a printed space.

    Attributes
    ----------
    path, varies, condition
        What varies, between which values, and where.
    """

    path: str
    varies: str
    condition: str


@dataclass(frozen=True)
class Space:
    """Fixed values and dimensions by configuration path; dimensions come after their parents.

    Parameters
    ----------
    name
        What it is called in messages.
    fixed
        The value of each path that does not vary.
    dimensions
        The domain of each path that varies.

    Raises
    ------
    ConfigError
        For unknown paths, and for conditions on unknown parents, in a circle, or that never hold.

    Examples
    --------
    >>> kinds = Choice(("constant", "linear"))
    >>> warmup = Float(0, 0.5, when={"beta.kind": "linear"})
    >>> space = Space("mine", {"objective.kind": "elbo"}, {"beta.kind": kinds, "beta.warmup": warmup})
    >>> space.active({"beta.kind": "constant"}), space.active({"beta.kind": "linear"})
    (['beta.kind'], ['beta.kind', 'beta.warmup'])
    """

    name: str
    fixed: Mapping[str, Any]
    dimensions: Mapping[str, Domain]

    def __post_init__(self) -> None:
        for path in (*self.fixed, *self.dimensions):
            _check_known(path, f"space {self.name}: ")
        normalise(self, dimensions={path: self._conditioned(path) for path in self._parents_first()})

    def __add__(self, other: Space) -> Space:
        """Both; the later replaces the earlier path by path."""
        return self.extended(other.name, other.fixed, other.dimensions)

    def extended(self, name: str, fixed: Mapping[str, Any], dimensions: Mapping[str, Domain]) -> Space:
        """The space with these entries added or replaced, without the dimensions that can no longer be drawn.

        A dimension that replaces one with a condition, and has none itself, keeps the condition.

        Parameters
        ----------
        name
            Joined to this one's by `+`.
        fixed, dimensions
            As of the class.

        Returns
        -------
        Space
            A new one.
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
        """A space from its YAML form.

        Parameters
        ----------
        mapping
            `{PATH: DOMAIN}` to vary and `{PATH: VALUE}` to fix; DOMAIN as in `parse_domain`.
        onto
            The space that these entries are added to, which may hold the parents of their conditions.

        Returns
        -------
        Space
            Checked.

        Raises
        ------
        ConfigError
            With the path, what is wrong there, and what is allowed.

        Examples
        --------
        >>> space = Space.parse({"lr.base": {"float": [1e-4, 1e-2], "log": True}, "epochs": 5})
        >>> [f"{row.path}: {row.varies}" for row in space.describe()]
        ['epochs: fixed at 5', 'lr.base: 0.0001 to 0.01 (log)']
        """
        domains = {path: _parse_at(path, entry) for path, entry in mapping.items() if isinstance(entry, Mapping)}
        fixed = {path: value for path, value in mapping.items() if path not in domains}
        return (onto or cls("", {}, {})).extended("custom", fixed, domains)

    def to_mapping(self) -> dict[str, Any]:
        """The YAML form; the inverse of `parse`, except for the name."""
        return {**self.fixed, **{path: domain.to_mapping() for path, domain in self.dimensions.items()}}

    def walk(self, choose: Callable[[str, Domain, Assignment], Any]) -> Assignment:
        """Make an assignment, parents first.

        Parameters
        ----------
        choose
            Called as `choose(path, domain, chosen so far)` for each dimension that is drawn; returns its value.

        Returns
        -------
        dict of str to value
            The assignment by path.
        """
        chosen: Assignment = {}
        for path, domain in self.dimensions.items():
            if domain.holds({**self.fixed, **chosen}):
                chosen[path] = choose(path, domain, chosen)
        return chosen

    def active(self, assignment: Mapping[str, Any]) -> list[str]:
        """The dimensions that are drawn where the choices are those of an assignment, parents first.

        Parameters
        ----------
        assignment
            Values by path.

        Returns
        -------
        list of str
            Paths.
        """
        return list(self.walk(lambda path, domain, chosen: assignment.get(path)))

    @cached_property
    def covering(self) -> list[Assignment]:
        """The draws of `covering_draws`: every option, and every two extremes that can meet."""
        return covering_draws(self)

    def switched_on(self, path: str, option: Any) -> frozenset[str]:
        """The dimensions that need this option of their parent.

        Parameters
        ----------
        path, option
            The parent and its value.

        Returns
        -------
        frozenset of str
            Paths.
        """
        conditions = ((child, domain.when[path]) for child, domain in self.dimensions.items() if path in domain.when)
        return frozenset(child for child, allowed in conditions if among(option, allowed))

    def scaled(self, kappa_max: float, kappa_min: float | None = None) -> Space:
        """The space with its bounds in numbers, where they are multiples of κ_max or κ_min.

        Parameters
        ----------
        kappa_max, kappa_min
            What the mean image and the largest model reach. Without κ_min the bounds are preliminary.

        Returns
        -------
        Space
            A new one.

        Raises
        ------
        ConfigError
            A low bound is not below the high one.

        Examples
        --------
        >>> kappa = Float(0.9, 0.8, relative_to=("kappa_min", "kappa_max"))
        >>> space = Space("mine", {"objective.kind": "geco"}, {"objective.kappa": kappa})
        >>> str(space.scaled(kappa_max=0.25, kappa_min=0.1).dimensions["objective.kappa"])
        '0.09 to 0.2'
        """

        def in_numbers(path: str, domain: Domain) -> Domain:
            with _naming(path):
                return domain.scaled(kappa_max, kappa_min) if isinstance(domain, Float) else domain

        return replace(self, dimensions={path: in_numbers(path, domain) for path, domain in self.dimensions.items()})

    def default(self, base: Mapping[str, Any]) -> Assignment:
        """The assignment that every search tries first.

        Each dimension has the value that the user set, else the configuration's default, if its domain contains that,
        else the middle of its domain.

        Parameters
        ----------
        base
            The user's fixed part, nested.

        Returns
        -------
        dict of str to value
            The assignment by path.

        Examples
        --------
        >>> dimensions = {"lr.base": Float(1e-4, 1e-2), "batch_size": Choice((256, 512))}
        >>> Space("mine", {}, dimensions).default({"lr.base": 2e-3})
        {'lr.base': 0.002, 'batch_size': 256}
        """
        explicit = flatten(base)

        def choose(path: str, domain: Domain, chosen: Assignment) -> Any:
            known = defaults_of({**explicit, **self.fixed, **chosen}) | explicit
            value = read_number(known.get(path))
            return domain.drawn(value) if path in known and domain.contains(value) else domain.middle()

        return self.walk(choose)

    def describe(self) -> list[Row]:
        """What is fixed, what varies and under which condition, as rows to print."""
        fixed = [Row(path, f"fixed at {words([value])}", "") for path, value in self.fixed.items()]
        return fixed + [Row(path, str(domain), domain.condition()) for path, domain in self.dimensions.items()]

    def decides(self, path: str) -> bool:
        """Whether the space chooses the kind of a path's section.

        Parameters
        ----------
        path
            As `beta.warmup`.

        Returns
        -------
        bool
            True where `beta.kind` or `objective.kind` is among its paths.
        """
        section = path.partition(".")[0]
        deciding = {f"{section}.kind"} | ({"objective.kind"} if section == "beta" else set())
        return bool(deciding & {*self.fixed, *self.dimensions})

    def _when(self, path: str) -> Mapping[str, Any]:
        return self.dimensions[path].when if path in self.dimensions else {}

    def _conditioned(self, path: str) -> Domain:
        """A dimension with its condition checked; a list that is one of a parent's values needs no second brackets."""
        domain = self.dimensions[path]
        when = {parent: self._values_of(parent, allowed) for parent, allowed in domain.when.items()}
        for parent, allowed in when.items():
            self._check_condition(path, parent, allowed)
        return domain if when == domain.when else replace(domain, when=when)

    def _values_of(self, parent: str, allowed: Sequence[Any]) -> Sequence[Any]:
        possible, whole = _possible(parent, self.fixed, self.dimensions), list(allowed)
        return [whole] if among(whole, possible) and not all(among(value, possible) for value in whole) else allowed

    def _check_condition(self, path: str, parent: str, allowed: Sequence[Any]) -> None:
        start = f"space {self.name}: {path}: when names {parent}"
        if parent not in self.fixed and parent not in self.dimensions:
            raise ConfigError(f"{start}, which the space neither fixes nor varies; add it to the space")
        possible = _possible(parent, self.fixed, self.dimensions)
        if not possible:
            raise ConfigError(f"{start}, which is a range; a condition needs a choice or a fixed value")
        for value in allowed:
            if not among(value, possible):
                raise ConfigError(f"{start} = {words([value])}, which never holds; {parent} is {words(possible)}")

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
        return constant(path, value)


def _parse_at(path: str, entry: Mapping[str, Any]) -> Domain:
    _check_known(path, "space: ")
    with _naming(path):
        return parse_domain(path, entry)


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
            parent: tuple(value for value in allowed if among(value, _possible(parent, fixed, {**kept, **added})))
            for parent, allowed in domain.when.items()
        }
        if all(when.values()):
            kept[path] = replace(domain, when=when)
    return kept


def one_of(name: str, selector: str, *branches: Space) -> Space:
    """A choice between spaces that fix one path at different values; each dimension is drawn in its own branch.

    Parameters
    ----------
    name
        Of the new space.
    selector
        The path that tells the branches apart.
    *branches
        The spaces.

    Returns
    -------
    Space
        With the selector as a Choice.

    Raises
    ------
    ValueError
        The branches disagree on anything else.

    Examples
    --------
    >>> adam = Space("", {"optimizer.kind": "adam"}, {"optimizer.beta1": Float(0.8, 0.95)})
    >>> sgd = Space("", {"optimizer.kind": "sgd"}, {"optimizer.momentum": Float(0.5, 0.99)})
    >>> [f"{row.path} {row.condition}" for row in one_of("", "optimizer.kind", adam, sgd).describe()]
    ['optimizer.kind ', 'optimizer.beta1 optimizer.kind = adam', 'optimizer.momentum optimizer.kind = sgd']
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


def split_fixed(space: Space, base: Mapping[str, Any]) -> tuple[Space, dict[str, Any]]:
    """What the user fixes leaves the space: a path that was searched or fixed by it takes the user's value there.

    Parameters
    ----------
    space
        The space.
    base
        The user's fixed part, by path.

    Returns
    -------
    tuple
        The space that is left, and the part of `base` that it does not hold.

    Examples
    --------
    >>> space, rest = split_fixed(Space("", {}, {"lr.base": Float(1e-4, 1e-2)}), {"lr.base": 2e-3, "epochs": 5})
    >>> space.dimensions, space.fixed, rest
    ({}, {'lr.base': 0.002}, {'epochs': 5})
    """
    own = {path: value for path, value in base.items() if path in space.fixed or path in space.dimensions}
    rest = {path: value for path, value in base.items() if path not in own}
    return space.extended("", own, {}) if own else space, rest


def assemble(base: Mapping[str, Any], space: Space, assignment: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's tree: the user's fixed part, overlaid by the space's, overlaid by an assignment.

    Where the space chooses a kind, fixed fields that the chosen kind does not have are left out.

    Parameters
    ----------
    base
        The user's fixed part, nested or by path.
    space
        The space.
    assignment
        Values by path.

    Returns
    -------
    dict
        Nested, ready for `parse_config`.

    Raises
    ------
    ConfigError
        No kind has one of the paths.

    Examples
    --------
    >>> space = Space("mine", {"lr.kind": "constant"}, {"lr.base": Float(1e-4, 1e-2)})
    >>> assemble({"epochs": 5, "lr.max": 0.1}, space, {"lr.base": 2e-3})
    {'epochs': 5, 'lr': {'kind': 'constant', 'base': 0.002}}
    """
    fixed = {**flatten(base), **space.fixed}
    for path in fixed:
        _check_known(path)
    existing = defaults_of({**fixed, **assignment})
    kept = {path: value for path, value in fixed.items() if field_of(path) in existing or not space.decides(path)}
    return unflatten({**kept, **assignment})


def defaults_of(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a configuration of these kinds and this data set (GECO has no `beta`).

    Parameters
    ----------
    flat
        Values by path; those of kinds and `data.name` matter.

    Returns
    -------
    dict of str to value
        By path.
    """
    kinds = {path: value for path, value in flat.items() if field_of(path).endswith(".kind") or path == "data.name"}
    beta = kinds.pop("beta.kind", None)
    config = parse_config(unflatten(kinds))
    if beta is not None and config.beta is not None:
        config = parse_config(unflatten({**kinds, "beta.kind": beta}))
    return flatten(config.model_dump())


def _check_known(path: str, start: str = "") -> None:
    if not is_known(str(path)):
        raise ConfigError(f"{start}unknown key `{path}`{suggest(str(path), known_paths())}")
