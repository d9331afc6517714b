"""What an objective is: frozen parameters and an explicit state, both plain tensors, so that members can be batched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import Tensor

__all__ = ["Constants", "Hyper", "Objective", "State", "Terms"]

State = dict[str, Tensor]
Hyper = Mapping[str, Tensor]
Constants = dict[str, float | tuple[float, ...]]


@dataclass(frozen=True)
class Terms:
    """What a batch of B examples costs with K draws z ~ q(z|x) of each; nats, except sse.

    recon_nll, sse (of the decoder mean) [K·B], draw by draw; z, and the mean and log_variance of the q that it is from,
    [K·B, M]; kl, in closed form, [B, M].
    """

    recon_nll: Tensor
    sse: Tensor
    kl: Tensor
    z: Tensor
    mean: Tensor
    log_variance: Tensor

    @cached_property
    def mean_recon_nll(self) -> Tensor:
        """Over examples and draws."""
        return self.recon_nll.mean()

    @cached_property
    def mean_kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) over examples."""
        return self.kl.sum(-1).mean()


class Objective(Protocol):
    """init() → state; step(terms, state, hyper) → (loss, next state).

    `hyper` holds tensors: `constants()` once a trial, the scalars `beta` and `progress` (step / budget) at every step.
    """

    @property
    def samples(self) -> int:
        """K, the draws of z that it takes for each example."""

    def constants(self) -> Constants:
        """The objective's own numbers, fixed over the trial."""

    def init(self) -> dict[str, float]:
        """The state before the first step."""

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        """The loss to take gradients of, and the state after the step."""
