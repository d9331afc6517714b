"""How well a model fits examples: one pass over them under a fixed noise. Nats per example unless said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trainables import distributions
from trainables.program import Program
from trainables.random_streams import generator

CHUNK = 256


@dataclass(frozen=True)
class Evaluation:
    """The result of one pass over N examples, with z ~ q under a fixed noise. Nats, except the squared errors.

    Of several members each has a leading axis more.

    Attributes
    ----------
    recon_nll
        −log p(x|z), [N].
    sse
        Squared error of the decoder's mean at z, summed over elements, [N].
    kl
        KL(q ‖ p) of each latent, [N, M].
    mean, log_variance, z
        Of the posteriors, and the draw from each, [N, M].
    """

    recon_nll: Tensor
    sse: Tensor
    kl: Tensor
    mean: Tensor
    log_variance: Tensor
    z: Tensor

    def elbo(self) -> Tensor:
        """−(mean recon_nll + mean KL): β = 1, no free bits, the configured likelihood with its constants."""
        return -(self.recon_nll.mean(-1) + self.kl.sum(-1).mean(-1))

    def of_member(self, i: int) -> Evaluation:
        """That of one of several members.

        Parameters
        ----------
        i
            Its place.

        Returns
        -------
        Evaluation
            Without the member axis.
        """
        return Evaluation(*(getattr(self, each.name)[i] for each in fields(self)))

    def distortion(self, constraint: str) -> Tensor:
        """The error that a GECO constraint bounds.

        Parameters
        ----------
        constraint
            `re` for the squared error, `nll` for recon_nll.

        Returns
        -------
        Tensor
            [N].
        """
        return self.sse if constraint == "re" else self.recon_nll


@torch.no_grad()
def squared_errors(
    program: Program, params: Mapping[str, Tensor], x: Tensor, z: Tensor, scales: Mapping[str, Tensor]
) -> Tensor:
    """The squared errors of the decoder's mean at given latents, of several members.

    Parameters
    ----------
    program
        The parts that they share.
    params
        As for `evaluate_members`.
    x
        Examples, [E, D].
    z
        Their latents, [N, E, M].
    scales
        As for `evaluate_members`.

    Returns
    -------
    Tensor
        Summed over elements, [N, E].
    """
    values, found = dict(params), []
    for batch, latents in zip(torch.split(x, CHUNK), torch.split(z, CHUNK, dim=1), strict=True):
        output = program.model.decode_members(values, latents)
        found.append(program.likelihood.terms(batch, output, params, scales)[1])
    return torch.cat(found, dim=1)


def evaluation_noise(n: int, latent_dim: int, seed: int, part: str, device: torch.device, sample: int = 0) -> Tensor:
    """The noise of an evaluation: the same for all trials of a `split_seed`.

    Parameters
    ----------
    n, latent_dim
        N and M.
    seed
        `data.split_seed`.
    part
        The part of the data, as `val`.
    device
        Where it is drawn.
    sample
        The number of the draw.

    Returns
    -------
    Tensor
        ε ~ N(0, 1), [N, M].
    """
    draw = generator(device, seed, f"evaluation/{part}", sample)
    return torch.randn(n, latent_dim, generator=draw, device=device)


@torch.no_grad()
def evaluate(
    program: Program, params: Mapping[str, Tensor], x: Tensor, noise: Tensor, scales: Mapping[str, Tensor]
) -> Evaluation:
    """Encode and decode every example, in chunks whose size does not change the result.

    Parameters
    ----------
    program
        The parts of the trial.
    params
        The parameters by name, with the buffers among them.
    x
        Examples, [N, D].
    noise
        [N, M], as from `evaluation_noise`.
    scales
        The likelihood's own scales, as tensors.

    Returns
    -------
    Evaluation
        Terms of each example.
    """
    members, own = ({name: value[None] for name, value in some.items()} for some in (params, scales))
    return evaluate_members(program, members, x, noise, own).of_member(0)


@torch.no_grad()
def evaluate_members(
    program: Program, params: Mapping[str, Tensor], x: Tensor, noise: Tensor, scales: Mapping[str, Tensor]
) -> Evaluation:
    """`evaluate` of several members in one pass.

    Parameters
    ----------
    program
        The parts that they share.
    params
        As for `evaluate`, with a leading member axis.
    x, noise
        As for `evaluate`: the same for all.
    scales
        As for `evaluate`, with a leading member axis.

    Returns
    -------
    Evaluation
        With a leading member axis.
    """
    parts: list[tuple[Tensor, ...]] = []
    values = dict(params)
    for batch, draw in zip(torch.split(x, CHUNK), torch.split(noise, CHUNK), strict=True):
        mean, log_variance = program.model.encode_members(values, batch)
        z = distributions.reparameterise(mean, log_variance, draw)
        recon_nll, sse = program.likelihood.terms(batch, program.model.decode_members(values, z), params, scales)
        kl = program.prior.kl(mean, log_variance)
        parts.append((recon_nll, sse, kl, mean, log_variance, z))
    return Evaluation(*(torch.cat(column, dim=1) for column in zip(*parts, strict=True)))
