"""The Gaussian likelihood with one σ for all elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from trainables import distributions
from trainables.config import DataConfig, TrialConfig
from trainables.data.dataset import DataFacts
from trainables.elementwise import sigmoid
from trainables.errors import ConfigError
from trainables.likelihoods.base import Fit, Likelihood

AUTO_SHARE = 0.6
"""`model.sigma: auto` in units of the RMS error of the mean image."""


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """p(x|z) = N(x; mean, σ²I).

    Parameters
    ----------
    start
        σ, or where a learned σ begins.
    output
        `sigmoid` or `identity`: what turns the decoder's output into the mean.

    Examples
    --------
    >>> import torch
    >>> likelihood, x = Gaussian(1.0, "identity"), torch.tensor([[1.0, 1.0]])
    >>> likelihood.terms(x, torch.zeros(1, 2), {}, {"sigma": torch.tensor(1.0)})  # 1 + ln 2π, and 1² + 1²
    (tensor([2.8379]), tensor([2.]))
    >>> likelihood.equivalent_sigma(0.25, {})  # √β·σ
    {'schedule/sigma_eq': 0.5}
    """

    kind = "gaussian"
    metric = "val/elbo_cal"
    constraints = ("re",)

    start: float
    output: str

    @classmethod
    def of(cls, config: TrialConfig) -> Self:
        if not isinstance(config.model.sigma, float):
            raise ValueError("model.sigma must be resolved before training")
        return cls(config.model.sigma, config.model.output)

    @classmethod
    def check_data(cls, data: DataConfig, facts: DataFacts) -> None:
        pass

    @classmethod
    def check(cls, config: TrialConfig) -> None:
        pass

    @classmethod
    def sigma(cls, config: TrialConfig, facts: DataFacts) -> float:
        if isinstance(config.model.sigma, float):
            return config.model.sigma
        if facts.kappa_max["re"] == 0:
            raise ConfigError("model.sigma: auto needs data that vary, and all training examples are equal")
        return AUTO_SHARE * facts.kappa_max["re"]

    def scales(self) -> dict[str, float]:
        return {"sigma": self.start}

    def sigma_of(self, params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]) -> Tensor:
        """σ at a step."""
        return hyper["sigma"]

    def mean(self, output: Tensor) -> Tensor:
        return sigmoid(output) if self.output == "sigmoid" else output

    def terms(
        self, x: Tensor, output: Tensor, params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        sse = distributions.squared_error(x, self.mean(output))
        return distributions.gaussian_nll(sse, self.sigma_of(params, hyper)[..., None], x.shape[-1]), sse

    def metrics(self, found: Fit, train: Fit, n_elements: int) -> dict[str, Tensor]:
        return {"elbo_cal": calibrated_elbo(found, train, n_elements)}

    def final_sigma(self, params: Mapping[str, Tensor]) -> float:
        """σ after the last step, at which evaluations are."""
        return self.start

    def equivalent_sigma(self, beta: float, params: Mapping[str, Tensor]) -> dict[str, float]:
        return {"schedule/sigma_eq": math.sqrt(beta) * self.final_sigma(params)}

    def equivalent_beta(self, weight: float) -> dict[str, float]:
        """λ·SSE weighs as SSE/2σ² does at β = 1/(2λσ²)."""
        return {"schedule/beta": 1 / (2 * weight * self.start**2)}


def calibrated_elbo(found: Fit, train: Fit, n_elements: int) -> Tensor:
    """−D/2·[ln(2πσ̂²) + mse/σ̂²] − KL, with σ̂² the training mse per element: the ELBO whatever `model.sigma` is.

    Parameters
    ----------
    found
        The errors of the examples that it is of.
    train
        Those of training examples, which σ̂ fits.
    n_elements
        D.

    Returns
    -------
    Tensor
        A scalar, in nats per example.
    """
    variance = train.sse.mean(-1) / n_elements
    return -distributions.gaussian_nll(found.sse.mean(-1), variance.sqrt(), n_elements) - found.kl.sum(-1).mean(-1)
