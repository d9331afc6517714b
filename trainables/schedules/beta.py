"""Schedules of β, the weight of the KL term, and of the pixel σ that is annealed in its place under GQN's.

A schedule is one class: its fields, its formula, its curve. Its `kind` is its name in `beta.kind`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from trainables.schedules.curves import (
    Curve,
    cosine_ramp,
    cosine_wave,
    exact_length,
    linear_ramp,
    position,
    sigmoid_ramp,
    tanh_ramp,
    triangular_wave,
)
from trainables.values import Duration, NonNegative, Number, Positive, Section, steps_of


class Beta(Section):
    """A schedule of β."""

    @abstractmethod
    def at(self, steps: Curve, total_steps: int) -> Curve:
        """β in each of these steps.

        Parameters
        ----------
        steps
            Numbers of steps, from 0.
        total_steps
            The budget.

        Returns
        -------
        Curve
            Of the same length as `steps`.
        """

    def sigma_factor_at(self, steps: Curve, total_steps: int) -> Curve:
        """The pixel σ of each step in units of the final one: 1, except under GQN's schedule.

        Parameters
        ----------
        steps, total_steps
            As for `at`.

        Returns
        -------
        Curve
            Of the same length as `steps`.
        """
        return np.ones(len(steps))

    def settled_at(self, total_steps: int) -> float:
        """The step from which β stays constant, or its cycles are whole.

        Parameters
        ----------
        total_steps
            The budget.

        Returns
        -------
        float
            0 without a warm-up.
        """
        return 0.0

    def cycle(self, total_steps: int) -> float:
        """The length of its cycles in steps.

        Parameters
        ----------
        total_steps
            The budget.

        Returns
        -------
        float
            0 without cycles.
        """
        return 0.0


class _Scaled(Beta):
    """end: the weight of the KL at the end of a rise; 1 is the ELBO."""

    end: NonNegative = 1.0

    def at(self, steps: Curve, total_steps: int) -> Curve:
        return self.end * self._height(steps, total_steps)

    @abstractmethod
    def _height(self, steps: Curve, total_steps: int) -> Curve:
        """The curve in units of `end`."""


class _Ramp(_Scaled):
    """warmup: how long β rises."""

    warmup: Duration = 0.25

    def settled_at(self, total_steps: int) -> float:
        return steps_of(self.warmup, total_steps)

    def _height(self, steps: Curve, total_steps: int) -> Curve:
        return self._ramp(position(steps, steps_of(self.warmup, total_steps)))

    @abstractmethod
    def _ramp(self, u: Curve) -> Curve:
        """The height at u = t/warmup."""


class _Wave(_Scaled):
    """period: the length of a cycle."""

    period: Duration = 0.25

    def cycle(self, total_steps: int) -> float:
        return exact_length(self.period, total_steps)


class ConstantBeta(_Scaled):
    """β = end throughout."""

    kind: Literal["constant"] = "constant"

    def _height(self, steps: Curve, total_steps: int) -> Curve:
        return np.ones(len(steps))


class LinearBeta(_Ramp):
    """β rises from 0 to `end` over `warmup`, then holds (Bowman et al. 2016).

    Examples
    --------
    >>> LinearBeta(end=0.5, warmup=0.5).at(np.array([0.0, 25.0, 50.0, 99.0]), 100).tolist()
    [0.0, 0.25, 0.5, 0.5]
    """

    kind: Literal["linear"] = "linear"

    def _ramp(self, u: Curve) -> Curve:
        return linear_ramp(u)


class SigmoidBeta(_Ramp):
    """β = end·σ(steepness·(t/warmup − ½)) over `warmup`, then `end` (Bowman et al. 2016).

    steepness: of the middle of the rise.
    """

    kind: Literal["sigmoid"] = "sigmoid"
    steepness: Positive = 12.0

    def _ramp(self, u: Curve) -> Curve:
        return sigmoid_ramp(u, self.steepness)


class TanhBeta(_Ramp):
    """β = end·tanh(γt), at .99·end after `warmup`: γ = artanh(.99)/warmup (Ichikawa & Hukushima 2023)."""

    kind: Literal["tanh"] = "tanh"

    def _ramp(self, u: Curve) -> Curve:
        return tanh_ramp(u)


class CosineBeta(_Ramp):
    """β = end·½(1 − cos(π·t/warmup)) over `warmup`, then holds: a ramp, not a wave."""

    kind: Literal["cosine"] = "cosine"

    def _ramp(self, u: Curve) -> Curve:
        return cosine_ramp(u)


class CyclicalBeta(_Wave):
    """β rises from 0 to `end` over the first `ratio` of each `period`, holds, and restarts (Fu et al. 2019).

    end·ramp(τ/ratio) with τ = (t mod period)/period (arXiv 1903.10145).
    period: 1/M of the budget for M cycles. ratio: the part of a cycle in which β rises. shape: of the rise.

    Examples
    --------
    >>> CyclicalBeta(period=0.5).at(np.array([0.0, 10.0, 25.0, 49.0, 50.0, 60.0]), 100).tolist()
    [0.0, 0.4, 1.0, 1.0, 0.0, 0.4]
    """

    kind: Literal["cyclical"] = "cyclical"
    ratio: Annotated[Number, Field(gt=0, le=1)] = 0.5
    shape: Literal["linear", "sigmoid", "cosine"] = "linear"

    def _height(self, steps: Curve, total_steps: int) -> Curve:
        period = self.cycle(total_steps)
        u = position(np.mod(steps, period), self.ratio * period)
        match self.shape:
            case "linear":
                return linear_ramp(u)
            case "sigmoid":
                return sigmoid_ramp(u, SigmoidBeta().steepness)
            case "cosine":
                return cosine_ramp(u)


class CosineWaveBeta(_Wave):
    """β = end·½(1 − cos(2π·t/period)): 0 → end → 0 in each period."""

    kind: Literal["cosine-wave"] = "cosine-wave"

    def _height(self, steps: Curve, total_steps: int) -> Curve:
        return cosine_wave(steps / self.cycle(total_steps))


class TriangularWaveBeta(_Wave):
    """β = end·(1 − |2·frac(t/period) − 1|): 0 → end → 0 in each period, straight."""

    kind: Literal["triangular-wave"] = "triangular-wave"

    def _height(self, steps: Curve, total_steps: int) -> Curve:
        return triangular_wave(steps / self.cycle(total_steps))


class GqnBeta(Beta):
    """The pixel σ falls linearly from start·σ to σ = `model.sigma` over `warmup`: β_eq = (σ_t/σ)² (Eslami et al. 2018).

    Gaussian likelihood only; evaluation is always at the final σ. As used by Rezende & Viola 2018, arXiv 1810.00597.
    start: σ at the first step as a multiple of the final one; 2.0/0.7 in the paper. warmup: how long σ falls.

    Examples
    --------
    >>> GqnBeta(start=3.0, warmup=0.5).at(np.array([0.0, 25.0, 50.0]), 100).tolist()
    [9.0, 4.0, 1.0]
    """

    kind: Literal["gqn"] = "gqn"
    start: Annotated[Number, Field(ge=1)] = 2.0 / 0.7
    warmup: Duration = 0.25

    def at(self, steps: Curve, total_steps: int) -> Curve:
        return np.square(self.sigma_factor_at(steps, total_steps))

    def sigma_factor_at(self, steps: Curve, total_steps: int) -> Curve:
        return self.start + (1 - self.start) * linear_ramp(position(steps, steps_of(self.warmup, total_steps)))

    def settled_at(self, total_steps: int) -> float:
        return steps_of(self.warmup, total_steps)


BetaConfig = Annotated[
    ConstantBeta
    | LinearBeta
    | SigmoidBeta
    | TanhBeta
    | CosineBeta
    | CyclicalBeta
    | CosineWaveBeta
    | TriangularWaveBeta
    | GqnBeta,
    Field(discriminator="kind"),
]
