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
    """steps / length; infinite, beyond every ramp, where the length is 0.

    Parameters
    ----------
    steps
        Numbers of steps.
    length
        In steps.

    Returns
    -------
    Curve
        Of the same length as `steps`.
    """
    return steps / length if length > 0 else np.full(len(steps), np.inf)


def exact_length(duration: float | str, total_steps: int) -> float:
    """A cycle's length in steps, not rounded, so that fractions of the budget stay exact.

    Parameters
    ----------
    duration
        A fraction of the budget, or `"400 steps"`.
    total_steps
        The budget.

    Returns
    -------
    float
        In steps.

    Examples
    --------
    >>> exact_length(0.25, 1001), exact_length("400 steps", 1001)
    (250.25, 400.0)
    """
    return duration * total_steps if isinstance(duration, float) else float(steps_of(duration, total_steps))


def linear_ramp(u: Curve) -> Curve:
    """min(1, u).

    Parameters
    ----------
    u
        Positions from 0 on.

    Returns
    -------
    Curve
        From 0 to 1.
    """
    return np.minimum(1.0, u)


def sigmoid_ramp(u: Curve, steepness: float) -> Curve:
    """1/(1 + exp(−steepness·(u − ½))), and 1 from u = 1 on.

    It begins at the tail 1/(1 + exp(steepness/2)), and skips as much at its end.

    Parameters
    ----------
    u
        Positions from 0 on.
    steepness
        Four times the slope at u = ½.

    Returns
    -------
    Curve
        From nearly 0 to 1.

    Examples
    --------
    >>> sigmoid_ramp(np.array([0.5, 1.0]), steepness=12.0).tolist()
    [0.5, 1.0]
    """
    logistic = (1 + np.tanh(steepness / 2 * (linear_ramp(u) - 0.5))) / 2
    return np.where(u < 1, logistic, 1.0)


def cosine_ramp(u: Curve) -> Curve:
    """½(1 − cos(πu)), and 1 from u = 1 on.

    Parameters
    ----------
    u
        Positions from 0 on.

    Returns
    -------
    Curve
        From 0 to 1.
    """
    return cosine_wave(linear_ramp(u) / 2)


def tanh_ramp(u: Curve) -> Curve:
    """tanh(artanh(0.99)·u): the one ramp that only comes near 1; at u = 1 it is 0.99.

    Parameters
    ----------
    u
        Positions from 0 on.

    Returns
    -------
    Curve
        From 0 towards 1.
    """
    curve: Curve = np.tanh(math.atanh(TANH_AT_1) * u)
    return curve


def cosine_wave(u: Curve) -> Curve:
    """½(1 − cos(2πu)).

    Parameters
    ----------
    u
        Positions; 1 is a period.

    Returns
    -------
    Curve
        0 → 1 → 0 in each period.

    Examples
    --------
    >>> cosine_wave(np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    curve: Curve = (1 - np.cos(2 * np.pi * u)) / 2
    return curve


def triangular_wave(u: Curve) -> Curve:
    """1 − |2·frac(u) − 1|.

    Parameters
    ----------
    u
        Positions; 1 is a period.

    Returns
    -------
    Curve
        0 → 1 → 0 in each period.

    Examples
    --------
    >>> triangular_wave(np.array([0.0, 0.25, 0.5, 1.0])).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """
    curve: Curve = 1 - np.abs(2 * np.mod(u, 1.0) - 1)
    return curve
