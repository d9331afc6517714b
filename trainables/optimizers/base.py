"""What an optimiser is: a pure update of parameters and moments, and the same update in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from trainables.config.optimizers import OptimizerConfig
from trainables.optimizers.clipping import clip_by_norm, clip_by_value

Params = dict[str, Tensor]
OptimizerState = dict[str, Params]
"""By the name of a moment, a tensor for each parameter."""


class LrGroups(NamedTuple):
    """What the learning rate is multiplied by for the parameters of each half of the model."""

    encoder: float = 1.0
    decoder: float = 1.0

    def factor(self, name: str) -> float:
        """The factor of a parameter, by its name; what the likelihood learns belongs to the decoder."""
        if name.startswith("encoder."):
            return self.encoder
        return self.decoder if name.startswith(("decoder.", "likelihood.")) else 1.0


ONE_GROUP = LrGroups()


def is_decayed(value: Tensor) -> bool:
    """Whether weight decay pulls at a parameter: at one of two axes or more (matrices, kernels).

    A parameter of at most one axis is a bias, the gain of a norm, or a scale: a log-variance or a learned σ, for which
    0 is a statement about the data and no neutral place.
    """
    return value.ndim > 1


class Part(NamedTuple):
    """The parameters that share one learning rate and one weight decay, in order, with their gradients and moments."""

    params: list[Tensor]
    gradients: list[Tensor]
    moments: dict[str, list[Tensor]]
    lr: float
    weight_decay: float


@dataclass(frozen=True)
class Optimizer(ABC):
    """θ ← θ − lr·wd·θ − lr·direction: a member of the family gives its `moments` and its `directions`.

    The learning rate is that of the step, times the factor of the parameter's group. wd is a weight decay decoupled
    from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101), 0 by default and for parameters of at most one axis.

    `update` works under `torch.func.vmap`, so that members with different learning rates share a step;
    `update_in_place` is what a single trial uses. A test holds both equal.

    Attributes
    ----------
    config
        Its fields, those of its kind in `trainables/config/optimizers.py`.
    groups
        The factors of the learning rate.
    moments
        The names of what it keeps for each parameter: tensors of the parameter's shape, 0 before the first step.
    decoupled
        Whether its weight decay is apart from the gradient; otherwise `directions` holds it.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    decoupled: ClassVar[bool] = True

    config: OptimizerConfig
    groups: LrGroups = ONE_GROUP

    def init(self, params: Mapping[str, Tensor]) -> OptimizerState:
        """The state before the first step."""
        return {moment: {name: torch.zeros_like(value) for name, value in params.items()} for moment in self.moments}

    @abstractmethod
    def directions(
        self, params: Params, gradients: Sequence[Tensor], state: OptimizerState
    ) -> tuple[Iterable[Tensor], OptimizerState]:
        """What each parameter moves against, and the next state; it changes none of its arguments.

        Parameters
        ----------
        params, gradients
            By name, and in the order of the names; clipped.
        state
            As of `init`, or of the last step.
        """

    @property
    def weight_decay(self) -> float:
        """wd of the parameters that are decayed."""
        return 0.0

    def decay(self, value: Tensor) -> float:
        """wd of this parameter."""
        return self.weight_decay if is_decayed(value) else 0.0

    def clipped(self, gradients: list[Tensor], norm: Tensor) -> list[Tensor]:
        """Gradients within the configured bounds: first on their global norm, which is given, then on each element."""
        if self.config.clip_norm is not None:
            gradients = clip_by_norm(gradients, norm, self.config.clip_norm)
        if self.config.clip_value is not None:
            gradients = clip_by_value(gradients, self.config.clip_value)
        return gradients

    def update(
        self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: Tensor | float
    ) -> tuple[Params, OptimizerState]:
        """The parameters and the state after a step; the gradients come clipped, in the order of the parameters."""
        directions, state = self.directions(params, gradients, state)
        moved: Params = {}
        for (name, value), direction in zip(params.items(), directions, strict=True):
            rate, decay = lr * self.groups.factor(name), self.decay(value) if self.decoupled else 0.0
            moved[name] = (value * (1 - rate * decay) if decay else value) - rate * direction
        return moved, state

    def update_in_place(self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: float) -> None:
        """The same step, written into `params` and `state`."""
        moved, new = self.update(params, gradients, state, lr)
        for name, value in moved.items():
            params[name].copy_(value)
        state.update(new)

    def parts(self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: float) -> Iterator[Part]:
        """One part for each rate and weight decay that there is, for kernels that take one of each."""
        kinds = [(self.groups.factor(name), self.decay(value)) for name, value in params.items()]
        for kind in set(kinds):
            names = [name for name, own in zip(params, kinds, strict=True) if own == kind]
            yield Part(
                [params[name] for name in names],
                [gradient for gradient, own in zip(gradients, kinds, strict=True) if own == kind],
                {moment: [values[name] for name in names] for moment, values in state.items()},
                lr * kind[0],
                kind[1],
            )
