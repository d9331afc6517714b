"""GECO: the lowest KL that meets a reconstruction constraint (Rezende & Viola 2018, arXiv 1810.00597).

The paper's update in the form that settles: errors per element, the multiplier on their sum, its logarithm moved by the
relative violation with a clipped step, and held until the decoder has had time to learn.

    c = distortion/D − target;   m ← α·m + (1 − α)·c,  m₀ = c₀
    loss = KL + λ·D·(c + stop_gradient(m − c))           value: the moving average; gradient: this batch
    ln λ += ν·clip(m/s, −1, ½)                           a violated constraint (m > 0) makes λ grow

The scale s is the target under `re`. Bits have a noise floor of nats that no model gets below, most of κ under `nll`:
there s is 0.3 of the target, or relative violations are too small to bring λ back from its overshoot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.objectives.base import Constants, Hyper, State, Terms

__all__ = ["GecoObjective", "outcome"]

MOVING_AVERAGE = 0.9
HOLD = 0.1
LAMBDA_RANGE = 1e3
SETTLED = 0.02
NLL_SCALE = 0.3
CEILING_SHARE = 0.05
_AT_BOUND = 1e-4


@dataclass(frozen=True)
class GecoObjective:
    """KL subject to distortion/D ≤ target.

    constraint: `re` (distortion SSE, target κ², σ_eq² = 1/2λ) or `nll` (distortion recon_nll, target κ, β = 1/λ).
    n_elements, latent_dim: D and M; λ₀ = M/(2Dκ²) within [.05, 20] under `re`, 1 (the ELBO) under `nll`.
    total_steps: the budget T; ν = 40/T within [.01, .05].
    bounded: divide the loss by 1 + λ, which keeps the gradient norm independent of λ: needed where gradients are
        clipped and where their norm is the size of the step.
    """

    samples: ClassVar[int] = 1
    kappa: float
    constraint: str
    n_elements: int
    latent_dim: int
    total_steps: int
    bounded: bool

    @property
    def target(self) -> float:
        return self.kappa**2 if self.constraint == "re" else self.kappa

    @property
    def initial_lambda(self) -> float:
        if self.constraint == "nll":
            return 1.0
        return min(max(self.latent_dim / (2 * self.n_elements * self.target), 0.05), 20.0)

    def constants(self) -> Constants:
        return {
            "target": self.target,
            "scale": self.target * (1.0 if self.constraint == "re" else NLL_SCALE),
            "rate": min(max(40 / self.total_steps, 0.01), 0.05),
            "log_lambda_0": math.log(self.initial_lambda),
        }

    def init(self) -> dict[str, float]:
        log_lambda = math.log(self.initial_lambda)
        return {"log_lambda": log_lambda, "moving": math.inf, "met": 0.0, "ceiling_steps": 0.0}

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        distortion = terms.sse if self.constraint == "re" else terms.recon_nll
        violation = distortion.mean() / self.n_elements - hyper["target"]
        moving = self._moving_average(state["moving"], violation.detach())
        weight = state["log_lambda"].exp()
        constraint = violation + (moving - violation).detach()
        loss = terms.mean_kl + weight * self.n_elements * constraint
        if self.bounded:
            loss = loss / (1 + weight)
        return loss, self._next(state, moving, hyper)

    def _moving_average(self, moving: Tensor, violation: Tensor) -> Tensor:
        averaged = MOVING_AVERAGE * moving + (1 - MOVING_AVERAGE) * violation
        return torch.where(torch.isinf(moving), violation, averaged)

    def _next(self, state: State, moving: Tensor, hyper: Hyper) -> State:
        met = torch.maximum(state["met"], (moving <= 0).to(moving.dtype))
        held = (met == 0) & (hyper["progress"] < HOLD)
        push = hyper["rate"] * (moving / hyper["scale"]).clamp(-1.0, 0.5)
        reach = math.log(LAMBDA_RANGE)
        free = state["log_lambda"] + torch.where(held, torch.zeros_like(push), push)
        log_lambda = torch.minimum(torch.maximum(free, hyper["log_lambda_0"] - reach), hyper["log_lambda_0"] + reach)
        at_ceiling = log_lambda >= hyper["log_lambda_0"] + reach - _AT_BOUND
        ceiling_steps = torch.where(at_ceiling, state["ceiling_steps"] + 1, torch.zeros_like(moving))
        return {"log_lambda": log_lambda, "moving": moving, "met": met, "ceiling_steps": ceiling_steps}


def outcome(objective: GecoObjective, state: dict[str, float]) -> str:
    """How the constraint stood at the end: infeasible | unmet | slack | unsettled | ok.

    infeasible: λ at its ceiling over the last 5 % of the budget; unmet: never met though λ could still grow (budget too
    short); slack: λ at its floor; unsettled: more than 2 % off the target.
    """
    offset = state["log_lambda"] - math.log(objective.initial_lambda)
    reach = math.log(LAMBDA_RANGE)
    if state["ceiling_steps"] >= CEILING_SHARE * objective.total_steps:
        return "infeasible"
    if not state["met"]:
        return "unmet"
    if offset <= -reach + _AT_BOUND:
        return "slack"
    return "unsettled" if abs(state["moving"] / objective.target) > SETTLED else "ok"
