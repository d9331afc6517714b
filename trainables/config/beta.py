"""Schedules of β, the weight of the KL term."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.values import Duration, NonNegative, Number, Positive, Section

__all__ = [
    "BetaConfig",
    "ConstantBeta",
    "CosineBeta",
    "CosineWaveBeta",
    "CyclicalBeta",
    "GqnBeta",
    "LinearBeta",
    "SigmoidBeta",
    "TanhBeta",
    "TriangularWaveBeta",
]


class _Beta(Section):
    """end: the weight of the KL at the end of a rise; 1 is the ELBO."""

    end: NonNegative = 1.0


class _Ramp(_Beta):
    """warmup: how long β rises."""

    warmup: Duration = 0.25


class _Wave(_Beta):
    """period: the length of a cycle."""

    period: Duration = 0.25


class ConstantBeta(_Beta):
    """β = end throughout."""

    kind: Literal["constant"] = "constant"


class LinearBeta(_Ramp):
    """β rises from 0 to `end` over `warmup`, then holds (Bowman et al. 2016)."""

    kind: Literal["linear"] = "linear"


class SigmoidBeta(_Ramp):
    """β = end·σ(steepness·(t/warmup − ½)) over `warmup`, then `end` (Bowman et al. 2016).

    steepness: of the middle of the rise.
    """

    kind: Literal["sigmoid"] = "sigmoid"
    steepness: Positive = 12.0


class TanhBeta(_Ramp):
    """β = end·tanh(γt), at .99·end after `warmup`: γ = artanh(.99)/warmup (Ichikawa & Hukushima 2023)."""

    kind: Literal["tanh"] = "tanh"


class CosineBeta(_Ramp):
    """β = end·½(1 − cos(π·t/warmup)) over `warmup`, then holds: a ramp, not a wave."""

    kind: Literal["cosine"] = "cosine"


class CyclicalBeta(_Wave):
    """β rises from 0 to `end` over the first `ratio` of each `period`, holds, and restarts (Fu et al. 2019).

    period: 1/M of the budget for M cycles. ratio: the part of a cycle in which β rises. shape: of the rise.
    """

    kind: Literal["cyclical"] = "cyclical"
    ratio: Annotated[Number, Field(gt=0, le=1)] = 0.5
    shape: Literal["linear", "sigmoid", "cosine"] = "linear"


class CosineWaveBeta(_Wave):
    """β = end·½(1 − cos(2π·t/period)): 0 → end → 0 in each period."""

    kind: Literal["cosine-wave"] = "cosine-wave"


class TriangularWaveBeta(_Wave):
    """β = end·(1 − |2·frac(t/period) − 1|): 0 → end → 0 in each period, straight."""

    kind: Literal["triangular-wave"] = "triangular-wave"


class GqnBeta(Section):
    """The pixel σ falls linearly from start·σ to σ = `model.sigma` over `warmup`: β_eq = (σ_t/σ)² (Eslami et al. 2018).

    Gaussian likelihood only; evaluation is always at the final σ.
    start: σ at the first step as a multiple of the final one; 2.0/0.7 in the paper. warmup: how long σ falls.
    """

    kind: Literal["gqn"] = "gqn"
    start: Annotated[Number, Field(ge=1)] = 2.0 / 0.7
    warmup: Duration = 0.25


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
