"""The optimiser family: a step of flat parameters, in place, for one member or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from trainables.config.optimizers import OptimizerConfig
from trainables.layout import Layout
from trainables.optimizers.clipping import clip_by_norm

Moments = dict[str, Tensor]
"""By name, a value for each parameter's value."""


class LrGroups(NamedTuple):
    """The factors of the learning rate for the two halves of the model.

    Attributes
    ----------
    encoder, decoder
        For the parameters of each.
    """

    encoder: float = 1.0
    decoder: float = 1.0

    def factor(self, name: str) -> float:
        """The factor of a parameter; a parameter of the likelihood belongs to the decoder.

        Parameters
        ----------
        name
            Of the parameter.

        Returns
        -------
        float
            1 for one that belongs to neither half.

        Examples
        --------
        >>> LrGroups(0.5, 2.0).factor("likelihood.log_variance")
        2.0
        """
        if name.startswith("encoder."):
            return self.encoder
        return self.decoder if name.startswith(("decoder.", "likelihood.")) else 1.0


ONE_GROUP = LrGroups()


def is_decayed(shape: tuple[int, ...]) -> bool:
    """Whether weight decay applies to a parameter: to one of two axes or more (matrices, kernels).

    A parameter of at most one axis is a bias, the gain of a norm, or a scale: a log-variance or a learned σ, whose 0 is
    a statement about the data.

    Parameters
    ----------
    shape
        Of the parameter.

    Returns
    -------
    bool
        False for at most one axis.
    """
    return len(shape) > 1


class Part(NamedTuple):
    """Neighbouring parameters that share one learning rate and one weight decay.

    Attributes
    ----------
    where
        Their values among all.
    factor
        Of the learning rate.
    decay
        Their weight decay.
    """

    where: slice
    factor: float
    decay: float


@dataclass(frozen=True)
class Optimizer(ABC):
    """θ ← θ − lr·wd·θ − lr·direction: a member of the family gives its `moments` and its `direction`.

    The learning rate is that of the step, times the factor of the parameter's group. wd is a weight decay decoupled
    from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101), 0 by default and for parameters of at most one axis.

    Attributes
    ----------
    config
        Its fields, those of its kind in `trainables/config/optimizers.py`.
    groups
        The factors of the learning rate.
    moments
        The names of what it keeps for each value: 0 before the first step.
    counted
        Whether it keeps the number of its steps too, in `count`.
    decoupled
        Whether its weight decay is apart from the gradient; otherwise `direction` holds it.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    counted: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True

    config: OptimizerConfig
    groups: LrGroups = ONE_GROUP

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the moments that it keeps under this configuration."""
        return self.moments

    def init(self, params: Tensor) -> Moments:
        """The state before the first step.

        Parameters
        ----------
        params
            [P], or [N, P] of N members.

        Returns
        -------
        dict of str to Tensor
            Zeros by name: of the same shape, and `count` without the last axis.
        """
        count = {"count": params.new_zeros(params.shape[:-1], dtype=torch.float32)} if self.counted else {}
        return {moment: torch.zeros_like(params) for moment in self.kept} | count

    @abstractmethod
    def direction(self, params: Tensor, gradients: Tensor, moments: Moments, count: Tensor, decay: float) -> Tensor:
        """The direction that parameters move against.

        Parameters
        ----------
        params, gradients
            Parameters and their clipped gradients, [N, P].
        moments
            By name, [N, P]; it brings them up to date in place.
        count
            The steps of each member, this one among them, [N, 1] in float64; 0 where it does not count.
        decay
            Their weight decay, for those that are not decoupled.

        Returns
        -------
        Tensor
            [N, P].
        """

    @property
    def weight_decay(self) -> float:
        """wd of the parameters that are decayed."""
        return 0.0

    def clip(self, gradients: Tensor) -> None:
        """Bring gradients within the configured bounds, in place: their global norm first, then each element.

        Parameters
        ----------
        gradients
            [N, P].
        """
        if self.config.clip_norm is not None:
            clip_by_norm(gradients, self.config.clip_norm)
        if self.config.clip_value is not None:
            gradients.clamp_(-self.config.clip_value, self.config.clip_value)

    def stepper(self, params: Tensor, gradients: Tensor, state: Moments, layout: Layout) -> Callable[[Tensor], None]:
        """The step of some members, in place: views are made once, and not at each step.

        Parameters
        ----------
        params, gradients
            Parameters, and where their gradients are to be before each step, [N, P].
        state
            As of `init`; each step brings it up to date.
        layout
            Of the parameters.

        Returns
        -------
        Callable
            Takes a step at the learning rates of the members, [N] in float64. It clips the gradients.
        """
        count = state["count"] if self.counted else torch.zeros(len(params))
        moves = []
        for where, factor, decay in self.parts(layout):
            moments = {moment: state[moment][:, where] for moment in self.kept}
            moves.append((factor, self.mover(params[:, where], gradients[:, where], moments, count, decay)))

        def step(lr: Tensor) -> None:
            self.clip(gradients)
            if self.counted:
                count.add_(1)
            for factor, move in moves:
                move(lr * factor)

        return step

    def mover(
        self, params: Tensor, gradients: Tensor, moments: Moments, count: Tensor, decay: float
    ) -> Callable[[Tensor], None]:
        """The step of parameters with one learning rate and one weight decay, in place.

        Parameters
        ----------
        params, gradients, moments
            As for `direction`.
        count
            The steps of each member, [N].
        decay
            Their weight decay.

        Returns
        -------
        Callable
            Takes a step at the learning rates of the members, [N].
        """

        def move(lr: Tensor) -> None:
            rate = lr[:, None].to(params.dtype)
            direction = self.direction(params, gradients, moments, count[:, None].double(), decay)
            if self.decoupled and decay:
                params.mul_(1 - rate * decay)
            params.sub_(rate * direction)

        return move

    @lru_cache(maxsize=64)  # noqa: B019
    def parts(self, layout: Layout) -> tuple[Part, ...]:
        """The parameters in parts of one rate and one weight decay each, neighbours together.

        Parameters
        ----------
        layout
            Of the parameters.

        Returns
        -------
        tuple of Part
            Each value is in one part.
        """
        kinds = [
            (self.groups.factor(name), self.weight_decay if is_decayed(shape) else 0.0)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        ]
        placed = zip(kinds, pairwise(layout.edges), strict=True)
        runs = [[*run] for _, run in groupby(placed, key=lambda pair: pair[0])]
        return tuple(Part(slice(run[0][1][0], run[-1][1][1]), *run[0][0]) for run in runs)

    def named(self, state: Mapping[str, Tensor], layout: Layout) -> dict[str, dict[str, Tensor]]:
        """The state of one member by the names of its parameters, as a checkpoint keeps it.

        Parameters
        ----------
        state
            [P] each, and the count.
        layout
            Of the parameters.

        Returns
        -------
        dict of str to dict of str to Tensor
            By moment and parameter; the count stands with each.
        """
        found = {moment: layout.views(state[moment]) for moment in self.kept}
        return found | ({"count": {name: state["count"].clone() for name in layout.names}} if self.counted else {})

    def unnamed(self, groups: Mapping[str, Mapping[str, Tensor]], layout: Layout) -> Moments:
        """The state that `named` has given.

        Parameters
        ----------
        groups
            By moment and parameter.
        layout
            Of the parameters.

        Returns
        -------
        dict of str to Tensor
            [P] each, and the count.
        """
        found = {moment: layout.flat(groups[moment]) for moment in self.kept}
        return found | ({"count": groups["count"][layout.names[0]].clone()} if self.counted else {})
