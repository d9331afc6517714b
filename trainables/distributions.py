"""Log-densities and divergences: the only copy of each formula. Nats, summed over elements, one value an example."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables.elementwise import softplus

LOG_2PI = math.log(2 * math.pi)


def squared_error(x: Tensor, mean: Tensor) -> Tensor:
    """SSE = Σ_d (x_d − μ_d)² of each example.

    Parameters
    ----------
    x
        Examples, [B, D].
    mean
        [..., B, D].

    Returns
    -------
    Tensor
        [..., B].

    Examples
    --------
    >>> squared_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([5.])
    """
    return (x - mean).square().sum(-1)


def gaussian_nll(sse: Tensor, sigma: Tensor, n_elements: int) -> Tensor:
    """−log N(x; μ, σ²I) = SSE/2σ² + D/2·ln(2πσ²) in nats, from the squared error.

    Parameters
    ----------
    sse
        Squared errors, summed over elements, [...].
    sigma
        σ, a scalar or [...].
    n_elements
        D, the elements of an example.

    Returns
    -------
    Tensor
        [...].

    Examples
    --------
    >>> gaussian_nll(torch.tensor([2.0]), torch.tensor(1.0), n_elements=2)  # 1 + ln 2π
    tensor([2.8379])
    """
    return sse / (2 * sigma.square()) + n_elements * (sigma.log() + LOG_2PI / 2)


def bernoulli_nll(x: Tensor, logits: Tensor) -> Tensor:
    """−Σ_d [x_d·ln p_d + (1 − x_d)·ln(1 − p_d)] = Σ_d [softplus(l_d) − x_d·l_d] in nats, with p = sigmoid(l).

    Parameters
    ----------
    x
        Bits, or probabilities of bits, [B, D].
    logits
        [..., B, D].

    Returns
    -------
    Tensor
        [..., B].

    Examples
    --------
    >>> bernoulli_nll(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))  # 2·ln 2
    tensor([1.3863])
    """
    return (softplus(logits) - x * logits).sum(-1)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, s²) ‖ N(0, 1)) = ½(μ² + s² − 1 − ln s²) of each latent, in nats.

    Parameters
    ----------
    mean, log_variance
        μ and ln s², [..., M].

    Returns
    -------
    Tensor
        [..., M].

    Examples
    --------
    >>> kl_to_standard_normal(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 0.0]))
    tensor([2., 0.])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; μ, diag s²) in nats.

    Parameters
    ----------
    z, mean, log_variance
        z, μ and ln s², [..., M].

    Returns
    -------
    Tensor
        [...].

    Examples
    --------
    >>> log_normal(torch.zeros(2), torch.zeros(2), torch.zeros(2))  # −ln 2π
    tensor(-1.8379)
    """
    return -0.5 * ((z - mean).square() * (-log_variance).exp() + log_variance + LOG_2PI).sum(-1)


def log_normal_pairs(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z_b; μ_n, diag s_n²) of every pair, in nats.

    The square is expanded so that matrices do the work. Cancellation grows with |μ|/s: give float64.

    Parameters
    ----------
    z
        [B, M].
    mean, log_variance
        μ and ln s², [N, M].

    Returns
    -------
    Tensor
        [B, N].

    Examples
    --------
    >>> log_normal_pairs(torch.zeros(1, 1), torch.tensor([[0.0], [2.0]]), torch.zeros(2, 1))
    tensor([[-0.9189, -2.9189]])
    """
    precision = (-log_variance).exp()
    square = z.square() @ precision.T - 2 * z @ (mean * precision).T + (mean.square() * precision).sum(-1)
    return -0.5 * (square + (log_variance + LOG_2PI).sum(-1))


def log_mean_exp(values: Tensor, dim: int) -> Tensor:
    """log (1/K)Σ_k exp(v_k).

    Parameters
    ----------
    values
        v, with K values along an axis.
    dim
        That axis.

    Returns
    -------
    Tensor
        Without the axis.

    Examples
    --------
    >>> log_mean_exp(torch.tensor([-1000.0, -1000.0]), dim=0)
    tensor(-1000.)
    """
    return values.logsumexp(dim) - math.log(values.shape[dim])


def kl_full_gaussian(mean: Tensor, covariance: Tensor) -> Tensor:
    """KL(N(μ, Σ) ‖ N(0, I)) = ½(tr Σ + |μ|² − M − ln det Σ) in nats.

    Parameters
    ----------
    mean
        μ, [M].
    covariance
        Σ, [M, M].

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> kl_full_gaussian(torch.tensor([2.0, 0.0]), torch.eye(2))
    tensor(2.)
    """
    return 0.5 * (covariance.trace() + mean.square().sum() - len(mean) - torch.logdet(covariance))


def reparameterise(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = μ + s·ε: a draw from N(μ, s²) that gradients pass through (Kingma & Welling 2014, arXiv 1312.6114).

    Parameters
    ----------
    mean, log_variance
        μ and ln s², [..., M].
    noise
        ε ~ N(0, 1), [..., M].

    Returns
    -------
    Tensor
        z, [..., M].

    Examples
    --------
    >>> reparameterise(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([0.5]))
    tensor([1.5000])
    """
    return torch.addcmul(mean, (0.5 * log_variance).exp(), noise)
