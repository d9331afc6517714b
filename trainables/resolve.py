"""Resolves a configuration with `auto` to the numbers that a trial runs with, and checks it against the data."""

from __future__ import annotations

import json

from trainables.config import TrialConfig
from trainables.config.models import ModelConfig
from trainables.config.paths import flatten, plain
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.likelihoods import Likelihood, likelihood_class, likelihood_of
from trainables.objectives import OBJECTIVES
from trainables.schedules.curves import exact_length
from trainables.schedules.lr import scaling_of
from trainables.values import steps_of, steps_per_epoch

CYCLES = ("beta.period", "lr.period", "lr.step_size")
WARMUPS = ("beta.warmup", "lr.warmup")
DURATIONS = (*WARMUPS, "lr.timescale", *CYCLES)


def resolve(config: TrialConfig, facts: DataFacts, *, device: str = "cpu", threads: int = 1) -> TrialConfig:
    """The configuration with a number in place of each `auto`.

    Parameters
    ----------
    facts
        What the configuration depends on of its data; see `data_facts`.
    device, threads
        What `auto` means for them here.

    Raises
    ------
    ConfigError
        Where it does not fit the data.
    """
    if config.batch_size > facts.n_train:
        raise ConfigError(
            f"batch_size: {config.batch_size} is more than the {facts.n_train} training examples; "
            f"allowed: 1 to {facts.n_train}"
        )
    data = config.data.model_copy(update={"n_train": facts.n_train, "likelihood": likelihood_of(config.data, facts)})
    config = config.model_copy(update={"data": data})
    likelihood = likelihood_class(config)
    resolved = config.model_copy(
        update={
            "model": _model(config, likelihood, facts),
            "objective": OBJECTIVES[config.objective.kind].resolved(config, likelihood, facts),
            "lr": config.lr.model_copy(update={"scaling": scaling_of(config.lr.scaling)}),
            "device": device if config.device == "auto" else config.device,
            "threads": threads if config.threads == "auto" else config.threads,
        }
    )
    likelihood.check(resolved)
    _check_durations(resolved, facts)
    return resolved


def _model(config: TrialConfig, likelihood: type[Likelihood], facts: DataFacts) -> ModelConfig:
    known: dict[str, object] = {"sigma": likelihood.sigma(config, facts)}
    if config.model.output == "auto":
        known["output"] = "sigmoid" if facts.low >= 0 and facts.high <= 1 else "identity"
    return config.model.model_copy(update=known)


def _check_durations(config: TrialConfig, facts: DataFacts) -> None:
    total = config.epochs * steps_per_epoch(facts.n_train, config.batch_size)
    for path, duration in _durations(config).items():
        steps = steps_of(duration, total)
        if steps > total:
            raise ConfigError(
                f"{path}: {duration} is beyond the budget of {total} steps ({config.epochs} epochs); "
                f"allowed: at most {total} steps"
            )
        if steps < 1 and path in CYCLES:
            raise ConfigError(f"{path}: {duration} is less than one of the {total} steps of the budget; make it longer")


def identity(config: TrialConfig) -> str:
    """The numbers that a trial is a function of: resolved configurations that agree in them train to the same bits.

    Lengths of schedules count in steps: `400 steps` equal the fraction that has as many, and warm-ups have whole steps.
    Of the rule for batch sizes only its factor counts. Raises ValueError for a configuration that is not resolved.
    """
    if config.data.n_train is None:
        raise ValueError("the configuration is not resolved: its budget in steps is not known")
    total = config.epochs * steps_per_epoch(config.data.n_train, config.batch_size)
    steps = {
        path: steps_of(duration, total) if path in WARMUPS else exact_length(duration, total)
        for path, duration in _durations(config).items()
    }
    scaled = {"lr.scaling": config.lr.batch_size_factor(config.batch_size), "lr.base_batch_size": None}
    return json.dumps({**flatten(plain(config)), **steps, **scaled}, sort_keys=True)


def _durations(config: TrialConfig) -> dict[str, float | str]:
    """The lengths of the schedules by path."""
    tree = flatten(config.model_dump(include={"beta", "lr"}))
    return {path: value for path, value in tree.items() if path in DURATIONS}


def notes(config: TrialConfig, facts: DataFacts) -> list[str]:
    """Remarks for the user on a resolved configuration that is allowed all the same."""
    found = OBJECTIVES[config.objective.kind].notes(config, facts)
    if config.data.binarize == "soft":
        found.append("data.binarize soft: gray values under a Bernoulli likelihood are never ranked with bits")
    return found
