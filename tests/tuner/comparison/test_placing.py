"""On the closed form of the linear VAE: what lies on the curve of constant β is placed on it."""

from dataclasses import replace

import numpy as np
import pytest

from tuner.comparison.design import PLAIN, Design, Level, Run, Trained
from tuner.comparison.frontier import place_beside_curve
from tuner.comparison.methods import Scale

SPECTRUM = np.array([4, 2, 1, 0.5, 0.25, 0.1])
BETAS = (0.15, 0.3, 0.6, 0.95)


def water_filled(beta, bits, above=0.0):
    """Where β·KL + ½·SSE is least; the nats of bits stand for ½·SSE."""
    sse, kl = np.minimum(beta, SPECTRUM).sum(), np.maximum(0, 0.5 * np.log(SPECTRUM / beta)).sum()
    return {"test/mse": sse / 6, "test/recon_nll": sse / 2 if bits else 0.0, "test/kl": kl + above}


def ended(method, kappa, test, rate=1e-3, val_kl=1.0):
    val = {"val/kl": val_kl, "val/mse": 1.0, "val/recon_nll": 1.0}
    return Trained(Run("", method, kappa, rate, 0, {}), "completed", "ok", val, test=test)


@pytest.fixture(params=[0.5, None], ids=["gaussian", "bits"])
def placed(request):
    """placed(β of constant β's levels, plain runs, free bits' pool given as (β, nats above)) → what is found."""
    bits = request.param is None

    def find(betas, plain=(), free=()):
        design = Design({}, ("geco", "beta", "free-bits"), Scale(1.0, request.param, 6), (1e-3, 2e-3))
        levels = [Level(beta, 1 / beta if bits else 1 / (2 * beta), 1e-3, "ok") for beta in betas]
        path = [ended("beta", beta, water_filled(beta, bits)) for beta in betas]
        own = {"plain": plain, "pool": [("free-bits", each) for each in free]}
        own["plain"] = [ended(PLAIN, None, water_filled(*each[:1], bits, each[1]), **each[2]) for each in plain]
        own["pool"] = [ended("free-bits", None, water_filled(beta, bits, above)) for beta, above in free]
        return {each.method: each for each in place_beside_curve(design, levels, {"path": path, **own})}

    return find


def test_what_is_optimal_at_another_weight_lies_on_the_curve(placed):
    found = placed(BETAS, free=[(beta, 0.0) for beta in (0.2, 0.4, 0.5, 0.8)])["free-bits"]
    assert (found.n, found.beside) == (4, 4)
    assert found.above == pytest.approx((0, 0, 0), abs=0.01)


def test_what_pays_more_is_above_it_by_as_much(placed):
    found = placed(BETAS, free=[(0.4, above) for above in (0.1, 0.2, 0.3, 0.4, 0.5)])["free-bits"]
    assert found.above == pytest.approx((0.2, 0.3, 0.4), abs=0.01)


def test_what_lies_past_its_ends_is_counted_and_not_measured(placed):
    found = placed(BETAS, free=[(0.05, 0.0), (0.4, 0.25), (2.0, 0.0)])["free-bits"]
    assert (found.n, found.beside) == (3, 1)
    assert found.above == pytest.approx((0.25, 0.25, 0.25), abs=0.01)
    assert placed(BETAS, free=[(2.0, 0.0)])["free-bits"].above is None


def test_the_plain_elbo_is_shown_at_the_learning_rate_that_validation_chooses(placed):
    good, bad = {"rate": 2e-3, "val_kl": 1.0}, {"rate": 1e-3, "val_kl": 3.0}
    found = placed(BETAS, plain=[(0.4, 0.1, good), (0.4, 0.3, good), (0.4, 0.0, bad)])[PLAIN]
    assert (found.n, found.beside) == (2, 2)
    assert found.above == pytest.approx((0.15, 0.2, 0.25), abs=0.01)


def test_the_elbo_is_weighed_at_its_own_weight(design):
    of = design(sigma=0.5)  # β = 1 weighs the squared error of 784 pixels by 2
    coarse, fine = ({"val/kl": 1.0, "val/mse": 3 / 784}, {"val/kl": 4.0, "val/mse": 1 / 784})
    runs = [replace(ended(PLAIN, None, {}, rate), val=val) for rate, val in ((1e-3, coarse), (2e-3, fine))]
    assert [each.run.rate for each in of.best_plain(runs)] == [2e-3]


def test_a_curve_needs_two_levels(placed):
    assert placed(BETAS[:1], free=[(0.15, 0.0)]) == {}


def test_a_diverged_run_of_the_plain_elbo_is_not_shown(design, drawn):
    of = design("geco", "beta")
    runs = drawn().train(of.plain())
    lost = [replace(each, stop_reason="diverged") if each.run.rate != 2e-3 else each for each in runs]
    assert [each.run.rate for each in of.best_plain(lost)] == [2e-3, 2e-3]
    assert of.best_plain([replace(each, stop_reason="diverged") for each in runs]) == []
