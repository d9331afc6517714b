"""The optimiser family: a pure update of parameters and moments, and the same update in place."""

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


def is_decayed(value: Tensor) -> bool:
    """Whether weight decay applies to a parameter: to one of two axes or more (matrices, kernels).

    A parameter of at most one axis is a bias, the gain of a norm, or a scale: a log-variance or a learned σ, whose 0 is
    a statement about the data.

    Parameters
    ----------
    value
        The parameter.

    Returns
    -------
    bool
        False for at most one axis.
    """
    return value.ndim > 1


class Part(NamedTuple):
    """The parameters that share one learning rate and one weight decay.

    Attributes
    ----------
    params, gradients
        In the same order.
    moments
        By name, in the same order.
    lr, weight_decay
        Of all of them.
    """

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
        """The state before the first step.

        Parameters
        ----------
        params
            By name.

        Returns
        -------
        OptimizerState
            Zeros, by the name of the moment and of the parameter.
        """
        return {moment: {name: torch.zeros_like(value) for name, value in params.items()} for moment in self.moments}

    @abstractmethod
    def directions(
        self, params: Params, gradients: Sequence[Tensor], state: OptimizerState
    ) -> tuple[Iterable[Tensor], OptimizerState]:
        """The direction that each parameter moves against, and the next state. It changes none of its arguments.

        Parameters
        ----------
        params, gradients
            Parameters by name, and their clipped gradients in the same order.
        state
            As of `init`, or of the last step.

        Returns
        -------
        tuple of Iterable of Tensor and OptimizerState
            The directions in the order of the parameters, and the state after the step.
        """

    @property
    def weight_decay(self) -> float:
        """wd of the parameters that are decayed."""
        return 0.0

    def decay(self, value: Tensor) -> float:
        """wd of a parameter.

        Parameters
        ----------
        value
            The parameter.

        Returns
        -------
        float
            `weight_decay`, or 0 for a parameter of at most one axis.
        """
        return self.weight_decay if is_decayed(value) else 0.0

    def clipped(self, gradients: list[Tensor], norm: Tensor) -> list[Tensor]:
        """Gradients within the configured bounds: first on their global norm, then on each element.

        Parameters
        ----------
        gradients
            Of all parameters.
        norm
            Their global norm.

        Returns
        -------
        list of Tensor
            The same list without bounds.
        """
        if self.config.clip_norm is not None:
            gradients = clip_by_norm(gradients, norm, self.config.clip_norm)
        if self.config.clip_value is not None:
            gradients = clip_by_value(gradients, self.config.clip_value)
        return gradients

    def update(
        self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: Tensor | float
    ) -> tuple[Params, OptimizerState]:
        """The parameters and the state after a step. It changes none of its arguments.

        Parameters
        ----------
        params, gradients
            Parameters by name, and their clipped gradients in the same order.
        state
            As of `init`, or of the last step.
        lr
            The learning rate of the step.

        Returns
        -------
        tuple of dict of str to Tensor and OptimizerState
            Parameters and state after the step.
        """
        directions, state = self.directions(params, gradients, state)
        moved: Params = {}
        for (name, value), direction in zip(params.items(), directions, strict=True):
            rate, decay = lr * self.groups.factor(name), self.decay(value) if self.decoupled else 0.0
            moved[name] = (value * (1 - rate * decay) if decay else value) - rate * direction
        return moved, state

    def update_in_place(self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: float) -> None:
        """The same step, written into `params` and `state`.

        Parameters
        ----------
        params, gradients, state, lr
            As for `update`.
        """
        moved, new = self.update(params, gradients, state, lr)
        for name, value in moved.items():
            params[name].copy_(value)
        state.update(new)

    def parts(self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: float) -> Iterator[Part]:
        """The parameters in parts of one rate and one weight decay each, for kernels that take one of each.

        Parameters
        ----------
        params, gradients, state, lr
            As for `update`.

        Returns
        -------
        Iterator of Part
            Each parameter is in one part.
        """
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
