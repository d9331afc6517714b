"""GECO: the lowest KL that meets a reconstruction constraint (Rezende & Viola 2018, arXiv 1810.00597).

The paper's update in the form that settles: errors per element, the multiplier on their sum, its logarithm moved by the
relative violation with clipped steps, and held until the decoder has had time to learn.

    c = distortion/D − target;   m ← α·m + (1 − α)·c,  m₀ = c₀;   v = m/s
    loss = KL + λ·D·(c + stop_gradient(m − c))                     value: the moving average; gradient: this batch
    ln λ += ν·r + clip(v, ±0.3) − clip(v before, ±0.3),   λ within λ₀·[1/1000, 100]
    r = clip(g·v, −2, clip(v, ⅛, ½))

A violated constraint (v > 0) makes λ grow, slowly near the target: a λ that has overshot leaves codes longer than they
need be. It falls up to sixteen times as fast, or a constraint that is met late would leave λ no time to come back. The
difference of v is the proportional term of a PI controller (Stooke et al. 2020, arXiv 2007.03964), which damps the
rest. The gain g is 8, and falls to 1 over the last tenth of the budget, where a learning rate near 0 leaves λ nothing
to follow but noise. At λ₀ = M/(2Dκ²) the latents' noise alone is worth the accepted error, at 100·λ₀ a hundredth of it:
a larger λ buys nothing.

The scale s is the target under `re`. Bits have a noise floor of nats that no model gets below, most of κ under `nll`:
there s is 0.3 of the target, or relative violations are too small to bring λ back from its overshoot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from trainables.objectives.base import Constants, Hyper, State, Terms

__all__ = ["GecoObjective", "Violation", "outcome"]

MOVING_AVERAGE = 0.9
HOLD = 0.1
FLOOR, CEILING = 1e-3, 100.0
GAIN, DOWN, SLOW_UP, UP = 8.0, 2.0, 0.125, 0.5
GAIN_FALLS = 0.1
DAMPED = 0.3
SETTLED = 0.02
NLL_SCALE = 0.3
START = (0.00125, 0.5)  # at κ = .16, that of gray images: λ₀ within [.05, 20]
LATE = 0.05
FEWEST_LATE = 10
_AT_BOUND = 0.1  # of ln λ, which noise moves


@dataclass(frozen=True)
class GecoObjective:
    """KL subject to distortion/D ≤ target.

    constraint: `re` (distortion SSE, target κ², σ_eq² = 1/2λ) or `nll` (distortion recon_nll, target κ, β = 1/λ).
    n_elements, latent_dim: D and M; λ₀ = M/(2Dκ²) with λ₀κ², which has no unit, within [.00125, .5] under `re`; 1 (the
        ELBO) under `nll`.
    total_steps: the budget T; ν = 40/T within [.01, .05].
    settling_steps: the updates that λ takes to settle: a trial of fewer that is off its target is `unmet`.
    bounded: divide the loss by 1 + λ, which keeps the gradient norm independent of λ: needed where gradients are
        clipped and where their norm is the size of the step.
    """

    samples: ClassVar[int] = 1
    kappa: float
    constraint: str
    n_elements: int
    latent_dim: int
    total_steps: int
    settling_steps: int
    bounded: bool

    @property
    def target(self) -> float:
        return self.kappa**2 if self.constraint == "re" else self.kappa

    @property
    def initial_lambda(self) -> float:
        if self.constraint == "nll":
            return 1.0
        low, high = START
        return min(max(self.latent_dim / (2 * self.n_elements), low), high) / self.target

    @property
    def late_steps(self) -> int:
        """The last 5 % of the budget, and at least one step."""
        return max(1, math.ceil(LATE * self.total_steps))

    def constants(self) -> Constants:
        return {
            "target": self.target,
            "scale": self.target * (1.0 if self.constraint == "re" else NLL_SCALE),
            "late": (self.total_steps - self.late_steps - 0.5) / self.total_steps,
            "rate": min(max(40 / self.total_steps, 0.01), 0.05),
            "log_lambda_0": math.log(self.initial_lambda),
        }

    def init(self) -> dict[str, float]:
        log_lambda = math.log(self.initial_lambda)
        state = {"log_lambda": log_lambda, "moving": math.inf, "met": 0.0, "ceiling_steps": 0.0}
        return state | {"late_sum": 0.0, "late_squares": 0.0, "late_count": 0.0}

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        distortion = terms.sse if self.constraint == "re" else terms.recon_nll
        violation = distortion.mean() / self.n_elements - hyper["target"]
        moving = self._moving_average(state["moving"], violation.detach())
        weight = state["log_lambda"].exp()
        constraint = violation + (moving - violation).detach()
        loss = terms.mean_kl + weight * self.n_elements * constraint
        if self.bounded:
            loss = loss / (1 + weight)
        return loss, self._next(state, moving, hyper) | self._late(state, violation.detach(), hyper)

    def _moving_average(self, moving: Tensor, violation: Tensor) -> Tensor:
        averaged = MOVING_AVERAGE * moving + (1 - MOVING_AVERAGE) * violation
        return torch.where(torch.isinf(moving), violation, averaged)

    def _next(self, state: State, moving: Tensor, hyper: Hyper) -> State:
        met = torch.maximum(state["met"], (moving <= 0).to(moving.dtype))
        held = (met == 0) & (hyper["progress"] < HOLD)
        relative = moving / hyper["scale"]
        before = torch.where(torch.isinf(state["moving"]), moving, state["moving"]) / hyper["scale"]
        gain = 1 + (GAIN - 1) * ((1 - hyper["progress"]) / GAIN_FALLS).clamp(max=1.0)
        push = hyper["rate"] * torch.minimum((gain * relative).clamp(min=-DOWN), relative.clamp(SLOW_UP, UP))
        push = push + relative.clamp(-DAMPED, DAMPED) - before.clamp(-DAMPED, DAMPED)
        free = state["log_lambda"] + torch.where(held, torch.zeros_like(push), push)
        low, high = (hyper["log_lambda_0"] + math.log(bound) for bound in (FLOOR, CEILING))
        log_lambda = torch.minimum(torch.maximum(free, low), high)
        at_ceiling = log_lambda >= high - _AT_BOUND
        ceiling_steps = torch.where(at_ceiling, state["ceiling_steps"] + 1, torch.zeros_like(moving))
        return {"log_lambda": log_lambda, "moving": moving, "met": met, "ceiling_steps": ceiling_steps}

    @staticmethod
    def _late(state: State, violation: Tensor, hyper: Hyper) -> State:
        """Sums of the relative violation c/target, one a step, over the last 5 % of the budget."""
        relative = violation / hyper["target"]
        counted = (hyper["progress"] > hyper["late"]).to(relative.dtype)
        return {
            "late_sum": state["late_sum"] + counted * relative,
            "late_squares": state["late_squares"] + counted * relative.square(),
            "late_count": state["late_count"] + counted,
        }


class Violation(NamedTuple):
    """By how much of its target a constraint is violated, with the standard error of that.

    At the end of a trial it is measured twice: over the last 5 % of the steps, of each batch before the update by it,
    and on training examples after the last update. Neither alone is what the trial ends with: the one is late, the
    other is of examples seen a moment ago. `at_end` is their mean.
    """

    mean: float
    stderr: float

    @classmethod
    def of_examples(cls, distortion: Tensor, objective: GecoObjective) -> Violation:
        """On some examples, [N] distortions summed over elements. One that is all there is has no standard error."""
        relative = distortion.double() / (objective.n_elements * objective.target) - 1
        spread = float(relative.std()) if len(relative) > 1 else 0.0
        return cls(float(relative.mean()), spread / math.sqrt(len(relative)))

    @classmethod
    def of_late_steps(cls, state: Mapping[str, float]) -> Violation:
        """Over the last 5 % of the steps, whose batches are taken as independent: s/√n, a trend within them included.

        Fewer than 10 say too little, as do those of a checkpoint of before these sums were kept: an infinite error.
        """
        count = state["late_count"]
        if count < FEWEST_LATE:
            return cls(0.0, math.inf)
        mean = state["late_sum"] / count
        variance = max(0.0, state["late_squares"] / count - mean**2) * count / (count - 1)
        return cls(mean, math.sqrt(variance / count))

    @classmethod
    def at_end(cls, distortion: Tensor, objective: GecoObjective, state: Mapping[str, float]) -> Violation:
        """The mean of both measurements, or the one on examples where there were too few steps."""
        own, late = cls.of_examples(distortion, objective), cls.of_late_steps(state)
        return own if math.isinf(late.stderr) else cls.mean_of((own, late))

    @classmethod
    def mean_of(cls, found: Sequence[Violation]) -> Violation:
        """Of independent measurements."""
        means, stderrs = zip(*found, strict=True)
        return cls(sum(means) / len(found), math.hypot(*stderrs) / len(found))

    @property
    def settled(self) -> bool:
        """Whether it is within 2 %, or within twice its standard error where that is more."""
        return abs(self.mean) <= max(SETTLED, 2 * self.stderr)


def outcome(objective: GecoObjective, state: Mapping[str, float], violation: Violation) -> str:
    """How the constraint stood at the end: ok | infeasible | slack | unmet | unsettled.

    ok: the violation is settled; else slack: λ at its floor; unmet: the budget is shorter than λ takes to settle, or
    m ≤ 0 never came; infeasible: violated, λ at its ceiling over the last 5 % of the budget; unsettled: m ≤ 0 came.
    """
    if violation.settled:
        return "ok"
    if state["log_lambda"] <= math.log(FLOOR * objective.initial_lambda) + _AT_BOUND:
        return "slack"
    if objective.total_steps < objective.settling_steps:
        return "unmet"
    if violation.mean > 0 and state["ceiling_steps"] >= LATE * objective.total_steps:
        return "infeasible"
    return "unsettled" if state["met"] else "unmet"
