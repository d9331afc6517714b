"""p(z): what a posterior's KL is taken to, and what samples are drawn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables import distributions


class Prior(ABC):
    """A distribution of M latents that are independent of each other."""

    @abstractmethod
    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(N(mean, s²) ‖ p) of each latent. [..., M] → [..., M]."""

    @abstractmethod
    def kl_of_moments(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """KL(N(mean, covariance) ‖ p) of all latents together. mean [M], covariance [M, M] → scalar."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) = Σ_j log p(z_j). z [..., M] → [...]."""

    @abstractmethod
    def sample(self, shape: Sequence[int], draw: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
        """Draws of this shape, [..., M]; from torch's global generator where none is given."""

    def log_ratio(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """log N(z; mean, diag s²) − log p(z), whose mean over z ~ N(mean, s²) is the KL. [..., M] → [...]."""
        return distributions.log_normal(z, mean, log_variance) - self.log_density(z)


class StandardNormal(Prior):
    """N(0, I).

    Examples
    --------
    >>> STANDARD_NORMAL.kl(torch.tensor([2.0, 0.0]), torch.zeros(2))
    tensor([2., 0.])
    """

    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return distributions.kl_to_standard_normal(mean, log_variance)

    def kl_of_moments(self, mean: Tensor, covariance: Tensor) -> Tensor:
        return distributions.kl_full_gaussian(mean, covariance)

    def log_density(self, z: Tensor) -> Tensor:
        zero = torch.zeros_like(z)
        return distributions.log_normal(z, zero, zero)

    def sample(self, shape: Sequence[int], draw: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
        return torch.randn(shape, generator=draw, device=device)


STANDARD_NORMAL = StandardNormal()
