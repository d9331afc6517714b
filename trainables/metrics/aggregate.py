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
    """#{j : Var_x E_q[z_j] > .01}, unbiased, over the first 1,000 examples (Burda et al. 2015). mean [N, M]."""
    if len(mean) < 2:
        return torch.zeros((), device=mean.device)
    return (mean[:AGGREGATE_EXAMPLES].var(0) > ACTIVE_VARIANCE).sum()


def agg_kl_gauss(mean: Tensor, log_variance: Tensor, prior: Prior = STANDARD_NORMAL) -> Tensor:
    """KL(N(mean, cov of q(z)) ‖ p): what the prior's first two moments miss.

    A lower bound of the marginal KL in the limit of many examples; of N it is biased up, by the noise of mean and
    covariance, which falls as 1/N. mean, log_variance [N, M].
    """
    mean, variance = mean.double(), log_variance.double().exp()
    covariance = torch.cov(mean.T, correction=0).reshape(mean.shape[1], -1) + torch.diag(variance.mean(0))
    return prior.kl_of_moments(mean.mean(0), covariance)


def agg_kl_dims(mean: Tensor, log_variance: Tensor, draw: torch.Generator, prior: Prior = STANDARD_NORMAL) -> Tensor:
    """Σ_j KL(q_j(z_j) ‖ p(z_j)), q_j = (1/N) Σ_i N(μ_ij, s_ij²): the part of the marginal KL that single latents show.

    By 5,000 draws from each q_j; biased up by the finite N, as `agg_kl_gauss` is. mean, log_variance [N, M].
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
    """I_q(x; z) by the mixture of the N posteriors, own included (Hoffman & Johnson 2016): at most ln N.

    E_x E_q(z|x)[log q(z|x) − log (1/N) Σ_i q(z|x_i)], one draw an example. Biased down, by the KL of the N posteriors'
    mixture from all data's: it rises with N, and where posteriors hardly overlap it is ln N (`saturated`). The marginal
    KL that is what remains of the KL, KL(q(z) ‖ p) = E KL(q(z|x) ‖ p) − I, is biased up by as much.
    mean, log_variance, z [N, M].
    """
    mean, log_variance, z = mean.double(), log_variance.double(), z.double()
    own = distributions.log_normal(z, mean, log_variance)
    pairs = distributions.log_normal_pairs(z, mean, log_variance)
    return (own - pairs.logsumexp(1)).mean() + math.log(len(mean))


def saturated(mutual_info: float, n: int) -> bool:
    """Whether a mutual information is too near its bound ln N to be a result; the marginal KL then is none either."""
    return mutual_info > math.log(n) - SATURATION_MARGIN
