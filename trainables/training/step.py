"""One train step of several members: trials that differ in numbers, and not in shapes.

All parameters lie in one tensor [N, P]. Each member has a loss of its own, and no loss depends on another member's
parameters: one gradient of their sum serves all. On a CPU a member's numbers do not depend on how many train beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from trainables import distributions
from trainables.layout import Layout
from trainables.models import Buffers, Params
from trainables.objectives import Hyper, Objective, State, Terms
from trainables.optimizers import Moments, Optimizer, global_norm
from trainables.program import Program


class Record(NamedTuple):
    """The numbers that are kept of a step, on the device.

    Attributes
    ----------
    loss
        The objective's, [N].
    recon_nll, kl
        Their means over the batch, in nats, [N].
    grad_norm
        √Σ|g|² before clipping, [N].
    states
        Of the objectives after the step, one for each formula.
    """

    loss: Tensor
    recon_nll: Tensor
    kl: Tensor
    grad_norm: Tensor
    states: tuple[State, ...]


class Inputs(NamedTuple):
    """What a step takes.

    Attributes
    ----------
    batch
        Examples of each member, [N, B, D], or of all, [B, D].
    noise
        [N, K, B, M] or [K, B, M], with K the draws of the objective.
    scales
        The likelihood's numbers at this step, [N].
    hypers
        The objectives' numbers, for each formula those of its members, [n]: its constants, `beta` and `progress`.
    lr
        The learning rates, [N], in float64.
    """

    batch: Tensor
    noise: Tensor
    scales: Hyper
    hypers: Sequence[Hyper]
    lr: Tensor


@dataclass
class Members:
    """The state of N members, which `step` brings forward in place.

    Attributes
    ----------
    program
        The parts that they share: model, prior and likelihood.
    layout
        Of the parameters.
    params
        [N, P].
    moments
        Of the optimisers: [N, P] each, and the count [N].
    buffers
        Of the model, [N, …] by name.
    objectives, optimizers
        One a member. Those of one formula are neighbours.
    states
        Of the objectives, for each formula [n] by name.
    """

    program: Program
    layout: Layout
    params: Tensor
    moments: Moments
    buffers: Buffers
    objectives: Sequence[Objective]
    optimizers: Sequence[Optimizer]
    states: tuple[State, ...] = ()

    @cached_property
    def named(self) -> Params:
        """The parameters by name, [N, …]: views of `params` that gradients are taken of."""
        return {name: view.requires_grad_() for name, view in self.layout.views(self.params).items()}

    @cached_property
    def _gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Where the gradients are put: [N, P], and views of it by parameter."""
        flat = torch.zeros_like(self.params)
        return flat, list(self.layout.views(flat).values())

    @cached_property
    def formulas(self) -> list[slice]:
        """Neighbours whose objectives have one formula, which take the step of their objective together."""
        return _runs([objective.formula for objective in self.objectives])

    @cached_property
    def _steppers(self) -> list[tuple[slice, Callable[[Tensor], None]]]:
        """The optimisers' steps, one for neighbours whose optimisers are the same."""
        found, (gradients, _) = [], self._gradients
        for where in _runs(self.optimizers):
            moments = {name: value[where] for name, value in self.moments.items()}
            optimizer = self.optimizers[where.start]
            found.append((where, optimizer.stepper(self.params[where], gradients[where], moments, self.layout)))
        return found

    def step(self, inputs: Inputs) -> Record:
        """Take a step.

        Parameters
        ----------
        inputs
            Of the step.

        Returns
        -------
        Record
            Its numbers.
        """
        terms = self._terms(inputs)
        losses, self.states = self._losses(terms, inputs.hypers)
        gradients, views = self._gradients
        torch._foreach_copy_(views, torch.autograd.grad(losses.sum(), list(self.named.values())))
        with torch.no_grad():
            norm = global_norm(gradients)
            for where, step in self._steppers:
                step(inputs.lr[where])
        return Record(losses.detach(), terms.mean_recon_nll.detach(), terms.mean_kl.detach(), norm, self.states)

    def _terms(self, inputs: Inputs) -> Terms:
        program, values = self.program, {**self.named, **self.buffers}
        posterior = program.model.encode_members(values, inputs.batch)
        samples = inputs.noise.shape[-3]
        x, mean, log_variance = (_repeated(rows, samples) for rows in (inputs.batch, *posterior))
        z = distributions.reparameterise(mean, log_variance, inputs.noise.flatten(-3, -2))
        output = program.model.decode_members(values, z)
        recon_nll, sse = program.likelihood.terms(x, output, self.named, inputs.scales)
        self.buffers = {name: values[name].detach() for name in self.buffers}
        return Terms(recon_nll, sse, program.prior.kl(*posterior), z, mean, log_variance, program.prior)

    def _losses(self, terms: Terms, hypers: Sequence[Hyper]) -> tuple[Tensor, tuple[State, ...]]:
        """The losses, [N], and the next states of the objectives."""
        shares = terms.split([where.stop - where.start for where in self.formulas])
        given = zip(self.formulas, shares, self.states, hypers, strict=True)
        found = [self.objectives[where.start].step(share, state, hyper) for where, share, state, hyper in given]
        losses, states = zip(*found, strict=True)
        return torch.cat(losses) if len(losses) > 1 else losses[0], states


def _runs(keys: Sequence[Hashable]) -> list[slice]:
    """Where neighbours are equal."""
    sizes = [len([*run]) for _, run in groupby(keys)]
    return [slice(*edges) for edges in pairwise(accumulate(sizes, initial=0))]


def _repeated(rows: Tensor, samples: int) -> Tensor:
    """K times the rows, [..., B, D] → [..., K·B, D]; no copy at K = 1."""
    return rows if samples == 1 else torch.cat([rows] * samples, dim=-2)
