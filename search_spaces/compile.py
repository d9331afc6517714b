"""A space in the forms that searchers take: Optuna define-by-run, and Optuna distributions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.domains import Choice, Domain, Float, Int
from search_spaces.space import Space


def suggest_trial(trial: optuna.trial.BaseTrial, space: Space) -> dict[str, Any]:
    """Draw an assignment from an Optuna trial.

    Parameters
    ----------
    trial
        The trial; a parameter's name is its configuration path.
    space
        With its bounds in numbers, as `Space.scaled` gives it.

    Returns
    -------
    dict of str to value
        The assignment by path.

    Raises
    ------
    ValueError
        Bounds are multiples of κ_max or κ_min.

    Examples
    --------
    >>> space = Space("mine", {}, {"lr.base": Float(1e-4, 1e-2), "batch_size": Choice((32, 64))})
    >>> suggest_trial(optuna.trial.FixedTrial({"lr.base": 1e-3, "batch_size": 64}), space)
    {'lr.base': 0.001, 'batch_size': 64}
    """
    return space.walk(lambda path, domain, chosen: _suggest(trial, path, domain))


def _suggest(trial: optuna.trial.BaseTrial, path: str, domain: Domain) -> Any:
    match _absolute(path, domain):
        case Float(low=low, high=high, log=log):
            return trial.suggest_float(path, low, high, log=log)
        case Int(low=low, high=high, log=log):
            return trial.suggest_int(path, low, high, log=log)
        case Choice() as choice:
            coded = _coded(choice)
            return choice.options[coded.index(trial.suggest_categorical(path, coded))]


def distributions(space: Space, assignment: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the dimensions that an assignment draws, as `optuna.create_trial` takes them.

    Parameters
    ----------
    space
        With its bounds in numbers.
    assignment
        Values by path.

    Returns
    -------
    dict of str to BaseDistribution
        By path.

    Raises
    ------
    ValueError
        Bounds are multiples of κ_max or κ_min.
    """
    return {path: _distribution(path, space.dimensions[path]) for path in space.active(assignment)}


def _distribution(path: str, domain: Domain) -> BaseDistribution:
    match _absolute(path, domain):
        case Float(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case Int(low=low, high=high, log=log):
            return IntDistribution(low, high, log=log)
        case Choice() as choice:
            return CategoricalDistribution(_coded(choice))


def parameters(space: Space, assignment: Mapping[str, Any]) -> dict[str, Any]:
    """An assignment as Optuna's parameters, to go with `distributions`.

    Parameters
    ----------
    space
        With its bounds in numbers.
    assignment
        Values by path.

    Returns
    -------
    dict of str to value
        By path; an option of a type that Optuna does not have is its text.

    Examples
    --------
    >>> parameters(Space("", {}, {"model.hidden": Choice(([128], [64, 64]))}), {"model.hidden": [64, 64]})
    {'model.hidden': '[64, 64]'}
    """
    return {path: _parameter(space.dimensions[path], assignment[path]) for path in space.active(assignment)}


def _parameter(domain: Domain, value: Any) -> Any:
    place = domain.place(value) if isinstance(domain, Choice) else None
    return value if place is None or not isinstance(domain, Choice) else _coded(domain)[place]


def _coded(choice: Choice) -> tuple[Any, ...]:
    """The options as Optuna can tell them apart: lists as their JSON, and all of them where one of these is an option
    itself, or where true stands beside 1."""
    coded = tuple(json.dumps(option) if isinstance(option, list) else option for option in choice.options)
    return coded if len(set(coded)) == len(coded) else tuple(map(json.dumps, choice.options))


def _absolute(path: str, domain: Domain) -> Domain:
    if isinstance(domain, Float) and domain.references:
        raise ValueError(
            f"{path} is relative to {' and '.join(dict.fromkeys(domain.references))}; call Space.scaled first"
        )
    return domain
