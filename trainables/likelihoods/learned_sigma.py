"""The standard deviation of a Gaussian likelihood as a parameter: σ = √(1/256² + exp(log_variance)).

The floor, a gray level of an 8-bit image, keeps the likelihood of data that lie on a grid bounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["FLOOR", "PARAMETER", "init", "sigma_of"]

FLOOR = 1 / 256
PARAMETER = "likelihood.log_variance"


def init(sigma: float, device: torch.device) -> dict[str, Tensor]:
    """The parameter whose σ is this one, above the floor."""
    return {PARAMETER: torch.tensor(math.log(sigma**2 - FLOOR**2), device=device)}


def sigma_of(params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]) -> Tensor:
    """σ of the likelihood: learned where it is among the parameters, else the step's `sigma`."""
    learned = params.get(PARAMETER)
    return hyper["sigma"] if learned is None else (FLOOR**2 + learned.exp()).sqrt()
