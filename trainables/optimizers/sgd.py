"""Stochastic gradient descent with momentum (Polyak 1964)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.config.optimizers import Sgd
from trainables.optimizers.base import Moments, Optimizer


@dataclass(frozen=True)
class SgdOptimizer(Optimizer):
    """m ← μ·m + g + wd·θ; the direction is m. Without momentum it keeps nothing.

    Its weight decay is part of the gradient.

    Examples
    --------
    >>> import torch
    >>> from trainables.layout import Layout
    >>> optimizer, params = SgdOptimizer(Sgd(momentum=0.5)), torch.ones(1, 1)
    >>> state, layout = optimizer.init(params), Layout(("encoder.bias",), ((1,),))
    >>> step = optimizer.stepper(params, torch.ones(1, 1), state, layout)
    >>> step(torch.tensor([0.25])), step(torch.tensor([0.25]))
    (None, None)
    >>> params.item(), state["first"].item()
    (0.375, 1.5)
    """

    moments = ("first",)
    decoupled = False

    config: Sgd

    @property
    def kept(self) -> tuple[str, ...]:
        return self.moments if self.config.momentum else ()

    @property
    def weight_decay(self) -> float:
        return self.config.weight_decay

    def direction(self, params: Tensor, gradients: Tensor, moments: Moments, count: Tensor, decay: float) -> Tensor:
        if decay:
            gradients = gradients.add(params, alpha=decay)
        return moments["first"].mul_(self.config.momentum).add_(gradients) if self.config.momentum else gradients
