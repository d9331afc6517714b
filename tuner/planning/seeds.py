"""The seeds that each configuration of a sweep is trained with."""

from __future__ import annotations

from typing import Any

from search_spaces.domains import Choice, Domain
from search_spaces.space import Space
from trainables.config.paths import flatten, parse_config
from trainables.errors import ConfigError
from tuner.sweeps.spec import SweepSpec

PATH = "seed"
FIX = "for K seeds a configuration write search.repeats: K (--repeats K), for certain ones seed: {choice: [0, 1, 2]}"


def split_seeds(spec: SweepSpec, space: Space) -> tuple[tuple[int, ...], Space]:
    """The seeds of every configuration, and the space without them: those of `seed: {choice: […]}` in a space, or
    `search.repeats` from the seed of the configuration on, by default the search's.

    Parameters
    ----------
    spec
        Of the sweep.
    space
        What it searches.

    Returns
    -------
    tuple
        The seeds, and the rest of the space.

    Raises
    ------
    ConfigError
        For a range of seeds, a condition on one, and a choice of them beside `search.repeats`.
    """
    own = flatten(spec.config).get(PATH)
    repeats = spec.search.repeats
    domain, fixed = space.dimensions.get(PATH), space.fixed.get(PATH)
    for path, other in space.dimensions.items():
        if PATH in other.when:
            raise ConfigError(
                f"space: {path}: `when` cannot name seed: every configuration is trained with all seeds; leave it out"
            )
    if domain is None and fixed is None:
        return _from(spec.search.seed if own is None else own, repeats), space
    rest = Space(
        space.name,
        {path: value for path, value in space.fixed.items() if path != PATH},
        {path: domain for path, domain in space.dimensions.items() if path != PATH},
    )
    if domain is None or own is not None:
        return _from(fixed if own is None else own, repeats), rest
    return _chosen(domain, repeats, rest), rest


def _chosen(domain: Domain, repeats: int, rest: Space) -> tuple[int, ...]:
    if not isinstance(domain, Choice):
        raise ConfigError(
            f"space: seed: {domain} must be a choice: seeds repeat a configuration and are not optimised; {FIX}"
        )
    if domain.when:
        raise ConfigError("space: seed: remove its `when`: every configuration is trained with all seeds")
    if repeats > 1:
        raise ConfigError(f"search.repeats: {repeats} beside the seeds of the space ({domain}); leave one of them out")
    if not rest.dimensions:
        raise ConfigError(
            "space: nothing varies but seed; add a dimension, or give one configuration as search.points: [{}] with "
            f"search.repeats: {len(domain.options)}"
        )
    return tuple(parse_config({PATH: option}).seed for option in domain.options)


def _from(first: Any, repeats: int) -> tuple[int, ...]:
    start = parse_config({PATH: first}).seed
    return tuple(parse_config({PATH: start + repeat}).seed for repeat in range(repeats))


def check_patience(spec: SweepSpec, seeds: tuple[int, ...]) -> None:
    """Refuse to stop seeds one by one that shall stop together.

    Parameters
    ----------
    spec
        Of the sweep.
    seeds
        Of each configuration.

    Raises
    ------
    ConfigError
        There is a patience, and more than one seed.
    """
    if spec.scheduler.patience is not None and len(seeds) > 1:
        raise ConfigError(
            f"scheduler.patience: {spec.scheduler.patience} ends trials one by one, and the {len(seeds)} seeds of a "
            "configuration stop together; leave it out, or train one seed"
        )


def check_point_seeds(spec: SweepSpec) -> None:
    """Refuse given trials that have seeds of their own beside those of the sweep.

    Parameters
    ----------
    spec
        Of the sweep.

    Raises
    ------
    ConfigError
        Some have.
    """
    if spec.search.repeats > 1 and any(PATH in point for point in spec.search.points):
        raise ConfigError(
            f"search.repeats: {spec.search.repeats} beside search.points with seeds; leave one of them out"
        )
