"""What an objective is: frozen parameters and an explicit state, both plain tensors, so that members can be batched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Hyper", "Objective", "State", "Terms"]

State = dict[str, Tensor]
Hyper = Mapping[str, Tensor]


@dataclass(frozen=True)
class Terms:
    """What a batch of B examples costs: recon_nll [B], sse [B] (of the decoder mean), kl [B, M]; nats, except sse."""

    recon_nll: Tensor
    sse: Tensor
    kl: Tensor


class Objective(Protocol):
    """init() → state; step(terms, state, hyper) → (loss, next state).

    `hyper` holds scalars as tensors: `constants()` once a trial, `beta` and `progress` (step / budget) at every step.
    """

    def constants(self) -> dict[str, float]:
        """The objective's own numbers, fixed over the trial."""

    def init(self) -> dict[str, float]:
        """The state before the first step."""

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        """The loss to take gradients of, and the state after the step."""
