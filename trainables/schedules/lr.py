"""Schedules of the learning rate: a curve of its kind, scaled by the batch size, after a gradual warm-up.

A schedule is one class: its fields, its formula, its curve. Its `kind` is its name in `lr.kind`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from trainables.schedules.curves import (
    Curve,
    cosine_ramp,
    cosine_wave,
    exact_length,
    linear_ramp,
    position,
    triangular_wave,
)
from trainables.values import Count, Duration, Fraction, Number, Positive, Section, steps_of

SCALING_NAMES = {"linear": "linear", "sqrt": "square-root", "none": "no"}


def scaling_of(scaling: str) -> str:
    """The rule that a value of `lr.scaling` means.

    `auto` is the root, which lost least where it was measured, under Adam and under SGD (docs/learning-rates.md).

    Parameters
    ----------
    scaling
        `auto`, `linear`, `sqrt` or `none`.

    Returns
    -------
    str
        `linear`, `sqrt` or `none`.
    """
    return "sqrt" if scaling == "auto" else scaling


def scaling_factor(scaling: str, k: float) -> float:
    """The factor of every rate, where batches are k times the size that rates are stated for: k, √k or 1.

    Linear scaling: Goyal et al. 2017, arXiv 1706.02677; square root, for Adam: Malladi et al. 2022, arXiv 2205.10287.

    Parameters
    ----------
    scaling
        As for `scaling_of`.
    k
        Above 0.

    Returns
    -------
    float
        Above 0.

    Examples
    --------
    >>> scaling_factor("linear", 4.0), scaling_factor("auto", 4.0), scaling_factor("none", 4.0)
    (4.0, 2.0, 1.0)
    """
    return {"linear": k, "sqrt": math.sqrt(k), "none": 1.0}[scaling_of(scaling)]


class Lr(Section):
    """A schedule of the learning rate.

    scaling: how rates follow the batch size; `auto` is the root of the ratio to base_batch_size.
    base_batch_size: the batch size for which the rates are stated.
    warmup: how long the rate rises from 0 before the schedule has its full height.
    encoder, decoder: what the rate is multiplied by for the parameters of each.

    Examples
    --------
    >>> ConstantLr(base=1e-3, warmup="2 steps").at(np.array([0.0, 1.0, 2.0, 9.0]), 10, batch_size=512).tolist()
    [0.001, 0.0015, 0.002, 0.002]
    """

    base_batch_size: Count = 128
    scaling: Literal["auto", "linear", "sqrt", "none"] = "auto"
    warmup: Duration = 0.0
    encoder: Positive = 1.0
    decoder: Positive = 1.0

    @abstractmethod
    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        """The rate of its kind in each step, as written."""

    def at(self, steps: Curve, total_steps: int, batch_size: int) -> Curve:
        """The rate in each of these steps: the kind's curve, scaled by the batch size, after a gradual warm-up.

        The warm-up starts from the unscaled rate where scaling raises it (Goyal et al. 2017), else from 0.

        Parameters
        ----------
        steps
            Numbers of steps, from 0.
        total_steps
            The budget.
        batch_size
            Examples of an update.

        Returns
        -------
        Curve
            Of the same length as `steps`.
        """
        factor = self.batch_size_factor(batch_size)
        start = 1 / factor if factor > 1 else 0.0
        rise = start + (1 - start) * linear_ramp(position(steps, steps_of(self.warmup, total_steps)))
        return factor * rise * self._curve(steps, total_steps)

    def batch_size_factor(self, batch_size: int) -> float:
        """The factor of every rate at this batch size.

        Parameters
        ----------
        batch_size
            Examples of an update.

        Returns
        -------
        float
            Above 0.
        """
        return scaling_factor(self.scaling, batch_size / self.base_batch_size)

    def settled_at(self, total_steps: int) -> float:
        """The step at which its warm-up ends.

        Parameters
        ----------
        total_steps
            The budget.

        Returns
        -------
        float
            0 without a warm-up.
        """
        return steps_of(self.warmup, total_steps)

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

    def rate_in_use(self, batch_size: int) -> str | None:
        """The rates as they are used, in words.

        Parameters
        ----------
        batch_size
            Examples of an update.

        Returns
        -------
        str or None
            None where they are used as written.

        Examples
        --------
        >>> ConstantLr(base=1e-3, base_batch_size=32, scaling="linear").rate_in_use(256)
        'learning rate 0.008 = lr.base 0.001 × 8 (linear scaling, batch 256 over base batch 32)'
        """
        scaled = self.scaled_by(batch_size)
        if not scaled:
            return None
        factor = self.batch_size_factor(batch_size)
        written = {path: getattr(self, path) for path in ("base", "max") if hasattr(self, path)}
        used = " to ".join(f"{factor * value:.3g}" for value in written.values())
        stated = " to ".join(f"lr.{path} {value:g}" for path, value in written.items())
        top = "up to " if "base" not in written else ""
        return f"learning rate {top}{used} = {stated}{scaled}"

    def scaled_by(self, batch_size: int) -> str:
        """What written rates are multiplied by, in words.

        Parameters
        ----------
        batch_size
            Examples of an update.

        Returns
        -------
        str
            Empty where they are used as written.

        Examples
        --------
        >>> ConstantLr(base_batch_size=32, encoder=0.5).scaled_by(128)
        ' × 2 (square-root scaling, batch 128 over base batch 32), × 0.5 in the encoder'
        """
        factor = self.batch_size_factor(batch_size)
        sides = {"encoder": self.encoder, "decoder": self.decoder}
        own = "".join(f", × {value:g} in the {side}" for side, value in sides.items() if value != 1)
        sizes = f"batch {batch_size} over base batch {self.base_batch_size}"
        rule = f" × {factor:.3g} ({SCALING_NAMES[scaling_of(self.scaling)]} scaling, {sizes})" if factor != 1 else ""
        return f"{rule}{own}"


def _above_0(duration: float | str) -> float | str:
    if duration in (0, "0 steps"):
        raise ValueError("a length above 0")
    return duration


class _Decay(Lr):
    """base: the rate at the start."""

    base: Positive = 1e-3


class _Cycle(Lr):
    """base, max: the lowest and the highest rate of a cycle."""

    base: Positive = 5e-4
    max: Positive = 5e-3

    @model_validator(mode="after")
    def _base_below_max(self) -> Self:
        if self.base >= self.max:
            raise ValueError(f"base {self.base:g} must be below max {self.max:g}; lower lr.base or raise lr.max")
        return self

    def _between(self, height: Curve) -> Curve:
        """base at height 0, max at height 1."""
        return self.base + (self.max - self.base) * height


class ConstantLr(_Decay):
    """The learning rate `base`, stated for `base_batch_size`, after a gradual warm-up (Goyal et al. 2017)."""

    kind: Literal["constant"] = "constant"

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        return np.full(len(steps), self.base)


class ClrLr(_Cycle):
    """Triangular cycles between `base` and `max` (Smith 2015, arXiv 1506.01186).

    base + (max − base)·scale·max(0, 1 − |t/s − 2c + 1|), c = ⌊1 + t/2s⌋, s = step_size, where scale is 1
    (`triangular`), 2^−(c − 1) (`triangular2`) or gamma^t (`exp-range`).

    step_size: half a cycle.
    mode: `triangular2` halves the height after each cycle, `exp-range` multiplies it by `gamma` at each step.
    gamma: for `exp-range` alone.
    """

    kind: Literal["clr"] = "clr"
    step_size: Duration = 0.125
    mode: Literal["triangular", "triangular2", "exp-range"] = "triangular"
    gamma: Annotated[Number, Field(gt=0, le=1)] = 0.9999

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        cycles = steps / self.cycle(total_steps)
        match self.mode:
            case "triangular":
                scale = np.ones(len(steps))
            case "triangular2":
                scale = 0.5 ** np.floor(cycles)
            case "exp-range":
                scale = self.gamma**steps
        return self._between(scale * triangular_wave(cycles))

    def cycle(self, total_steps: int) -> float:
        return 2 * exact_length(self.step_size, total_steps)


class OneCycleLr(Lr):
    """One rise to `max` over `pct_start` of the budget and one fall, both cosine (Smith & Topin 2018).

    The rate starts at max / div, is `max` at step pct_start·T − 1, and ends at max / div / final_div.

    max: the top of the rise. pct_start: the part of the budget in which the rate rises.
    div, final_div: by what the rate is divided at the start, and once more at the end.
    """

    kind: Literal["one-cycle"] = "one-cycle"
    max: Positive = 5e-3
    pct_start: Fraction = 0.3
    div: Annotated[Number, Field(ge=1)] = 25.0
    final_div: Annotated[Number, Field(ge=1)] = 1e4

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        first, last = self.max / self.div, self.max / self.div / self.final_div
        top = self.pct_start * total_steps - 1
        rising = first + (self.max - first) * cosine_ramp(position(steps, top))
        falling = self.max + (last - self.max) * cosine_ramp(np.maximum(0.0, steps - top) / (total_steps - 1 - top))
        return np.where(steps <= top, rising, falling)

    def settled_at(self, total_steps: int) -> float:
        return max(super().settled_at(total_steps), self.pct_start * total_steps)


class LinearWaveLr(_Cycle):
    """base → max → base in each `period`, straight: a triangular cycle by its whole length.

    period: the length of a cycle.
    """

    kind: Literal["linear-wave"] = "linear-wave"
    period: Duration = 0.25

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        return self._between(triangular_wave(steps / self.cycle(total_steps)))

    def cycle(self, total_steps: int) -> float:
        return exact_length(self.period, total_steps)


class CosineWaveLr(_Cycle):
    """base + (max − base)·½(1 − cos(2π·t/period)): base → max → base in each period.

    period: the length of a cycle.
    """

    kind: Literal["cosine-wave"] = "cosine-wave"
    period: Duration = 0.25

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        return self._between(cosine_wave(steps / self.cycle(total_steps)))

    def cycle(self, total_steps: int) -> float:
        return exact_length(self.period, total_steps)


class InverseSqrtLr(_Decay):
    """base/√(1 + t/timescale) (Surendran et al. 2024, whose timescale is an epoch).

    timescale: after how long the rate has fallen to base/√2.
    """

    kind: Literal["inverse-sqrt"] = "inverse-sqrt"
    timescale: Annotated[Duration, AfterValidator(_above_0)] = 0.01

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        return self.base / np.sqrt(1 + steps / exact_length(self.timescale, total_steps))


class StepLr(_Decay):
    """base·gamma^⌊t/step_size⌋.

    step_size: the length of a step. gamma: what each step multiplies the rate by.
    """

    kind: Literal["step"] = "step"
    step_size: Duration = 0.3
    gamma: Fraction = 0.1

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        return self.base * self.gamma ** np.floor(steps / steps_of(self.step_size, total_steps))


class ExponentialLr(_Decay):
    """base·final^(t/T), with the budget T.

    final: the rate at the end as a multiple of its base; above 1 it rises.
    """

    kind: Literal["exponential"] = "exponential"
    final: Positive = 0.01

    def _curve(self, steps: Curve, total_steps: int) -> Curve:
        return self.base * self.final ** (steps / total_steps)


LrConfig = Annotated[
    ConstantLr | ClrLr | OneCycleLr | LinearWaveLr | CosineWaveLr | InverseSqrtLr | StepLr | ExponentialLr,
    Field(discriminator="kind"),
]
