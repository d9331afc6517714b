"""p(z): the distribution that the KL of a posterior is taken to, and that samples are drawn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables import distributions


class Prior(ABC):
    """A distribution of M independent latents."""

    @abstractmethod
    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(N(mean, s²) ‖ p) of each latent, in nats.

        Parameters
        ----------
        mean, log_variance
            Mean and ln s², [..., M].

        Returns
        -------
        Tensor
            [..., M].
        """

    @abstractmethod
    def kl_of_moments(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """KL(N(mean, covariance) ‖ p) of all latents together, in nats.

        Parameters
        ----------
        mean
            [M].
        covariance
            [M, M].

        Returns
        -------
        Tensor
            A scalar.
        """

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) = Σ_j log p(z_j), in nats.

        Parameters
        ----------
        z
            [..., M].

        Returns
        -------
        Tensor
            [...].
        """

    @abstractmethod
    def sample(self, shape: Sequence[int], draw: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
        """Draw latents.

        Parameters
        ----------
        shape
            [..., M].
        draw
            The generator; None for torch's global one.
        device
            Where they are made.

        Returns
        -------
        Tensor
            z of this shape.
        """

    def log_ratio(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """log N(z; mean, diag s²) − log p(z), whose mean over z ~ N(mean, s²) is the KL.

        Parameters
        ----------
        z, mean, log_variance
            [..., M].

        Returns
        -------
        Tensor
            [...].
        """
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
