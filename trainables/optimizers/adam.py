"""Adam (Kingma & Ba 2015, arXiv 1412.6980), and what its kin shares with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config.optimizers import Adam, AdamW, RAdam
from trainables.optimizers.base import Moments, Optimizer


@dataclass(frozen=True)
class Adaptive(Optimizer):
    """m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  t ← t + 1."""

    moments = ("first", "second")
    counted = True

    config: Adam | AdamW | RAdam

    def direction(self, params: Tensor, gradients: Tensor, moments: Moments, count: Tensor, decay: float) -> Tensor:
        beta1, beta2 = self.config.beta1, self.config.beta2
        first = moments["first"].mul_(beta1).add_(gradients, alpha=1 - beta1)
        second = moments["second"].mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
        return self.scaled(first, second, count)

    @abstractmethod
    def scaled(self, first: Tensor, second: Tensor, t: Tensor) -> Tensor:
        """The direction from the averages m and v, [N, P], after t updates, [N, 1].

        t is in float64: five digits of 1 − βᵗ cancel in float32 where β is near 1.
        """


@dataclass(frozen=True)
class AdamOptimizer(Adaptive):
    """m̂/(√v̂ + ε);  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ).

    Examples
    --------
    The first step is of size lr in every element, whatever the gradient.

    >>> import torch
    >>> from trainables.layout import Layout
    >>> optimizer, params = AdamOptimizer(Adam()), torch.zeros(1, 2)
    >>> layout = Layout(("encoder.bias",), ((2,),))
    >>> step = optimizer.stepper(params, torch.tensor([[3.0, -0.5]]), optimizer.init(params), layout)
    >>> step(torch.tensor([0.5]))
    >>> params
    tensor([[-0.5000,  0.5000]])
    """

    config: Adam | AdamW

    def scaled(self, first: Tensor, second: Tensor, t: Tensor) -> Tensor:
        of_first, of_second = (1 - beta**t for beta in (self.config.beta1, self.config.beta2))
        return first / of_first.to(first.dtype) / ((second / of_second.to(first.dtype)).sqrt() + self.config.eps)

    def mover(
        self, params: Tensor, gradients: Tensor, moments: Moments, count: Tensor, decay: float
    ) -> Callable[[Tensor], None]:
        """On a CPU by torch's fused kernel, member by member: a step is one pass over memory."""
        if params.device.type != "cpu":
            return super().mover(params, gradients, moments, count, decay)
        columns = params, gradients, moments["first"], moments["second"], count
        rows = [[[value] for value in row] for row in zip(*columns, strict=True)]
        numbers = {name: getattr(self.config, name) for name in ("beta1", "beta2", "eps")}

        def move(lr: Tensor) -> None:
            for (row, gradient, first, second, t), rate in zip(rows, lr.tolist(), strict=True):
                torch._fused_adamw_(
                    row,
                    gradient,
                    first,
                    second,
                    [],
                    t,
                    lr=rate,
                    weight_decay=decay,
                    amsgrad=False,
                    maximize=False,
                    **numbers,
                )

        return move
