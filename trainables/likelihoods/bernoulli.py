"""The Bernoulli likelihood of bits, whose decoder gives logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables import distributions
from trainables.config import DataConfig, TrialConfig
from trainables.data.dataset import DataFacts
from trainables.elementwise import sigmoid
from trainables.errors import ConfigError
from trainables.likelihoods.base import Likelihood, has_bits
from trainables.schedules.beta import GqnBeta


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """p(x|z) = Π_d p_d^{x_d}(1 − p_d)^{1 − x_d}, p = sigmoid(decoder's output)."""

    kind = "bernoulli"
    metric = "val/elbo"
    constraints = ("nll", "re")

    @classmethod
    def of(cls, config: TrialConfig) -> Bernoulli:
        return cls()

    @classmethod
    def check_data(cls, data: DataConfig, facts: DataFacts) -> None:
        if not (facts.low >= 0 and facts.high <= 1):
            raise ConfigError(
                f"data.likelihood: bernoulli needs values in [0, 1], the data span [{facts.low:g}, {facts.high:g}]; "
                "rescale them or use gaussian"
            )
        if not (has_bits(data, facts) or data.binarize == "soft"):
            raise ConfigError(
                "data.likelihood: bernoulli describes bits and the data are gray; set data.binarize to dynamic or "
                "fixed, or to soft to fit gray values on purpose"
            )

    @classmethod
    def check(cls, config: TrialConfig) -> None:
        if config.model.learn_sigma:
            raise ConfigError("model.learn_sigma: the Bernoulli likelihood has no sigma to learn; set it to false")
        if isinstance(config.beta, GqnBeta):
            raise ConfigError(
                "beta.kind: gqn anneals sigma, which the Bernoulli likelihood does not have; allowed: any other kind"
            )

    @classmethod
    def sigma(cls, config: TrialConfig, facts: DataFacts) -> None:
        return None

    def mean(self, output: Tensor) -> Tensor:
        return sigmoid(output)

    def terms(
        self, x: Tensor, output: Tensor, params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        sse = distributions.squared_error(x, self.mean(output))
        return distributions.bernoulli_nll(x, output), sse

    def mean_image_nll(self, x: Tensor, mean: Tensor, n: int) -> Tensor:
        """The probability of a bit is (its sum + 1)/(n + 2), so that one never seen costs a finite number."""
        logits = torch.logit((n * mean + 1) / (n + 2))
        return distributions.bernoulli_nll(x, logits.expand_as(x))
