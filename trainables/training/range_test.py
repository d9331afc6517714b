"""The learning-rate range test (Smith 2015, arXiv 1506.01186, §3.3): train while the rate rises, and watch the loss.

It is a training run like any other whose schedule is a ramp. The loss is that of the objective at its settled weights:
β at its end, GECO's multiplier held at λ₀, so that nothing but the learning rate moves the curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.errors import ConfigError
from trainables.schedules.beta import ConstantBeta, GqnBeta
from trainables.schedules.curves import Curve
from trainables.schedules.lr import ClrLr, ExponentialLr, LrConfig
from trainables.training.trainer import Trainer

MIN_STEPS = 60
CHECK_STEPS = 32
SMOOTHING_SHARE = 1 / 40
SMOOTHING_STEPS = 5
CLEAR_SHARE = 0.05
CLEAR_DEVIATIONS = 5.0
FLOAT32_RESOLUTION = 1e-6
# A rate that a few steps survive is too high for whole cycles: the best CLR maximum of whole trainings was a third
# (digits) and somewhat under a half (MNIST) of the rate at which the loss leaves its valley.
MARGIN = 3.0
# Smith 2015's rule of thumb for base. Where the loss begins to fall is too low for cycles by one or two orders of
# magnitude (docs/learning-rates.md).
BASE_SHARE = 0.25
# Between nearer bounds the rate hardly changes.
LEAST_RATIO = 2.0


@dataclass(frozen=True)
class Bounds:
    """Learning rates as they were used, not scaled by a batch size."""

    base: float
    max: float


@dataclass(frozen=True)
class RangeTest:
    """The losses of a range test, step by step, and the bounds that it suggests; None where it saw too little.

    smoothed: the exponential moving average of the loss, corrected for its start. notes: remarks for the user.
    """

    rates: Curve
    losses: Curve
    smoothed: Curve
    bounds: Bounds | None
    notes: tuple[str, ...]


def ramped(config: TrialConfig, low: float, high: float, epochs: int, linear: bool = False) -> TrialConfig:
    """The configuration of the test: the rate rises from low to high over the epochs, and β is constant at its end.

    The rate rises geometrically, or along a line.
    """
    groups = {"scaling": "none", "encoder": config.lr.encoder, "decoder": config.lr.decoder}
    ramp: LrConfig = (
        ClrLr(base=low, max=high, step_size=1.0, **groups)
        if linear
        else ExponentialLr(base=low, final=high / low, **groups)
    )
    beta = config.beta
    if beta is not None:
        beta = ConstantBeta(end=1.0 if isinstance(beta, GqnBeta) else beta.end)
    return config.model_copy(update={"lr": ramp, "beta": beta, "epochs": epochs})


def run(trainer: Trainer) -> RangeTest:
    """Train a resolved, `ramped` configuration until the loss blows up.

    Raises ConfigError where it has too few steps.
    """
    if trainer.total_steps < MIN_STEPS:
        raise ConfigError(
            f"epochs: {trainer.config.epochs} are {trainer.total_steps} steps and a range test needs at least "
            f"{MIN_STEPS}; make it {math.ceil(MIN_STEPS / trainer.steps_per_epoch)}"
        )
    window = max(SMOOTHING_STEPS, round(SMOOTHING_SHARE * trainer.total_steps))
    steps, average, losses, curve = _held(trainer), _MovingAverage(window), np.empty(0), np.empty(0)
    while block := list(islice(steps, max(CHECK_STEPS, window))):
        new = np.array(torch.stack(block).tolist())
        losses, curve = np.append(losses, new), np.append(curve, average.extended(new))
        if _blown_up(losses, curve, window):
            break
    config = trainer.config
    rates = config.lr.at(np.arange(float(len(losses))), trainer.total_steps, config.batch_size)
    return suggest(rates, losses, window)


def _held(trainer: Trainer) -> Iterator[Tensor]:
    """The loss of each step, the objective's state (GECO's multiplier) as it is before the first."""
    for _ in range(trainer.config.epochs):
        for record in trainer.steps(hold_state=True):
            yield record.loss[0]


def smoothed(losses: Curve, window: int) -> Curve:
    """The exponential moving average of all losses, corrected for its start."""
    return _MovingAverage(window).extended(losses)


class _MovingAverage:
    """m_t/(1 − bᵗ) with m_t = b·m_{t−1} + (1 − b)·loss_t, b = 1 − 1/window, taken further block by block."""

    def __init__(self, window: int) -> None:
        self._b, self._moving, self._t = 1 - 1 / window, 0.0, 0

    def extended(self, losses: Curve) -> Curve:
        """The averages at the next losses."""
        curve = []
        for loss in losses.tolist():
            self._t += 1
            self._moving = self._b * self._moving + (1 - self._b) * loss
            curve.append(self._moving / (1 - self._b**self._t))
        return np.array(curve)


def unlagged(i: int, window: int) -> int:
    """The step whose loss the moving average shows at step i: earlier by the mean age b/(1 − b) − t·bᵗ/(1 − bᵗ) of
    the t = i + 1 losses in it."""
    b, t = 1 - 1 / window, i + 1
    return round(i - (window - 1 - t * b**t / (1 - b**t)))


def suggest(rates: Curve, losses: Curve, window: int) -> RangeTest:
    """Bounds from a curve that clearly falls: max below where it clearly rises again, base a quarter of that.

    `clearly` is by a share of the whole fall, and by some standard deviations of the smoothed loss, so that neither
    the loss's unit nor a constant in it matters.
    """
    n = len(losses) if np.isfinite(losses).all() else int(np.argmin(np.isfinite(losses)))
    curve = smoothed(losses[:n], window)
    test = RangeTest(rates[:n], losses[:n], curve, None, ())
    if n <= 2 * window:
        return replace(test, notes=(_too_short(n, is_finite=n == len(losses)),))
    clear = _clear(losses[:n], curve, window)
    level = _start(losses[:n], window) - clear
    bottom = 2 * window + int(np.argmin(curve[2 * window :]))
    if curve[bottom] >= level:
        return replace(test, notes=("the loss never fell clearly; try more epochs, or other rates",))
    first = int(np.flatnonzero(curve[:bottom] >= level).max(initial=-1)) + 1
    risen = np.flatnonzero(curve > np.minimum.accumulate(curve) + clear)
    risen = risen[risen > first]
    notes = []
    if n == len(losses) and not len(risen):
        notes.append(f"the loss had not risen again at {rates[-1]:.2g}, the highest rate tried; it rises above that")
        top = rates[-1]
    else:
        top = rates[unlagged(risen[0], window) if len(risen) else n - 1] / MARGIN
    base = max(BASE_SHARE * top, rates[0])
    if LEAST_RATIO * base > top:
        notes.append(
            f"the highest stable rate, {top:.2g}, is too near the first one for cycles; start with lower rates"
        )
        return replace(test, notes=tuple(notes))
    return replace(test, bounds=Bounds(float(base), float(top)), notes=tuple(notes))


def _too_short(n: int, is_finite: bool) -> str:
    if is_finite:
        return f"{n} steps are too few to tell a fall from noise; try more epochs"
    return f"the loss became NaN or infinite after {n} steps; start with lower rates"


def _start(losses: Curve, window: int) -> float:
    """The loss before it falls: of the first steps; of the very first where it falls clearly within those."""
    first, level = float(np.median(losses[:SMOOTHING_STEPS])), float(np.median(losses[: 2 * window]))
    return first if first - level > CLEAR_DEVIATIONS * _noise(losses) / math.sqrt(SMOOTHING_STEPS) else level


def _noise(losses: Curve) -> float:
    """The standard deviation of a loss about its trend, from second differences, which a trend does not change."""
    return float(1.4826 * np.median(np.abs(np.diff(losses, n=2))) / math.sqrt(6))


def _clear(losses: Curve, curve: Curve, window: int) -> float:
    """The change of the smoothed loss that counts; never less than float32 resolves.

    The moving average keeps 1/√(2·window − 1) of the noise.
    """
    start = _start(losses, window)
    return float(
        max(
            CLEAR_SHARE * (start - curve.min()),
            CLEAR_DEVIATIONS * _noise(losses) / math.sqrt(2 * window - 1),
            FLOAT32_RESOLUTION * abs(start),
        )
    )


def _blown_up(losses: Curve, curve: Curve, window: int) -> bool:
    """Whether the smoothed loss is as far above its start as it once fell below it, or became NaN or infinite.

    Before its start is known, only the second counts.
    """
    if not np.isfinite(losses).all():
        return True
    if len(losses) <= 2 * window:
        return False
    fall = max(_start(losses, window) - curve.min(), 0)
    return bool(curve[-1] - curve.min() > 2 * fall + _clear(losses, curve, window))
