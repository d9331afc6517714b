"""What the posteriors of many examples say together: the aggregate posterior q(z) = (1/N) Σ_i q(z|x_i)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables import distributions
from trainables.models.priors import STANDARD_NORMAL, Prior

AGGREGATE_EXAMPLES = 1_000
ACTIVE_VARIANCE = 0.01
DRAWS_OF_A_DIMENSION = 5_000
SATURATION_MARGIN = 0.5


def active_units(mean: Tensor) -> Tensor:
    """#{j : Var_x E_q[z_j] > 0.01}, over the first 1,000 examples (Burda et al. 2015, arXiv 1509.00519).

    Parameters
    ----------
    mean
        Means of the posteriors, [..., N, M]. Of fewer than two examples no unit is active.

    Returns
    -------
    Tensor
        A count from 0 to M. The variance is the unbiased one.

    Examples
    --------
    >>> active_units(torch.tensor([[0.0, 1.0], [0.1, -1.0]])).item()  # variances of 0.005 and 2
    1
    """
    if mean.shape[-2] < 2:
        return torch.zeros(mean.shape[:-2], device=mean.device)
    return (mean[..., :AGGREGATE_EXAMPLES, :].var(-2) > ACTIVE_VARIANCE).sum(-1)


def agg_kl_gauss(mean: Tensor, log_variance: Tensor, prior: Prior = STANDARD_NORMAL) -> Tensor:
    """KL(N(mean, covariance of q(z)) ‖ p) in nats: how far the first two moments are from the prior's.

    It is a lower bound of the marginal KL in the limit of many examples. With N examples it is biased upwards by the
    noise of mean and covariance, which falls as 1/N.

    Parameters
    ----------
    mean, log_variance
        Of the posteriors, [N, M].
    prior
        p(z).

    Returns
    -------
    Tensor
        A scalar, float64.

    Examples
    --------
    >>> agg_kl_gauss(torch.tensor([[1.0], [-1.0]]), torch.full((2, 1), -60.0)).item() < 1e-6  # mean 0, variance 1
    True
    """
    mean, variance = mean.double(), log_variance.double().exp()
    covariance = torch.cov(mean.T, correction=0).reshape(mean.shape[1], -1) + torch.diag(variance.mean(0))
    return prior.kl_of_moments(mean.mean(0), covariance)


def agg_kl_dims(mean: Tensor, log_variance: Tensor, draw: torch.Generator, prior: Prior = STANDARD_NORMAL) -> Tensor:
    """Σ_j KL(q_j(z_j) ‖ p(z_j)) in nats, q_j = (1/N) Σ_i N(μ_ij, s_ij²): the part of the marginal KL in single latents.

    Estimated by 5,000 draws from each q_j. It is biased upwards by the finite N, as `agg_kl_gauss` is.

    Parameters
    ----------
    mean, log_variance
        μ and ln s² of the posteriors, [N, M].
    draw
        Where the draws come from.
    prior
        p(z).

    Returns
    -------
    Tensor
        A scalar, float64.
    """
    mean, log_variance = mean.double(), log_variance.double()
    total = torch.zeros((), dtype=torch.float64, device=mean.device)
    for location, log_scale in zip(mean.T, log_variance.T, strict=True):
        own = torch.randint(len(mean), (DRAWS_OF_A_DIMENSION,), generator=draw, device=mean.device)
        noise = torch.randn(DRAWS_OF_A_DIMENSION, generator=draw, device=mean.device, dtype=torch.float64)
        z = distributions.reparameterise(location[own], log_scale[own], noise)[:, None]
        pairs = distributions.log_normal_pairs(z, location[:, None], log_scale[:, None])
        total += (pairs.logsumexp(1) - math.log(len(mean)) - prior.log_density(z)).mean()
    return total


def mutual_information(mean: Tensor, log_variance: Tensor, z: Tensor) -> Tensor:
    """I_q(x; z) = E_x E_q(z|x)[log q(z|x) − log (1/N) Σ_i q(z|x_i)] in nats, at most ln N (Hoffman & Johnson 2016).

    By one draw from each posterior; the mixture contains the example's own. It is biased downwards, since N posteriors
    stand for those of all data: it rises with N, and where posteriors hardly overlap it is ln N (`saturated`). The rest
    of the KL is the marginal KL, KL(q(z) ‖ p) = E KL(q(z|x) ‖ p) − I, which is biased upwards by as much.

    Parameters
    ----------
    mean, log_variance
        Of the posteriors, [N, M].
    z
        A draw from each, [N, M].

    Returns
    -------
    Tensor
        A scalar, float64.

    Examples
    --------
    >>> far_apart = torch.tensor([[-100.0], [100.0]])
    >>> mutual_information(far_apart, torch.zeros(2, 1), far_apart)  # ln 2
    tensor(0.6931, dtype=torch.float64)
    """
    mean, log_variance, z = mean.double(), log_variance.double(), z.double()
    own = distributions.log_normal(z, mean, log_variance)
    pairs = distributions.log_normal_pairs(z, mean, log_variance)
    return (own - pairs.logsumexp(1)).mean() + math.log(len(mean))


def saturated(mutual_info: float, n: int) -> bool:
    """Whether a mutual information is within half a nat of its bound ln N, so that it and the marginal KL show only N.

    Parameters
    ----------
    mutual_info
        In nats.
    n
        N, the examples that it is estimated from.

    Returns
    -------
    bool
        True where neither number is a result.

    Examples
    --------
    >>> saturated(4.0, 1000), saturated(6.8, 1000)  # ln 1000 = 6.9
    (False, True)
    """
    return mutual_info > math.log(n) - SATURATION_MARGIN
