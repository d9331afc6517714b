"""The static parts of a trial: everything that is not a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainables.config import TrialConfig
from trainables.likelihoods import Likelihood, build_likelihood
from trainables.models import Model, Prior, build_model, build_prior
from trainables.objectives import Objective, build_objective
from trainables.optimizers import Optimizer, build_optimizer


@dataclass(frozen=True)
class Program:
    """The parts that a trial is composed of."""

    model: Model
    prior: Prior
    likelihood: Likelihood
    objective: Objective
    optimizer: Optimizer


def build_program(config: TrialConfig, shape: tuple[int, ...], total_steps: int) -> Program:
    """The parts of a resolved configuration, for examples of this shape and a budget in steps."""
    return Program(
        build_model(config.model, shape),
        build_prior(config.model),
        build_likelihood(config),
        build_objective(config, math.prod(shape), total_steps),
        build_optimizer(config),
    )
