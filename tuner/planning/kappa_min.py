"""What a plan knows of κ_min, the error that the models of a sweep reach: whether it is needed, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search_spaces.domains import Choice, Domain, Float, parse_domain
from search_spaces.geco import has_room
from search_spaces.space import Space
from trainables.config.paths import flatten
from trainables.data.dataset import DataFacts

KAPPA = "objective.kappa"
KIND = "objective.kind"


def asks_for_reach(space: Space, base: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether κ_min decides the κ of some trial: it bounds a range that is searched, or κ is `auto` under GECO.

    Parameters
    ----------
    space
        What is searched, with relative bounds.
    base
        The fixed part of every trial, as a tree.
    points
        Trials given one by one, in place of the space.

    Returns
    -------
    bool
        False where no trial is under GECO.
    """
    fixed = {**flatten(base), **space.fixed}
    if points:
        return any(_is_auto({**fixed, **point}) for point in points)
    domain = space.dimensions.get(KAPPA)
    if isinstance(domain, Float) and domain.references and "kappa_min" in domain.references:
        return True
    kinds = space.dimensions.get(KIND)
    reachable = "geco" in (kinds.levels() if kinds else (fixed.get(KIND),))
    return reachable and (_is_auto({**fixed, KIND: "geco"}) if domain is None else _may_be_auto(domain, fixed))


def _is_auto(flat: Mapping[str, Any]) -> bool:
    return flat.get(KIND) == "geco" and flat.get(KAPPA, "auto") == "auto"


def _may_be_auto(domain: Domain, fixed: Mapping[str, Any]) -> bool:
    """Whether κ is drawn as `auto`, or not drawn under a condition that is narrower than GECO."""
    narrower = set(domain.when) - {KIND} and fixed.get(KAPPA, "auto") == "auto"
    return bool(narrower) or (isinstance(domain, Choice) and "auto" in domain.options)


def as_begun(space: Space, header: Mapping[str, Any]) -> Space:
    """The space with the range of κ that a sweep was begun with, where it is not the user's own numbers.

    Parameters
    ----------
    space
        With relative bounds.
    header
        Of the sweep's journal.

    Returns
    -------
    Space
        The same where κ is not searched.
    """
    ours, begun = space.dimensions.get(KAPPA), header["space"].get(KAPPA)
    if not isinstance(ours, Float) or ours.references is None or not isinstance(begun, Mapping):
        return space
    return replace(space, dimensions={**space.dimensions, KAPPA: parse_domain(KAPPA, begun)})


def reach_notes(kappa: Domain | None, constraint: str, facts: DataFacts, *, awaited: bool) -> list[str]:
    """What the user should know of κ_min.

    Parameters
    ----------
    kappa
        What is searched, in absolute terms; None where κ is not.
    constraint
        `re` or `nll`.
    facts
        Of the data.
    awaited
        Whether κ_min is measured at the start.

    Returns
    -------
    list of str
        Sentences.
    """
    if awaited:
        return ["κ_min, the error that the largest model reaches at β → 0, is measured at the start; κ begins there"]
    reach = (facts.kappa_min or {}).get(constraint)
    if reach is None:
        return []
    found = [f"κ_min {constraint} {reach:.4g}: the error that the largest model reached at β → 0"]
    if not has_room(constraint, facts.kappa_max[constraint], reach):
        searched = f"; κ is searched from {kappa}" if kappa else ""
        found.append(
            f"κ_min is {reach / facts.kappa_max[constraint]:.2f} of κ_max: the models learn little in this budget, and "
            f"GECO has hardly any room{searched}; train longer, or try larger models or higher learning rates"
        )
    return found
