"""From a configuration with `auto` in it to the numbers a trial runs with, and the checks that need the data."""

from __future__ import annotations

import json
import math

from trainables.config import (
    DataConfig,
    Geco,
    GqnBeta,
    LinearVae,
    ModelConfig,
    TrialConfig,
    steps_of,
    steps_per_epoch,
)
from trainables.config.paths import flatten, plain
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.likelihoods.learned_sigma import FLOOR
from trainables.objectives import updates_to_settle
from trainables.schedules import batch_size_factor, scaling_of
from trainables.schedules.curves import exact_length

__all__ = [
    "MET_FROM",
    "geco_notes",
    "identity",
    "likelihood_of",
    "notes",
    "output_of",
    "resolve",
    "steps_per_epoch",
]

AUTO_SHARE = 0.6
MET_FROM = 1.05
AUTO_BELOW_MEAN = 0.95
FAR_ABOVE = 10  # times the mean image's error
CYCLES = ("beta.period", "lr.period", "lr.step_size")
WARMUPS = ("beta.warmup", "lr.warmup")
DURATIONS = (*WARMUPS, "lr.timescale", *CYCLES)


def resolve(config: TrialConfig, facts: DataFacts, *, device: str = "cpu", threads: int = 1) -> TrialConfig:
    """The configuration with no `auto` left; raises ConfigError where it does not fit the data.

    device, threads: what `auto` means for them here.
    """
    if config.batch_size > facts.n_train:
        raise ConfigError(
            f"batch_size: {config.batch_size} is more than the {facts.n_train} training examples; "
            f"allowed: 1 to {facts.n_train}"
        )
    data = config.data.model_copy(update={"n_train": facts.n_train, "likelihood": likelihood_of(config.data, facts)})
    resolved = config.model_copy(
        update={
            "data": data,
            "model": _model(config, data, facts),
            "objective": _geco(config.objective, data, facts)
            if isinstance(config.objective, Geco)
            else config.objective,
            "lr": config.lr.model_copy(update={"scaling": scaling_of(config.lr.scaling)}),
            "device": device if config.device == "auto" else config.device,
            "threads": threads if config.threads == "auto" else config.threads,
        }
    )
    _check_sigma(resolved)
    _check_durations(resolved, facts)
    return resolved


def likelihood_of(data: DataConfig, facts: DataFacts) -> str:
    """The likelihood a configuration means; raises ConfigError where it does not describe the data."""
    bits = facts.bits or data.binarize in ("dynamic", "fixed")
    likelihood = data.likelihood
    if likelihood == "auto":
        likelihood = "bernoulli" if bits or data.binarize == "soft" else "gaussian"
    if likelihood == "bernoulli" and not (facts.low >= 0 and facts.high <= 1):
        raise ConfigError(
            f"data.likelihood: bernoulli needs values in [0, 1], the data span [{facts.low:g}, {facts.high:g}]; "
            "rescale them or use gaussian"
        )
    if likelihood == "bernoulli" and not bits and data.binarize != "soft":
        raise ConfigError(
            "data.likelihood: bernoulli describes bits and the data are gray; set data.binarize to dynamic or fixed, "
            "or to soft to fit gray values on purpose"
        )
    return likelihood


def _model(config: TrialConfig, data: DataConfig, facts: DataFacts) -> ModelConfig:
    known: dict[str, object] = {"sigma": _sigma(config, data, facts)}
    if not isinstance(config.model, LinearVae) and config.model.output == "auto":
        known["output"] = "sigmoid" if facts.low >= 0 and facts.high <= 1 else "identity"
    return config.model.model_copy(update=known)


def output_of(config: TrialConfig) -> str:
    """What makes the decoder's output a mean: logits need a sigmoid; a linear model has none of its own."""
    if config.data.likelihood == "bernoulli":
        return "sigmoid"
    return "identity" if isinstance(config.model, LinearVae) else config.model.output


def _sigma(config: TrialConfig, data: DataConfig, facts: DataFacts) -> float | None:
    if data.likelihood == "bernoulli":
        return None
    sigma = config.model.sigma
    if isinstance(sigma, float):
        return sigma
    if facts.kappa_max["re"] == 0:
        raise ConfigError("model.sigma: auto needs data that vary, and all training examples are equal")
    return AUTO_SHARE * facts.kappa_max["re"]


def _check_sigma(config: TrialConfig) -> None:
    """What sets or learns σ needs a likelihood that has one."""
    sigma = config.model.sigma
    if config.data.likelihood == "bernoulli":
        if config.model.learn_sigma:
            raise ConfigError("model.learn_sigma: the Bernoulli likelihood has no sigma to learn; set it to false")
        if isinstance(config.beta, GqnBeta):
            raise ConfigError(
                "beta.kind: gqn anneals sigma, which the Bernoulli likelihood does not have; allowed: any other kind"
            )
    elif config.model.learn_sigma and isinstance(sigma, float) and sigma <= FLOOR:
        raise ConfigError(
            f"model.sigma: {sigma:g} is not above 1/256, below which a learned sigma cannot go; raise it or set "
            "model.learn_sigma to false"
        )


def _geco(objective: Geco, data: DataConfig, facts: DataFacts) -> Geco:
    natural = "nll" if data.likelihood == "bernoulli" else "re"
    constraint = natural if objective.constraint == "auto" else objective.constraint
    if constraint == "nll" and natural == "re":
        raise ConfigError("objective.constraint: nll needs the Bernoulli likelihood; use re under a Gaussian one")
    kappa = _auto_kappa(constraint, facts) if objective.kappa == "auto" else objective.kappa
    return objective.model_copy(update={"constraint": constraint, "kappa": kappa})


def _auto_kappa(constraint: str, facts: DataFacts) -> float:
    """max(0.6·κ_max, 1.05·κ_min), where κ_min is known, and at most 0.95·κ_max."""
    limit, reach = facts.kappa_max[constraint], (facts.kappa_min or {}).get(constraint, 0.0)
    return min(max(AUTO_SHARE * limit, MET_FROM * reach), AUTO_BELOW_MEAN * limit)


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
    """What the numbers of a trial are a function of: resolved configurations that agree in it train to the same bits.

    Lengths of schedules count in steps: `400 steps` are the fraction that has as many, and a warm-up has whole ones. Of
    the rule for batch sizes its factor counts.
    Raises ValueError for a configuration that is not resolved.
    """
    if config.data.n_train is None:
        raise ValueError("the configuration is not resolved: its budget in steps is not known")
    total = config.epochs * steps_per_epoch(config.data.n_train, config.batch_size)
    steps = {
        path: steps_of(duration, total) if path in WARMUPS else exact_length(duration, total)
        for path, duration in _durations(config).items()
    }
    scaled = {"lr.scaling": batch_size_factor(config.lr, config.batch_size), "lr.base_batch_size": None}
    return json.dumps({**flatten(plain(config)), **steps, **scaled}, sort_keys=True)


def _noise_notes(kappa: float, facts: DataFacts) -> list[str]:
    """On the floor of an RMS error of bits that are drawn from gray values."""
    noise = facts.pixel_noise
    if not noise:
        return []
    floor = f"the pixel noise of the bits has an RMS of {noise:.4g}: no smaller κ can be kept to"
    return [f"objective.kappa {kappa:.4g} is out of reach: {floor}; raise it" if kappa <= noise else floor]


def _durations(config: TrialConfig) -> dict[str, float | str]:
    """The lengths of the schedules by path."""
    tree = flatten(config.model_dump(include={"beta", "lr"}))
    return {path: value for path, value in tree.items() if path in DURATIONS}


def geco_notes(config: TrialConfig, facts: DataFacts) -> list[str]:
    """On a budget that is too short for GECO, whatever the objective of this configuration."""
    per_epoch = steps_per_epoch(facts.n_train, config.batch_size)
    updates, needed = config.epochs * per_epoch, updates_to_settle(config)
    if updates >= needed:
        return []
    return [
        f"objective.kind geco: {updates:,} updates ({config.epochs} epochs of {per_epoch} steps at batch_size "
        f"{config.batch_size}) are fewer than the {needed:,} by which its λ settles: expect the outcome unmet; "
        f"set epochs to {math.ceil(needed / per_epoch)}, or lower batch_size"
    ]


def notes(config: TrialConfig, facts: DataFacts) -> list[str]:
    """What a user should know about a resolved configuration that is allowed all the same."""
    found = []
    if isinstance(config.objective, Geco) and isinstance(config.objective.kappa, float):
        limit = facts.kappa_max[config.objective.constraint]
        if config.objective.kappa >= limit:
            found.append(
                f"objective.kappa {config.objective.kappa:g} is not below {limit:.4g}, what the mean image reaches: "
                "the constraint is slack and the KL falls to 0"
            )
        if config.objective.constraint == "re" and config.data.likelihood == "bernoulli":
            found.append(
                "objective.constraint re under a Bernoulli likelihood: the result is not comparable with trials that "
                "maximise the Bernoulli likelihood"
            )
            found += _noise_notes(config.objective.kappa, facts)
    sigma, rms = config.model.sigma, facts.kappa_max["re"]
    if isinstance(sigma, float) and not isinstance(config.objective, Geco) and sigma > FAR_ABOVE * rms > 0:
        found.append(
            f"model.sigma {sigma:g} is far above {rms:.4g}, the RMS error of the mean image: reconstruction hardly "
            f"counts and the KL falls to 0; set it to auto, which is {AUTO_SHARE * rms:.4g}"
        )
    if config.data.binarize == "soft":
        found.append("data.binarize soft: gray values under a Bernoulli likelihood are never ranked with bits")
    return found
