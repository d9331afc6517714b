"""One train step: a pure function of (parameters, state, batch, noise, hyper-parameters as tensors).

Losses are written per member: `torch.func.vmap` takes many members' losses at once, and one gradient of their sum
serves all, since no member's loss depends on another's parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainables import distributions
from trainables.models import Buffers, Params
from trainables.objectives import Hyper, State, Terms
from trainables.optimizers import OptimizerState, global_norm
from trainables.program import Program


class Record(NamedTuple):
    """The numbers that are kept of a step, scalars on the device.

    Attributes
    ----------
    loss
        The objective's.
    recon_nll, kl
        Their means over the batch, in nats.
    grad_norm
        √Σ|g|² before clipping.
    """

    loss: Tensor
    recon_nll: Tensor
    kl: Tensor
    grad_norm: Tensor


def _loss(
    program: Program,
    params: Params,
    buffers: Buffers,
    state: State,
    batch: Tensor,
    noise: Tensor,
    hyper: Hyper,
) -> tuple[Tensor, tuple[Buffers, State, Tensor, Tensor]]:
    """One member's loss, its next buffers and objective state, and the batch means of recon_nll and KL."""
    values = {**params, **buffers} if buffers else params
    posterior = program.model.encode(values, batch)
    x, mean, log_variance = (_repeated(rows, len(noise)) for rows in (batch, *posterior))
    z = distributions.reparameterise(mean, log_variance, noise.flatten(0, 1))
    recon_nll, sse = program.likelihood.terms(x, program.model.decode(values, z), params, hyper)
    terms = Terms(recon_nll, sse, program.prior.kl(*posterior), z, mean, log_variance, program.prior)
    loss, state = program.objective.step(terms, state, hyper)
    buffers = {name: values[name].detach() for name in buffers}
    return loss, (buffers, state, terms.mean_recon_nll.detach(), terms.mean_kl.detach())


def _repeated(rows: Tensor, samples: int) -> Tensor:
    """K times the rows, [B, …] → [K·B, …]; no copy at K = 1."""
    return rows if samples == 1 else rows.repeat(samples, 1)


def _gradients(loss: Tensor, params: Mapping[str, Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(params.values())))


def train_step(
    program: Program,
    params: Params,
    buffers: Buffers,
    optimizer: OptimizerState,
    state: State,
    batch: Tensor,
    noise: Tensor,
    hyper: Hyper,
) -> tuple[Params, Buffers, OptimizerState, State, Record]:
    """One step: the next parameters, buffers, optimiser state and objective state, and its record.

    Parameters
    ----------
    program
        The parts of the trial.
    params, buffers
        By name.
    optimizer, state
        The states of the optimiser and of the objective.
    batch
        Examples, [B, D].
    noise
        [K, B, M], with K the objective's samples.
    hyper
        Numbers of the step as tensors, `lr` and `beta` among them.

    Returns
    -------
    tuple
        Parameters, buffers, optimiser state, objective state, and the Record.
    """
    params = {name: value.detach().requires_grad_() for name, value in params.items()}
    loss, (buffers, state, recon_nll, kl) = _loss(program, params, buffers, state, batch, noise, hyper)
    params, optimizer, norm = _update(program, params, _gradients(loss, params), optimizer, hyper["lr"])
    return params, buffers, optimizer, state, Record(loss.detach(), recon_nll, kl, norm)


def members_step(
    program: Program,
    params: Params,
    buffers: Buffers,
    optimizer: OptimizerState,
    state: State,
    batch: Tensor,
    noise: Tensor,
    hyper: Hyper,
) -> tuple[Params, Buffers, OptimizerState, State, Record]:
    """`train_step` of several members at once.

    Parameters
    ----------
    program
        The parts that the members share.
    params, buffers, optimizer, state, batch, noise, hyper
        As for `train_step`, each with a leading member axis.

    Returns
    -------
    tuple
        As of `train_step`, with the member axis.
    """
    params = {name: value.detach().requires_grad_() for name, value in params.items()}
    losses, (buffers, state, recon_nll, kl) = torch.func.vmap(lambda *member: _loss(program, *member))(
        params, buffers, state, batch, noise, hyper
    )
    gradients = _gradients(losses.sum(), params)

    params, optimizer, norm = torch.func.vmap(lambda *member: _update(program, *member))(
        params, gradients, optimizer, hyper["lr"]
    )
    return params, buffers, optimizer, state, Record(losses.detach(), recon_nll, kl, norm)


def _update(
    program: Program, params: Params, gradients: list[Tensor], optimizer: OptimizerState, lr: Tensor
) -> tuple[Params, OptimizerState, Tensor]:
    with torch.no_grad():
        norm = global_norm(gradients)
        params, optimizer = program.optimizer.update(params, program.optimizer.clipped(gradients, norm), optimizer, lr)
    return params, optimizer, norm


def advance(
    program: Program,
    params: Params,
    buffers: Buffers,
    optimizer: OptimizerState,
    state: State,
    batch: Tensor,
    noise: Tensor,
    hyper: Hyper,
    lr: float,
) -> tuple[Buffers, State, Record]:
    """`train_step` of a single trial, which updates parameters and optimiser state in place.

    Parameters
    ----------
    program, params, buffers, optimizer, state, batch, noise, hyper
        As for `train_step`.
    lr
        The learning rate as a number, for torch's fused kernels.

    Returns
    -------
    tuple
        Buffers, objective state, and the Record.
    """
    loss, (buffers, state, recon_nll, kl) = _loss(program, params, buffers, state, batch, noise, hyper)
    gradients = _gradients(loss, params)
    with torch.no_grad():
        norm = global_norm(gradients)
        program.optimizer.update_in_place(params, program.optimizer.clipped(gradients, norm), optimizer, lr)
    return buffers, state, Record(loss.detach(), recon_nll, kl, norm)
