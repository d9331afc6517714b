"""The optimiser family: a step of flat parameters, in place, for one member or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
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

    def clipped(self, gradients: Tensor, norm: Tensor) -> Tensor:
        """Gradients within the configured bounds: first on their global norm, then on each element.

        Parameters
        ----------
        gradients
            [..., P].
        norm
            Their global norm, [...].

        Returns
        -------
        Tensor
            The same tensor without bounds.
        """
        if self.config.clip_norm is not None:
            gradients = clip_by_norm(gradients, norm, self.config.clip_norm)
        if self.config.clip_value is not None:
            gradients = gradients.clamp(-self.config.clip_value, self.config.clip_value)
        return gradients

    def step(self, params: Tensor, gradients: Tensor, state: Moments, lr: Tensor, layout: Layout) -> None:
        """A step, in place.

        Parameters
        ----------
        params, gradients
            Parameters and their clipped gradients, [N, P].
        state
            As of `init`, or of the last step; it is brought up to date.
        lr
            The learning rate of each member, [N].
        layout
            Of the parameters.
        """
        count = state["count"].add_(1) if self.counted else torch.zeros_like(lr)
        for where, factor, decay in self.parts(layout):
            moments = {moment: state[moment][:, where] for moment in self.kept}
            self.move(params[:, where], gradients[:, where], moments, count, lr * factor, decay)

    def move(
        self, params: Tensor, gradients: Tensor, moments: Moments, count: Tensor, lr: Tensor, decay: float
    ) -> None:
        """A step of parameters with one learning rate and one weight decay, in place.

        Parameters
        ----------
        params, gradients, moments
            As for `direction`.
        count, lr
            The steps and the learning rate of each member, [N].
        decay
            Their weight decay.
        """
        rate = lr[:, None].to(params.dtype)
        direction = self.direction(params, gradients, moments, count[:, None].double(), decay)
        if self.decoupled and decay:
            params.mul_(1 - rate * decay)
        params.sub_(rate * direction)

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
        edges = pairwise(accumulate(layout.sizes, initial=0))
        kinds = [
            (self.groups.factor(name), self.weight_decay if is_decayed(shape) else 0.0)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        ]
        runs = [[*run] for _, run in groupby(zip(kinds, edges, strict=True), key=lambda pair: pair[0])]
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
