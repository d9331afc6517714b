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

from trainables.config import ClrLr, ConstantBeta, ExponentialLr, GqnBeta, LrConfig, TrialConfig
from trainables.errors import ConfigError
from trainables.schedules import Curve, lr_at
from trainables.trainer import Trainer

__all__ = ["Bounds", "RangeTest", "ramped", "run", "smoothed", "suggest"]

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
# Where there is little room below: Smith 2015's rule of thumb for base.
BASE_SHARE = 0.25


@dataclass(frozen=True)
class Bounds:
    """Learning rates as they were used, not scaled by a batch size."""

    base: float
    max: float


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw, step by step, and the bounds it suggests; none where the loss never fell.

    smoothed: the exponential moving average of the loss, corrected for its start. notes: what the user should know.
    """

    rates: Curve
    losses: Curve
    smoothed: Curve
    bounds: Bounds | None
    notes: tuple[str, ...]


def ramped(config: TrialConfig, low: float, high: float, epochs: int, linear: bool = False) -> TrialConfig:
    """The configuration of the test: the rate rises from low to high over the epochs, β stands at its end.

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
    """Take the steps of a resolved, `ramped` configuration until the loss blows up.

    Raises ConfigError where there are too few of them.
    """
    if trainer.total_steps < MIN_STEPS:
        raise ConfigError(
            f"epochs: {trainer.config.epochs} are {trainer.total_steps} steps and a range test needs at least "
            f"{MIN_STEPS}; make it {math.ceil(MIN_STEPS / trainer.steps_per_epoch)}"
        )
    window = max(SMOOTHING_STEPS, round(SMOOTHING_SHARE * trainer.total_steps))
    steps, losses = _held(trainer), np.empty(0)
    while block := list(islice(steps, CHECK_STEPS)):
        losses = np.append(losses, torch.stack(block).tolist())
        if _blown_up(losses, window):
            break
    config = trainer.config
    rates = lr_at(config.lr, np.arange(float(len(losses))), trainer.total_steps, config.batch_size)
    return suggest(rates, losses, window)


def _held(trainer: Trainer) -> Iterator[Tensor]:
    """The loss of each step, the objective's state (GECO's multiplier) as it is before the first."""
    state = trainer.state
    for _ in range(trainer.config.epochs):
        for record in trainer.steps():
            trainer.state = state
            yield record.loss


def smoothed(losses: Curve, window: int) -> Curve:
    """m_t/(1 − bᵗ) with m_t = b·m_{t−1} + (1 − b)·loss_t, b = 1 − 1/window."""
    b, moving, curve = 1 - 1 / window, 0.0, []
    for t, loss in enumerate(losses, start=1):
        moving = b * moving + (1 - b) * loss
        curve.append(moving / (1 - b**t))
    return np.array(curve)


def suggest(rates: Curve, losses: Curve, window: int) -> RangeTest:
    """Bounds from a curve: base where the loss clearly starts to fall, max below where it clearly rises again.

    `clearly` is by a share of the whole fall, and by some standard deviations of the smoothed loss, so that neither
    the loss's unit nor a constant in it matters.
    """
    n = len(losses) if np.isfinite(losses).all() else int(np.argmin(np.isfinite(losses)))
    curve = smoothed(losses[:n], window)
    test = RangeTest(rates[:n], losses[:n], curve, None, ())
    if n <= 2 * window:
        return replace(test, notes=(f"the loss was no number after {n} steps; begin with lower rates",))
    clear, lag = _clear(losses[:n], curve, window), window - 1
    level = _start(losses, window) - clear
    bottom = 2 * window + int(np.argmin(curve[2 * window :]))
    if curve[bottom] >= level:
        return replace(test, notes=("the loss never fell clearly; try more epochs, or other rates",))
    first = int(np.flatnonzero(curve[:bottom] >= level).max(initial=-1)) + 1
    risen = np.flatnonzero(curve > np.minimum.accumulate(curve) + clear)
    risen = risen[risen > first]
    notes = []
    if first < 3 * window:
        notes.append(f"the loss fell from the first rate on; where it begins to is below {rates[0]:.2g}")
    if n == len(losses) and not len(risen):
        notes.append(f"the loss had not risen again at {rates[-1]:.2g}; where it does is beyond")
    top = rates[max(risen[0] - lag, 0) if len(risen) else n - 1] / MARGIN
    base = min(rates[max(first - lag, 0)], BASE_SHARE * top)
    return replace(test, bounds=Bounds(float(base), float(top)), notes=tuple(notes))


def _start(losses: Curve, window: int) -> float:
    """The loss before it falls: of the first steps."""
    return float(np.median(losses[: 2 * window]))


def _clear(losses: Curve, curve: Curve, window: int) -> float:
    """What a change of the smoothed loss must exceed to count; never less than what float32 resolves.

    The noise is estimated from second differences, which a trend leaves alone; the moving average keeps
    1/√(2·window − 1) of it.
    """
    start = _start(losses, window)
    deviation = 1.4826 * np.median(np.abs(np.diff(losses, n=2))) / math.sqrt(6)
    return float(
        max(
            CLEAR_SHARE * (start - curve.min()),
            CLEAR_DEVIATIONS * deviation / math.sqrt(2 * window - 1),
            FLOAT32_RESOLUTION * abs(start),
        )
    )


def _blown_up(losses: Curve, window: int) -> bool:
    """Whether the smoothed loss is as far above its start as it once fell below it, or no number any more."""
    if not np.isfinite(losses).all():
        return True
    curve, start = smoothed(losses, window), _start(losses, window)
    return bool(curve[-1] - start > start - curve.min() + _clear(losses, curve, window))
