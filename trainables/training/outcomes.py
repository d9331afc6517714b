"""The outcome of a trial that trained to its end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables.data.dataset import Dataset
from trainables.distributions import squared_error
from trainables.likelihoods import Likelihood
from trainables.metrics import Evaluation
from trainables.objectives import Ending, State
from trainables.outcome import WORSE_THAN_MEAN
from trainables.program import Program

TOLERANCE = 0.02
CHUNK = 1_000


def ending_of(
    program: Program, state: State, dataset: Dataset, x: Tensor, val: Evaluation, train: Evaluation
) -> Ending:
    """How a trial ended: worse-than-mean, else the objective's own outcome, by the error that it was trained on.

    x: the validation examples of `val`. train: of training examples.
    """
    objective, likelihood = program.objective, program.likelihood
    kind = objective.error(likelihood)
    found = objective.ending(train.distortion(kind), {name: float(value) for name, value in state.items()})
    of_mean = mean_image_distortion(likelihood, dataset, x, kind)
    worse = worse_than_mean(val.distortion(kind), of_mean, objective.accepted)
    return Ending(WORSE_THAN_MEAN, found.metrics) if worse else found


def worse_than_mean(error: Tensor, of_mean: Tensor, accepted: float = 0.0) -> bool:
    """Whether a model's error is above the mean image's by more than chance, and above the accepted one.

    Chance is 2 % of the mean image's error, or twice its standard error: a collapsed posterior decodes to the mean
    image. error, of_mean: of the same examples, [N].
    """
    mean, limit = float(error.double().mean()), float(of_mean.double().mean())
    stderr = float(of_mean.double().std(correction=0)) / math.sqrt(len(of_mean))
    return mean > limit + max(TOLERANCE * limit, 2 * stderr) and mean > accepted


def mean_image_distortion(likelihood: Likelihood, dataset: Dataset, x: Tensor, constraint: str) -> Tensor:
    """The error of the training examples' mean image for each example: SSE (`re`), or nats (`nll`). x [B, D] → [B]."""
    mean, n, parts = dataset.train_mean, len(dataset.train), torch.split(x, CHUNK)
    if constraint == "re":
        return torch.cat([squared_error(part, mean) for part in parts])
    return torch.cat([likelihood.mean_image_nll(part, mean, n) for part in parts])
