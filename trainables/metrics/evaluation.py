"""How well a model fits examples: one pass over them under a fixed noise. Nats per example unless said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables import distributions
from trainables.program import Program
from trainables.random_streams import generator

CHUNK = 1_000


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

    def distortion(self, constraint: str) -> Tensor:
        """What GECO's constraint of this name bounds: the SSE (`re`), or recon_nll (`nll`). [N]."""
        return self.sse if constraint == "re" else self.recon_nll


def evaluation_noise(n: int, latent_dim: int, seed: int, part: str, device: torch.device, sample: int = 0) -> Tensor:
    """The noise of an evaluation, equal for all trials of a split_seed; one draw for each `sample`. [N, M]."""
    draw = generator(device, seed, f"evaluation/{part}", sample)
    return torch.randn(n, latent_dim, generator=draw, device=device)


@torch.no_grad()
def evaluate(
    program: Program, params: Mapping[str, Tensor], x: Tensor, noise: Tensor, scales: Mapping[str, Tensor]
) -> Evaluation:
    """Encode and decode every example, in chunks whose size does not show in the result. x [N, D], noise [N, M].

    params: with the buffers. scales: the likelihood's, as tensors.
    """
    parts: list[tuple[Tensor, ...]] = []
    for batch, draw in zip(torch.split(x, CHUNK), torch.split(noise, CHUNK), strict=True):
        mean, log_variance = program.model.encode(params, batch)
        z = distributions.reparameterise(mean, log_variance, draw)
        recon_nll, sse = program.likelihood.terms(batch, program.model.decode(params, z), params, scales)
        _, sse_mean_z = program.likelihood.terms(batch, program.model.decode(params, mean), params, scales)
        kl = program.prior.kl(mean, log_variance)
        parts.append((recon_nll, sse, sse_mean_z, kl, mean, log_variance, z))
    return Evaluation(*(torch.cat(column) for column in zip(*parts, strict=True)))
