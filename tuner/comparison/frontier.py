"""The curve of KL over distortion between trained points, by the slope that theory gives it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

__all__ = ["kl_curve"]

Values = NDArray[np.float64]


def kl_curve(sse: Sequence[float], kl: Sequence[float], weight: Sequence[float]) -> CubicHermiteSpline:
    """KL as a function of ln SSE through points that minimise KL + λ·SSE each at its own λ.

    There dKL/dSSE = −λ, so that dKL/d ln SSE = −λ·SSE (Alemi et al. 2018, 1711.00464): cubic Hermite pieces with that
    slope. sse: per example, distinct. weight: λ of each point.
    """
    order = np.argsort(np.asarray(sse, dtype=np.float64))
    x, y, w = (np.asarray(values, dtype=np.float64)[order] for values in (sse, kl, weight))
    return CubicHermiteSpline(np.log(x), y, -w * x)
