"""What is reported of a model: definitions, estimators and their biases. Nats per example unless said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables import distributions
from trainables.random_streams import generator
from trainables.step import Program, likelihood_terms

__all__ = [
    "Evaluation",
    "active_units",
    "agg_kl_gauss",
    "calibrated_elbo",
    "evaluate",
    "evaluation_noise",
    "mutual_information",
    "saturated",
]

CHUNK = 1_000
AGGREGATE_EXAMPLES = 1_000
ACTIVE_VARIANCE = 0.01
SATURATION_MARGIN = 0.5


@dataclass(frozen=True)
class Evaluation:
    """What one pass over N examples yields, with z ~ q under a fixed noise.

    recon_nll, sse, sse_mean_z (decoded from z = E q) [N]; kl, mean, log_variance, z [N, M].
    """

    recon_nll: Tensor
    sse: Tensor
    sse_mean_z: Tensor
    kl: Tensor
    mean: Tensor
    log_variance: Tensor
    z: Tensor

    def elbo(self) -> Tensor:
        """β = 1, unclipped KL, the configured likelihood with its constants."""
        return -(self.recon_nll.mean() + self.kl.sum(-1).mean())


def evaluation_noise(n: int, latent_dim: int, seed: int, part: str, device: torch.device) -> Tensor:
    """The noise of an evaluation, equal for all trials of a split_seed. [N, M]."""
    return torch.randn(n, latent_dim, generator=generator(device, seed, f"evaluation/{part}"), device=device)


@torch.no_grad()
def evaluate(program: Program, params: Mapping[str, Tensor], x: Tensor, noise: Tensor, sigma: Tensor) -> Evaluation:
    """Encode and decode every example, in chunks whose size does not show in the result. x [N, D], noise [N, M]."""
    parts: list[tuple[Tensor, ...]] = []
    for batch, draw in zip(torch.split(x, CHUNK), torch.split(noise, CHUNK), strict=True):
        mean, log_variance = program.model.encode(params, batch)
        z = distributions.reparameterise(mean, log_variance, draw)
        recon_nll, sse = likelihood_terms(program, batch, program.model.decode(params, z), sigma)
        _, sse_mean_z = likelihood_terms(program, batch, program.model.decode(params, mean), sigma)
        kl = distributions.kl_to_standard_normal(mean, log_variance)
        parts.append((recon_nll, sse, sse_mean_z, kl, mean, log_variance, z))
    return Evaluation(*(torch.cat(column) for column in zip(*parts, strict=True)))


def calibrated_elbo(val: Evaluation, train: Evaluation, n_elements: int) -> Tensor:
    """The ELBO under the σ that fits the training error: takes σ out of the comparison of dials.

    −D/2·[ln(2πσ̂²) + val_mse/σ̂²] − KL with σ̂² the training mse per element, z ~ q.
    """
    variance = train.sse.mean() / n_elements
    return -distributions.gaussian_nll(val.sse.mean(), variance.sqrt(), n_elements) - val.kl.sum(-1).mean()


def active_units(mean: Tensor) -> Tensor:
    """#{j : Var_x E_q[z_j] > .01}, unbiased, over the first 1,000 examples (Burda et al. 2015). mean [N, M]."""
    if len(mean) < 2:
        return torch.zeros((), device=mean.device)
    return (mean[:AGGREGATE_EXAMPLES].var(0) > ACTIVE_VARIANCE).sum()


def agg_kl_gauss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, cov of q(z)) ‖ N(0, I)), q(z) the aggregate posterior of the examples. mean, log_variance [N, M]."""
    mean, variance = mean.double(), log_variance.double().exp()
    covariance = torch.cov(mean.T, correction=0).reshape(mean.shape[1], -1) + torch.diag(variance.mean(0))
    return distributions.kl_full_gaussian(mean.mean(0), covariance)


def mutual_information(mean: Tensor, log_variance: Tensor, z: Tensor) -> Tensor:
    """I_q(x; z) by the mixture of the N posteriors, own included (Hoffman & Johnson 2016): at most ln N.

    E_x E_q(z|x)[log q(z|x) − log (1/N) Σ_i q(z|x_i)], one draw an example. Biased down towards ln N where posteriors
    hardly overlap (`saturated`). mean, log_variance, z [N, M].
    """
    mean, log_variance, z = mean.double(), log_variance.double(), z.double()
    own = distributions.log_normal(z, mean, log_variance)
    pairs = distributions.log_normal_pairs(z, mean, log_variance)
    return (own - pairs.logsumexp(1)).mean() + math.log(len(mean))


def saturated(mutual_info: float, n: int) -> bool:
    """Whether a mutual information is too near its bound ln N to be a result; the marginal KL then is none either."""
    return mutual_info > math.log(n) - SATURATION_MARGIN
