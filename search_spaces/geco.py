"""GECO's reconstruction constraint, alone and as one choice beside hand-annealing."""

from dataclasses import replace

from search_spaces.annealing import FREE_BITS, HAND_ANNEALED
from search_spaces.domains import Float
from search_spaces.space import Space, one_of

# By constraint, as docs/kappa-reach.md found it: from what a model reaches, κ_min, to well below κ_max, above which a
# constraint is slack.
_BETWEEN = ("kappa_min", "kappa_max")
KAPPA = {
    "re": Float(0.9, 0.8, log=True, relative_to=_BETWEEN),
    "nll": Float(1.05, 0.8, log=True, relative_to=_BETWEEN),
}
# Where κ_min is not known. An RMS error has no floor but 0, bits keep the nats of their pixel noise, most of κ_max.
UNMEASURED = {
    "re": Float(0.45, 0.8, log=True, relative_to="kappa_max"),
    "nll": Float(0.58, 0.8, log=True, relative_to="kappa_max"),
}
# Where κ_min leaves no room below κ_max: a model or a budget that learns next to nothing.
HARDLY_ANY_ROOM = Float(0.75, 0.95, log=True, relative_to="kappa_max")
LEAST_ROOM = 0.75

GECO = Space("geco", {"objective.kind": "geco"}, {"objective.kappa": KAPPA["re"]})

GECO_VS_ANNEALING = one_of("geco-vs-annealing", "objective.kind", HAND_ANNEALED, FREE_BITS, GECO)


def constrained(space: Space, constraint: str) -> Space:
    """A space with the named spaces' range of κ for this constraint; a range of the user's own stays.

    Parameters
    ----------
    space
        Any space.
    constraint
        `re` or `nll`.

    Returns
    -------
    Space
        The same where κ does not vary.
    """
    return _with_kappa(space, KAPPA["re"], KAPPA[constraint])


def in_numbers(space: Space, constraint: str, kappa_max: float, kappa_min: float | None) -> Space:
    """A `constrained` space with its bounds of κ in numbers.

    Parameters
    ----------
    space
        As `constrained` returns it.
    constraint
        `re` or `nll`.
    kappa_max, kappa_min
        What the mean image and the largest model reach; None while κ_min is unknown.

    Returns
    -------
    Space
        Ready to be drawn from.

    Raises
    ------
    ConfigError
        A range of the user's own is empty here.
    """
    chosen = _with_kappa(space, KAPPA[constraint], _range(constraint, kappa_max, kappa_min))
    return chosen.scaled(kappa_max, kappa_min)


def _with_kappa(space: Space, named: Float, chosen: Float) -> Space:
    kappa = space.dimensions.get("objective.kappa")
    if kappa is None or replace(kappa, when={}) != named:
        return space
    return replace(space, dimensions={**space.dimensions, "objective.kappa": replace(chosen, when=kappa.when)})


def _range(constraint: str, kappa_max: float, kappa_min: float | None) -> Float:
    if kappa_min is None:
        return UNMEASURED[constraint]
    return KAPPA[constraint] if has_room(constraint, kappa_max, kappa_min) else HARDLY_ANY_ROOM


def has_room(constraint: str, kappa_max: float, kappa_min: float) -> bool:
    """Whether the smallest κ that can be reached leaves a range below κ_max.

    Parameters
    ----------
    constraint
        `re` or `nll`.
    kappa_max, kappa_min
        What the mean image and the largest model reach.

    Returns
    -------
    bool
        False for a model or a budget that learns next to nothing.

    Examples
    --------
    >>> has_room("re", kappa_max=0.25, kappa_min=0.1), has_room("re", kappa_max=0.25, kappa_min=0.24)
    (True, False)
    """
    return KAPPA[constraint].low * kappa_min < LEAST_ROOM * kappa_max
