"""Against the closed form of the linear VAE (reverse water-filling)."""

import numpy as np
import pytest

from tuner.comparison.frontier import kl_curve

SPECTRUM = np.array([4, 2, 1, 0.5, 0.25, 0.1])


def water_filled(beta):
    """SSE* and KL* at a β."""
    return np.minimum(beta, SPECTRUM).sum(), np.maximum(0, 0.5 * np.log(SPECTRUM / beta)).sum()


def test_it_goes_through_its_points_and_between_them_to_a_hundredth_of_a_nat():
    betas = np.array([0.12, 0.2, 0.35, 0.6, 0.95])
    sse, kl = zip(*map(water_filled, betas), strict=True)
    curve = kl_curve(sse, kl, 1 / (2 * betas))
    assert curve(np.log(sse)) == pytest.approx(kl)
    between = np.geomspace(betas[0], betas[-1], 50)
    x, truth = zip(*map(water_filled, between), strict=True)
    error = np.abs(curve(np.log(x)) - truth).max()
    straight = np.abs(np.interp(x, sse, kl) - truth).max()
    assert error < 0.01 < 0.08 < straight


def test_the_order_of_the_points_does_not_matter():
    one, other = kl_curve([1, 2, 3], [5, 3, 2], [4, 2, 1]), kl_curve([3, 1, 2], [2, 5, 3], [1, 4, 2])
    assert one(np.log([1.5, 2.5])) == pytest.approx(other(np.log([1.5, 2.5])))
