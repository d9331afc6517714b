"""How a trial that trained to its end has ended, in a word."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.data.dataset import Dataset
from trainables.distributions import bernoulli_nll, squared_error
from trainables.metrics import Evaluation
from trainables.objectives import GecoObjective, Objective, Violation
from trainables.objectives import outcome as geco_outcome
from trainables.objectives.base import State
from trainables.outcome import WORSE_THAN_MEAN

__all__ = ["Ending", "ending_of", "worse_than_mean"]

TOLERANCE = 0.02
CHUNK = 1_000


class Ending(NamedTuple):
    """outcome: worse-than-mean, else under GECO how its constraint stood, else ok. metrics: what it was judged by."""

    outcome: str
    metrics: dict[str, float]


def ending_of(
    objective: Objective, state: State, likelihood: str, dataset: Dataset, x: Tensor, val: Evaluation, train: Evaluation
) -> Ending:
    """x: the validation examples of `val`. train: of training examples. The error is the one that is trained on."""
    if not isinstance(objective, GecoObjective):
        constraint = "nll" if likelihood == "bernoulli" else "re"
        worse = worse_than_mean(val.distortion(constraint), mean_image_distortion(dataset, x, constraint))
        return Ending(WORSE_THAN_MEAN if worse else "ok", {})
    numbers = {name: float(value) for name, value in state.items()}
    violation = Violation.at_end(train.distortion(objective.constraint), objective, numbers)
    found = {"geco/violation": violation.mean, "geco/violation_se": violation.stderr}
    error, of_mean = val.distortion(objective.constraint), mean_image_distortion(dataset, x, objective.constraint)
    if worse_than_mean(error, of_mean, accepted=objective.n_elements * objective.target):
        return Ending(WORSE_THAN_MEAN, found)
    return Ending(geco_outcome(objective, numbers, violation), found)


def worse_than_mean(error: Tensor, of_mean: Tensor, accepted: float = 0.0) -> bool:
    """Whether a model's error is above the mean image's by more than chance, and above what was accepted.

    By chance are 2 % of the mean image's error, or twice its standard error: a collapsed posterior decodes to the mean
    image. error, of_mean: of the same examples, [N].
    """
    mean, limit = float(error.double().mean()), float(of_mean.double().mean())
    stderr = float(of_mean.double().std(correction=0)) / math.sqrt(len(of_mean))
    return mean > limit + max(TOLERANCE * limit, 2 * stderr) and mean > accepted


def mean_image_distortion(dataset: Dataset, x: Tensor, constraint: str) -> Tensor:
    """What the training examples' mean image leaves of each example: SSE (`re`), or the nats of its bits (`nll`).

    The probability of a bit is (its sum + 1)/(N + 2), so that one never seen costs a finite number. x [B, D] → [B].
    """
    mean = dataset.train_mean
    if constraint == "re":
        return torch.cat([squared_error(part, mean) for part in torch.split(x, CHUNK)])
    n = len(dataset.train)
    logits = torch.logit((n * mean + 1) / (n + 2))
    return torch.cat([bernoulli_nll(part, logits.expand_as(part)) for part in torch.split(x, CHUNK)])
