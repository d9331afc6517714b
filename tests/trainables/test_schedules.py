"""Each curve once more, from the papers' formulas, one step at a time."""

import math

import numpy as np
import pytest
import torch

from trainables.paths import parse_config, variants
from trainables.schedules import batch_size_factor, beta_at, lr_at

T = 800


def beta_config(**tree):
    return parse_config({"beta": tree}).beta


def lr_config(**tree):
    return parse_config({"lr": {"base_batch_size": 128, **tree}}).lr


def all_steps(*more):
    return np.append(np.arange(T, dtype=np.float64), more)


# --- β ----------------------------------------------------------------------------------------------------------------


def linear_beta(t):
    return 2.0 if t >= 200 else 2.0 * t / 200


def cyclical_beta(t):
    """Fu et al. 2019, with their t from 1: τ = ((t − 1) mod ⌈T/M⌉)/(T/M); τ/R up to R, then β_end; M = 4, R = .4."""
    tau = (t % math.ceil(T / 4)) / (T / 4)
    return 3.0 * (tau / 0.4 if tau <= 0.4 else 1)


BETAS = {
    "constant": ({"end": 0.7}, lambda t: 0.7),
    "linear": ({"end": 2.0, "warmup": 0.25}, linear_beta),
    "cyclical": ({"end": 3.0, "period": 0.25, "ratio": 0.4}, cyclical_beta),
}


@pytest.mark.parametrize("kind", variants("beta"))
def test_beta_follows_its_formula_from_the_first_step_to_one_past_the_last(kind):
    tree, curve = BETAS[kind]
    steps = all_steps(T)
    found = beta_at(beta_config(kind=kind, **tree), steps, T)
    np.testing.assert_allclose(found, [curve(t) for t in steps], rtol=1e-12)


def test_linear_beta_starts_at_0_and_is_at_its_end_when_the_warm_up_is_over():
    found = beta_at(beta_config(kind="linear", end=0.5, warmup="10 steps"), np.array([0.0, 9, 10, 11, T]), T)
    np.testing.assert_allclose(found, [0, 0.45, 0.5, 0.5, 0.5])


def test_a_warm_up_of_no_length_is_constant():
    assert (beta_at(beta_config(kind="linear", end=0.5, warmup=0), all_steps(), T) == 0.5).all()


def test_the_plateau_of_cyclical_beta_is_its_end_and_not_1():
    found = beta_at(beta_config(kind="cyclical", end=0.3, period=0.25, ratio=0.5), all_steps(T), T)
    assert found.max() == 0.3
    assert (found[100:200] == 0.3).all()
    assert found[0] == found[200] == found[T] == 0


def test_a_cycle_in_steps_is_the_cycle_as_a_fraction():
    by_fraction = beta_at(beta_config(kind="cyclical", period=0.25), all_steps(), T)
    by_steps = beta_at(beta_config(kind="cyclical", period="200 steps"), all_steps(), T)
    np.testing.assert_array_equal(by_fraction, by_steps)


# --- learning rate ----------------------------------------------------------------------------------------------------


def triangular(t):
    """Smith 2015: cycle = ⌊1 + it/(2·step)⌋, x = |it/step − 2·cycle + 1|, base + (max − base)·max(0, 1 − x)."""
    cycle = math.floor(1 + t / (2 * 100))
    return 1e-3 + (1e-2 - 1e-3) * max(0, 1 - abs(t / 100 - 2 * cycle + 1))


def one_cycle(t):
    """From max/25 to max over the first 30 % of the T steps, then to max/25/100, both along half a cosine."""
    top, last = 0.3 * T - 1, T - 1
    start, end, position = (4e-4, 1e-2, t / top) if t <= top else (1e-2, 4e-6, min(1, (t - top) / (last - top)))
    return start + (end - start) * (1 - math.cos(math.pi * position)) / 2


RATES = {
    "constant": ({"base": 3e-3}, lambda t: 3e-3),
    "clr": ({"base": 1e-3, "max": 1e-2, "step_size": 0.125}, triangular),
    "one-cycle": ({"max": 1e-2, "pct_start": 0.3, "div": 25, "final_div": 100}, one_cycle),
}


@pytest.mark.parametrize("kind", variants("lr"))
def test_the_learning_rate_follows_its_formula_from_the_first_step_to_one_past_the_last(kind):
    tree, curve = RATES[kind]
    steps = all_steps(T)
    found = lr_at(lr_config(kind=kind, **tree), steps, T, 128)
    np.testing.assert_allclose(found, [curve(t) for t in steps], rtol=1e-10)


def test_triangular_has_the_published_values():
    config = lr_config(kind="clr", base=0.001, max=0.01, step_size="2000 steps")
    found = lr_at(config, np.array([0.0, 1000, 2000, 3000, 4000]), 10_000, 128)
    np.testing.assert_allclose(found, [0.001, 0.0055, 0.01, 0.0055, 0.001])


def torch_curve(schedule):
    """The rates that a torch scheduler sets, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = schedule(optimizer)
    rates = []
    for step in range(T):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        if step < T - 1:
            scheduler.step()
    return rates


def test_clr_is_torchs_cyclic_lr():
    config = lr_config(kind="clr", base=1e-3, max=1e-2, step_size="70 steps")
    expected = torch_curve(
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 1e-2, 70, cycle_momentum=False)
    )
    np.testing.assert_allclose(lr_at(config, all_steps(), T, 128), expected, rtol=1e-9)


@pytest.mark.parametrize("pct_start", [0.01, 0.3, 0.77])
def test_one_cycle_is_torchs_one_cycle_lr(pct_start):
    config = lr_config(kind="one-cycle", max=1e-2, pct_start=pct_start)
    expected = torch_curve(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 1e-2, total_steps=T, pct_start=pct_start, cycle_momentum=False
        )
    )
    np.testing.assert_allclose(lr_at(config, all_steps(), T, 128), expected, rtol=1e-9)


@pytest.mark.parametrize(("scaling", "factor"), [("linear", 4), ("sqrt", 2), ("none", 1)])
@pytest.mark.parametrize("kind", variants("lr"))
def test_the_batch_size_scales_the_whole_curve(kind, scaling, factor):
    config = lr_config(kind=kind, scaling=scaling, **RATES[kind][0])
    assert batch_size_factor(config, 512) == factor
    at_base, scaled = (lr_at(config, all_steps(), T, size) for size in (128, 512))
    np.testing.assert_allclose(scaled, factor * at_base)


def test_the_batch_size_scales_both_bounds_of_a_cycle():
    config = lr_config(kind="clr", base=1e-3, max=1e-2, step_size=0.125)
    rates = lr_at(config, all_steps(), T, 32)
    np.testing.assert_allclose([rates.min(), rates.max()], [1e-3 / 4, 1e-2 / 4])


@pytest.mark.parametrize("kind", variants("lr"))
@pytest.mark.parametrize("batch_size", [32, 128, 512])
def test_a_warm_up_rises_from_the_unscaled_rate_and_leaves_the_rest_alone(kind, batch_size):
    """Goyal et al. 2017 rise from η to kη; where scaling lowers the rate or leaves it, from 0."""
    plain = lr_at(lr_config(kind=kind, **RATES[kind][0]), all_steps(), T, batch_size)
    warm = lr_at(lr_config(kind=kind, warmup="80 steps", **RATES[kind][0]), all_steps(), T, batch_size)
    first = 128 / batch_size if batch_size > 128 else 0
    expected = [first + (1 - first) * min(1, t / 80) for t in range(T)]
    np.testing.assert_allclose(warm / plain, expected)
    assert (warm[80:] == plain[80:]).all()
