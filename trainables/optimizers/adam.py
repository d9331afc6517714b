"""Adam (Kingma & Ba 2015, arXiv 1412.6980), and what its kin shares with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from trainables.config.optimizers import Adam, AdamW, RAdam
from trainables.optimizers.base import Optimizer, OptimizerState, Params


@dataclass(frozen=True)
class Adaptive(Optimizer):
    """m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  t ← t + 1.

    t is a count for each parameter, as torch's kernels want it; it is the same for all.
    """

    moments = ("first", "second")

    config: Adam | AdamW | RAdam

    def init(self, params: Mapping[str, Tensor]) -> OptimizerState:
        count = {name: torch.zeros((), device=value.device) for name, value in params.items()}
        return {**super().init(params), "count": count}

    def directions(
        self, params: Params, gradients: Sequence[Tensor], state: OptimizerState
    ) -> tuple[Iterable[Tensor], OptimizerState]:
        beta1, beta2 = self.config.beta1, self.config.beta2
        by_name = dict(zip(params, gradients, strict=True))
        first = {name: beta1 * state["first"][name] + (1 - beta1) * g for name, g in by_name.items()}
        second = {name: beta2 * state["second"][name] + (1 - beta2) * g.square() for name, g in by_name.items()}
        count = {name: t + 1 for name, t in state["count"].items()}
        t = next(iter(count.values())).double()  # five digits cancel in float32 where β is near 1
        directions = self.scaled(first.values(), second.values(), t)
        return directions, {"first": first, "second": second, "count": count}

    @abstractmethod
    def scaled(self, first: Iterable[Tensor], second: Iterable[Tensor], t: Tensor) -> Iterable[Tensor]:
        """The direction of each parameter from its averages m and v after t updates; t in float64."""


@dataclass(frozen=True)
class AdamOptimizer(Adaptive):
    """m̂/(√v̂ + ε);  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ).

    Examples
    --------
    The first step is of size lr in every element, whatever the gradient.

    >>> optimizer, params = AdamOptimizer(Adam()), {"encoder.bias": torch.zeros(2)}
    >>> moved, _ = optimizer.update(params, [torch.tensor([3.0, -0.5])], optimizer.init(params), lr=0.5)
    >>> moved["encoder.bias"].tolist()
    [-0.5, 0.5]
    """

    config: Adam | AdamW

    def scaled(self, first: Iterable[Tensor], second: Iterable[Tensor], t: Tensor) -> Iterable[Tensor]:
        of_first, of_second = 1 - self.config.beta1**t, 1 - self.config.beta2**t
        for m, v in zip(first, second, strict=True):
            yield m / of_first.to(m.dtype) / ((v / of_second.to(v.dtype)).sqrt() + self.config.eps)

    def update_in_place(self, params: Params, gradients: Sequence[Tensor], state: OptimizerState, lr: float) -> None:
        """By torch's fused kernel."""
        for part in self.parts(params, gradients, state, lr):
            adam(
                part.params,
                part.gradients,
                part.moments["first"],
                part.moments["second"],
                [],
                part.moments["count"],
                fused=True,
                decoupled_weight_decay=True,
                amsgrad=False,
                beta1=self.config.beta1,
                beta2=self.config.beta2,
                lr=part.lr,
                weight_decay=part.weight_decay,
                eps=self.config.eps,
                maximize=False,
            )
