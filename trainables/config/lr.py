"""Schedules of the learning rate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from trainables.config.values import Count, Duration, Fraction, Number, Positive, Section

__all__ = [
    "ClrLr",
    "ConstantLr",
    "CosineWaveLr",
    "ExponentialLr",
    "InverseSqrtLr",
    "LinearWaveLr",
    "LrConfig",
    "OneCycleLr",
    "StepLr",
]


def _above_0(duration: float | str) -> float | str:
    if duration in (0, "0 steps"):
        raise ValueError("a length above 0")
    return duration


class _Lr(Section):
    """scaling: how rates follow the batch size; `auto` is the root of the ratio to base_batch_size.

    base_batch_size: the batch size for which the rates are stated.
    warmup: how long the rate rises from 0 before the schedule has its full height.
    encoder, decoder: what the rate is multiplied by for the parameters of each.
    """

    base_batch_size: Count = 128
    scaling: Literal["auto", "linear", "sqrt", "none"] = "auto"
    warmup: Duration = 0.0
    encoder: Positive = 1.0
    decoder: Positive = 1.0


class _Decay(_Lr):
    """base: the rate at the start."""

    base: Positive = 1e-3


class _Cycle(_Lr):
    """base, max: the lowest and the highest rate of a cycle."""

    base: Positive = 5e-4
    max: Positive = 5e-3

    @model_validator(mode="after")
    def _base_below_max(self) -> Self:
        if self.base >= self.max:
            raise ValueError(f"base {self.base:g} must be below max {self.max:g}; lower lr.base or raise lr.max")
        return self


class ConstantLr(_Decay):
    """The learning rate `base`, stated for `base_batch_size`, after a gradual warm-up (Goyal et al. 2017)."""

    kind: Literal["constant"] = "constant"


class ClrLr(_Cycle):
    """Triangular cycles between `base` and `max` (Smith 2015).

    step_size: half a cycle.
    mode: `triangular2` halves the height after each cycle, `exp-range` multiplies it by `gamma` at each step.
    gamma: for `exp-range` alone.
    """

    kind: Literal["clr"] = "clr"
    step_size: Duration = 0.125
    mode: Literal["triangular", "triangular2", "exp-range"] = "triangular"
    gamma: Annotated[Number, Field(gt=0, le=1)] = 0.9999


class OneCycleLr(_Lr):
    """One rise to `max` over `pct_start` of the budget and one fall, both cosine (Smith & Topin 2018).

    The rate starts at max / div and ends at max / div / final_div.

    max: the top of the rise. pct_start: the part of the budget in which the rate rises.
    div, final_div: by what the rate is divided at the start, and once more at the end.
    """

    kind: Literal["one-cycle"] = "one-cycle"
    max: Positive = 5e-3
    pct_start: Fraction = 0.3
    div: Annotated[Number, Field(ge=1)] = 25.0
    final_div: Annotated[Number, Field(ge=1)] = 1e4


class LinearWaveLr(_Cycle):
    """base → max → base in each `period`, straight: a triangular cycle by its whole length.

    period: the length of a cycle.
    """

    kind: Literal["linear-wave"] = "linear-wave"
    period: Duration = 0.25


class CosineWaveLr(_Cycle):
    """base + (max − base)·½(1 − cos(2π·t/period)): base → max → base in each period.

    period: the length of a cycle.
    """

    kind: Literal["cosine-wave"] = "cosine-wave"
    period: Duration = 0.25


class InverseSqrtLr(_Decay):
    """base/√(1 + t/timescale) (Surendran et al. 2024, whose timescale is an epoch).

    timescale: after how long the rate has fallen to base/√2.
    """

    kind: Literal["inverse-sqrt"] = "inverse-sqrt"
    timescale: Annotated[Duration, AfterValidator(_above_0)] = 0.01


class StepLr(_Decay):
    """base·gamma^⌊t/step_size⌋.

    step_size: the length of a step. gamma: what each step multiplies the rate by.
    """

    kind: Literal["step"] = "step"
    step_size: Duration = 0.3
    gamma: Fraction = 0.1


class ExponentialLr(_Decay):
    """base·final^(t/T), with the budget T.

    final: the rate at the end as a multiple of its base; above 1 it rises.
    """

    kind: Literal["exponential"] = "exponential"
    final: Positive = 0.01


LrConfig = Annotated[
    ConstantLr | ClrLr | OneCycleLr | LinearWaveLr | CosineWaveLr | InverseSqrtLr | StepLr | ExponentialLr,
    Field(discriminator="kind"),
]
