"""What schedules are composed of: ramps from 0 to 1, and waves 0 → 1 → 0, as functions of a position.

A ramp begins at position 0 and is at 1 from position 1 on; a wave repeats at every whole position.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainables.values import steps_of

Curve = NDArray[np.float64]

TANH_AT_1 = 0.99


def position(steps: Curve, length: float) -> Curve:
    """steps / length; beyond every ramp where there is no length."""
    return steps / length if length > 0 else np.full(len(steps), np.inf)


def exact_length(duration: float | str, total_steps: int) -> float:
    """A cycle's length in steps, not rounded, so that fractions of the budget stay exact."""
    return duration * total_steps if isinstance(duration, float) else float(steps_of(duration, total_steps))


def linear_ramp(u: Curve) -> Curve:
    """min(1, u)."""
    return np.minimum(1.0, u)


def sigmoid_ramp(u: Curve, steepness: float) -> Curve:
    """1/(1 + exp(−steepness·(u − ½))), then 1: from the tail 1/(1 + exp(steepness/2)), which it skips at its end."""
    logistic = (1 + np.tanh(steepness / 2 * (linear_ramp(u) - 0.5))) / 2
    return np.where(u < 1, logistic, 1.0)


def cosine_ramp(u: Curve) -> Curve:
    """½(1 − cos(πu)), then 1."""
    return cosine_wave(linear_ramp(u) / 2)


def tanh_ramp(u: Curve) -> Curve:
    """tanh(artanh(.99)·u): the one ramp that is only near 1, at .99, at position 1."""
    curve: Curve = np.tanh(math.atanh(TANH_AT_1) * u)
    return curve


def cosine_wave(u: Curve) -> Curve:
    """½(1 − cos(2πu))."""
    curve: Curve = (1 - np.cos(2 * np.pi * u)) / 2
    return curve


def triangular_wave(u: Curve) -> Curve:
    """1 − |2·frac(u) − 1|."""
    curve: Curve = 1 - np.abs(2 * np.mod(u, 1.0) - 1)
    return curve
