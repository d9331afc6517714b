"""What is static about a trial, and what its likelihood makes of the decoder's output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables import distributions
from trainables.config import OptimizerConfig
from trainables.models import Model
from trainables.objectives import Objective
from trainables.optimizers import LrGroups

__all__ = ["Program", "decoded_mean", "likelihood_terms"]


@dataclass(frozen=True)
class Program:
    """What is static about a trial: everything that is not a tensor.

    output: `sigmoid` or `identity`, what turns the decoder's output into the mean of p(x|z).
    """

    model: Model
    objective: Objective
    likelihood: str
    output: str
    optimizer: OptimizerConfig
    groups: LrGroups


def decoded_mean(program: Program, output: Tensor) -> Tensor:
    """The mean of p(x|z)."""
    return output.sigmoid() if program.output == "sigmoid" else output


def likelihood_terms(program: Program, x: Tensor, output: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(recon_nll, sse) of each example, from the decoder's output; the error is that of the mean."""
    sse = distributions.squared_error(x, decoded_mean(program, output))
    if program.likelihood == "bernoulli":
        return distributions.bernoulli_nll(x, output), sse
    return distributions.gaussian_nll(sse, sigma, x.shape[-1]), sse
