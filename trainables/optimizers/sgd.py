"""Stochastic gradient descent with momentum (Polyak 1964)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim.sgd import sgd

from trainables.config.optimizers import Sgd
from trainables.optimizers.base import Optimizer, OptimizerState, Params


@dataclass(frozen=True)
class SgdOptimizer(Optimizer):
    """m ← μ·m + g + wd·θ; the direction is m. Without momentum it keeps nothing.

    Its weight decay is part of the gradient.

    Examples
    --------
    >>> import torch
    >>> optimizer, params = SgdOptimizer(Sgd(momentum=0.5)), {"encoder.bias": torch.ones(1)}
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     params, state = optimizer.update(params, [torch.ones(1)], state, lr=0.25)
    >>> params["encoder.bias"].item(), state["first"]["encoder.bias"].item()
    (0.375, 1.5)
    """

    moments = ("first",)
    decoupled = False

    config: Sgd

    def init(self, params: Mapping[str, Tensor]) -> OptimizerState:
        return super().init(params) if self.config.momentum else {}

    @property
    def weight_decay(self) -> float:
        return self.config.weight_decay

    def directions(
        self, params: Params, gradients: Sequence[Tensor], state: OptimizerState
    ) -> tuple[Iterable[Tensor], OptimizerState]:
        decayed = {
            name: gradient + decay * value if (decay := self.decay(value)) else gradient
            for (name, value), gradient in zip(params.items(), gradients, strict=True)
        }
        if not self.config.momentum:
            return decayed.values(), {}
        first = {name: self.config.momentum * state["first"][name] + gradient for name, gradient in decayed.items()}
        return first.values(), {"first": first}

    def update_in_place(self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: float) -> None:
        """By torch's fused kernel."""
        for part in self.parts(params, gradients, state, lr):
            sgd(
                part.params,
                part.gradients,
                [*part.moments["first"]] if self.config.momentum else [None] * len(part.params),
                fused=True,
                weight_decay=part.weight_decay,
                momentum=self.config.momentum,
                lr=part.lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
