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
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.objectives import Geco, target_of
from trainables.config.optimizers import OptimizerConfig
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.likelihoods import Likelihood
from trainables.objectives.base import Constants, Ending, EpochEnd, Hyper, Objective, State, Terms
from trainables.values import steps_per_epoch

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
SETTLING_UPDATES = 1_000  # docs/geco-regimes.md
SETTLING_BATCH = 32
AUTO_SHARE, AUTO_BELOW_MEAN = 0.6, 0.95  # of κ_max
MET_FROM = 1.05
"""In units of κ_min, the smallest κ that is kept to."""


@dataclass(frozen=True)
class GecoObjective(Objective):
    """KL subject to distortion/D ≤ target.

    constraint: `re` (distortion SSE, target κ², σ_eq² = 1/2λ) or `nll` (distortion recon_nll, target κ, β = 1/λ).
    n_elements, latent_dim: D and M; λ₀ = M/(2Dκ²) with λ₀κ², which has no unit, within [.00125, .5] under `re`; 1 (the
        ELBO) under `nll`.
    total_steps: the budget T; ν = 40/T within [.01, .05].
    settling_steps: the updates that λ takes to settle: a trial of fewer that is off its target is `unmet`.
    bounded: divide the loss by 1 + λ, which keeps the gradient norm independent of λ: needed where gradients are
        clipped and where their norm is the size of the step.
    """

    kappa: float
    constraint: str
    n_elements: int
    latent_dim: int
    total_steps: int
    settling_steps: int
    bounded: bool

    @classmethod
    def of(cls, config: TrialConfig, n_elements: int, total_steps: int) -> GecoObjective:
        match config.objective:
            case Geco(kappa=float(kappa), constraint=constraint):
                bounded, settling = _feels_the_size_of_a_loss(config.optimizer), updates_to_settle(config)
                return cls(kappa, constraint, n_elements, config.model.latent_dim, total_steps, settling, bounded)
        raise ValueError("objective.kappa must be resolved before training")

    @classmethod
    def resolved(cls, config: TrialConfig, likelihood: type[Likelihood], facts: DataFacts) -> Geco:
        objective = config.objective
        assert isinstance(objective, Geco)
        constraint = likelihood.constraints[0] if objective.constraint == "auto" else objective.constraint
        if constraint not in likelihood.constraints:
            raise ConfigError("objective.constraint: nll needs the Bernoulli likelihood; use re under a Gaussian one")
        kappa = _auto_kappa(constraint, facts) if objective.kappa == "auto" else objective.kappa
        return objective.model_copy(update={"constraint": constraint, "kappa": kappa})

    @classmethod
    def notes(cls, config: TrialConfig, facts: DataFacts) -> list[str]:
        objective, found = config.objective, []
        if not (isinstance(objective, Geco) and isinstance(objective.kappa, float)):
            return []
        limit = facts.kappa_max[objective.constraint]
        if objective.kappa >= limit:
            found.append(
                f"objective.kappa {objective.kappa:g} is not below {limit:.4g}, what the mean image reaches: "
                "the constraint is slack and the KL falls to 0"
            )
        if objective.constraint == "re" and config.data.likelihood == "bernoulli":
            found.append(
                "objective.constraint re under a Bernoulli likelihood: the result is not comparable with trials that "
                "maximise the Bernoulli likelihood"
            )
            found += _noise_notes(objective.kappa, facts)
        return found

    @property
    def target(self) -> float:
        return target_of(self.kappa, self.constraint)

    @property
    def accepted(self) -> float:
        return self.n_elements * self.target

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

    @property
    def formula(self) -> Hashable:
        return type(self), self.constraint, self.bounded

    def init(self) -> dict[str, float]:
        log_lambda = math.log(self.initial_lambda)
        state = {"log_lambda": log_lambda, "moving": math.inf, "met": 0.0, "ceiling_steps": 0.0}
        return state | {"late_sum": 0.0, "late_squares": 0.0, "late_count": 0.0}

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        distortion = terms.sse if self.constraint == "re" else terms.recon_nll
        violation = distortion.mean(-1) / self.n_elements - hyper["target"]
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

    def metrics(self, end: EpochEnd) -> dict[str, float]:
        """λ and its median over the epoch, the constraint's moving average, the β and σ that weigh the same, and by how
        much of its target the constraint, kept on training data, is violated on validation data.
        """
        weight = math.exp(float(end.states["log_lambda"][-1]))
        distortion = end.val["val/mse"] if self.constraint == "re" else end.val["val/recon_nll"] / self.n_elements
        return {
            "geco/lambda": weight,
            "geco/constraint": float(end.states["moving"][-1]),
            **self._equivalents(weight, end.likelihood),
            "geco/val_violation": distortion / self.target - 1,
            "geco/lambda_median": float(end.states["log_lambda"].median().exp()),
        }

    def _equivalents(self, weight: float, likelihood: Likelihood) -> dict[str, float]:
        if self.constraint == "nll":
            return {"schedule/beta": 1 / weight}
        return {"schedule/sigma_eq": math.sqrt(1 / (2 * weight))} | likelihood.equivalent_beta(weight)

    def traced(self, state: State) -> dict[str, Tensor]:
        return {"lambda": state["log_lambda"].exp(), "moving": state["moving"]}

    def error(self, likelihood: Likelihood) -> str:
        return self.constraint

    def ending(self, distortion: Tensor, state: Mapping[str, float]) -> Ending:
        violation = Violation.at_end(distortion, self, state)
        found = {"geco/violation": violation.mean, "geco/violation_se": violation.stderr}
        return Ending(self.outcome(state, violation), found)

    def outcome(self, state: Mapping[str, float], violation: Violation) -> str:
        """How the constraint stood at the end: ok | infeasible | slack | unmet | unsettled.

        ok: the violation is settled; else slack: λ at its floor; unmet: the budget is shorter than λ takes to settle,
        or m ≤ 0 never came; infeasible: violated, λ at its ceiling over the last 5 % of the budget; unsettled: m ≤ 0
        came.
        """
        if violation.settled:
            return "ok"
        if state["log_lambda"] <= math.log(FLOOR * self.initial_lambda) + _AT_BOUND:
            return "slack"
        if self.total_steps < self.settling_steps:
            return "unmet"
        if violation.mean > 0 and state["ceiling_steps"] >= LATE * self.total_steps:
            return "infeasible"
        return "unsettled" if state["met"] else "unmet"


class Violation(NamedTuple):
    """By how much of its target a constraint is violated, with the standard error of that.

    At the end of a trial it is measured twice: over the last 5 % of the steps, of each batch before the update by it,
    and on training examples after the last update. The one is late, the other is of a single iterate, whose own noise
    its standard error does not hold. `at_end` weighs both.
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
        """Both measurements, each weighed by 1/SE² and the one on examples by half at most; that one alone where there
        were too few steps.

        An iterate is within two standard deviations of the late batches' violations, which hold its noise and that of
        a batch. Where the examples differ by more, the worse of both counts.
        """
        own, late = cls.of_examples(distortion, objective), cls.of_late_steps(state)
        if math.isinf(late.stderr):
            return own
        scatter = late.stderr * math.sqrt(state["late_count"])
        if abs(own.mean - late.mean) > 2 * math.hypot(scatter, own.stderr):
            return max(own, late, key=lambda found: abs(found.mean))
        share = late.stderr**2 / (late.stderr**2 + own.stderr**2) if late.stderr < own.stderr else 0.5
        mean = share * own.mean + (1 - share) * late.mean
        return cls(mean, math.hypot(share * own.stderr, (1 - share) * late.stderr))

    @classmethod
    def mean_of(cls, found: Sequence[Violation]) -> Violation:
        """Of independent measurements."""
        means, stderrs = zip(*found, strict=True)
        return cls(sum(means) / len(found), math.hypot(*stderrs) / len(found))

    @property
    def settled(self) -> bool:
        """Whether it is within 2 %, or within twice its standard error where that is more."""
        return abs(self.mean) <= max(SETTLED, 2 * self.stderr)


def updates_to_settle(config: TrialConfig) -> int:
    """The updates that GECO's λ takes to settle: 1,000, times √(32/B) for a batch B below 32, twice that under SGD."""
    updates = config.optimizer.settling * SETTLING_UPDATES
    return math.ceil(updates * math.sqrt(max(1.0, SETTLING_BATCH / config.batch_size)))


def geco_notes(config: TrialConfig, facts: DataFacts) -> list[str]:
    """On a budget that is too short for GECO, whatever the objective of this configuration."""
    per_epoch = steps_per_epoch(facts.n_train, config.batch_size)
    updates, needed = config.epochs * per_epoch, updates_to_settle(config)
    if updates >= needed:
        return []
    return [
        f"objective.kind geco: {updates:,} updates ({config.epochs} epochs of {per_epoch} steps at batch_size "
        f"{config.batch_size}) are fewer than the {needed:,} that λ takes to settle: expect the outcome unmet; "
        f"set epochs to {math.ceil(needed / per_epoch)}, or lower batch_size"
    ]


def _feels_the_size_of_a_loss(optimizer: OptimizerConfig) -> bool:
    """Whether a loss ten times as large makes another step: always under SGD, in RAdam's first steps, and where
    gradients are clipped.
    """
    return not optimizer.scale_free or (optimizer.clip_norm, optimizer.clip_value) != (None, None)


def _auto_kappa(constraint: str, facts: DataFacts) -> float:
    """max(0.6·κ_max, 1.05·κ_min), where κ_min is known, and at most 0.95·κ_max."""
    limit, reach = facts.kappa_max[constraint], (facts.kappa_min or {}).get(constraint, 0.0)
    return min(max(AUTO_SHARE * limit, MET_FROM * reach), AUTO_BELOW_MEAN * limit)


def _noise_notes(kappa: float, facts: DataFacts) -> list[str]:
    """On the floor of an RMS error of bits that are drawn from gray values."""
    noise = facts.pixel_noise
    if not noise:
        return []
    floor = f"the pixel noise of the bits has an RMS of {noise:.4g}: no smaller κ can be kept to"
    return [f"objective.kappa {kappa:.4g} is out of reach: {floor}; raise it" if kappa <= noise else floor]
