"""What a likelihood p(x|z) is: what its decoder's output costs, what it learns itself, and what it has to report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from trainables.config import DataConfig, TrialConfig
from trainables.data.dataset import DataFacts


class Fit(Protocol):
    """What one pass over N examples says of the fit: sse [N], and the KL of each latent, kl [N, M]."""

    @property
    def sse(self) -> Tensor: ...

    @property
    def kl(self) -> Tensor: ...


class Likelihood(ABC):
    """p(x|z) of a resolved configuration.

    Attributes
    ----------
    kind
        Its name in `data.likelihood`.
    metric
        The metric by which trials under it are compared, unless another is asked for.
    constraints
        The errors that GECO can bound under it: `re`, the squared error, and `nll`, its own negative log-likelihood;
        the first is the default, and the one by which a trial is called worse than the mean image.
    """

    kind: ClassVar[str]
    metric: ClassVar[str]
    constraints: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def of(cls, config: TrialConfig) -> Likelihood:
        """The likelihood of a resolved configuration."""

    @classmethod
    @abstractmethod
    def check_data(cls, data: DataConfig, facts: DataFacts) -> None:
        """Raise ConfigError where it does not describe the data."""

    @classmethod
    @abstractmethod
    def check(cls, config: TrialConfig) -> None:
        """Raise ConfigError where a resolved configuration asks for what it does not have."""

    @classmethod
    @abstractmethod
    def sigma(cls, config: TrialConfig, facts: DataFacts) -> float | None:
        """`model.sigma` as a number; None where it has no σ."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """E[x|z] from the decoder's output, [..., D] → [..., D]."""

    @abstractmethod
    def terms(
        self, x: Tensor, output: Tensor, params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(recon_nll, sse) of each example, the error being that of the mean. x [B, D], output [..., B, D] → [..., B].

        params: those of `init` are among them. hyper: those of `scales` are, as they are at this step.
        """

    def init(self, device: torch.device) -> dict[str, Tensor]:
        """What it learns itself, by names that begin with `likelihood.`; nothing by default."""
        return {}

    def scales(self) -> dict[str, float]:
        """Its own numbers in the unit of the data (σ), which `beta.kind=gqn` anneals; nothing by default."""
        return {}

    def mean_image_nll(self, x: Tensor, mean: Tensor, n: int) -> Tensor:
        """What the mean image of n training examples costs each example, in nats. Of likelihoods with `nll` alone."""
        raise NotImplementedError(f"{self.kind} has no constraint nll")

    def metrics(self, found: Fit, train: Fit, n_elements: int) -> dict[str, Tensor]:
        """What it reports of a part of the data beside the ELBO. train: of training examples."""
        return {}

    def equivalent_sigma(self, beta: float, params: Mapping[str, Tensor]) -> dict[str, float]:
        """`schedule/sigma_eq`: the σ at which a KL of weight 1 counts as it does at this β; nothing without a σ."""
        return {}

    def equivalent_beta(self, weight: float) -> dict[str, float]:
        """`schedule/beta`: the β that counts as this weight of the squared error does; nothing without a σ."""
        return {}


def has_bits(data: DataConfig, facts: DataFacts) -> bool:
    """Whether training examples are bits, by themselves or drawn."""
    return facts.bits or data.binarize in ("dynamic", "fixed")
