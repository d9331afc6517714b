"""Each curve once more, from the papers' formulas, one step at a time."""

import math

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, variants
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.resolve import resolve

T = 800


def beta_config(**tree):
    return parse_config({"beta": tree}).beta


def lr_config(**tree):
    return parse_config({"lr": {"base_batch_size": 128, "scaling": "linear", **tree}}).lr


def all_steps(*more):
    return np.append(np.arange(T, dtype=np.float64), more)


# --- β ----------------------------------------------------------------------------------------------------------------


def linear_beta(t):
    return 2.0 if t >= 200 else 2.0 * t / 200


def cyclical_beta(t):
    """Fu et al. 2019, with their t from 1: τ = ((t − 1) mod ⌈T/M⌉)/(T/M); τ/R up to R, then β_end; M = 4, R = .4."""
    tau = (t % math.ceil(T / 4)) / (T / 4)
    return 3.0 * (tau / 0.4 if tau <= 0.4 else 1)


def sigmoid_beta(t):
    """2·σ(8·(t/200 − ½)), then 2."""
    return 2.0 / (1 + math.exp(-8 * (t / 200 - 0.5))) if t < 200 else 2.0


def cosine_beta(t):
    """Half a cosine from 0 to 2 in 200 steps; not the wave."""
    return 2.0 * 0.5 * (1 - math.cos(math.pi * t / 200)) if t < 200 else 2.0


def gqn_beta(t):
    """The published σ: 2.0 → 0.7 along a line in 200 steps, as a β (σ/0.7)²."""
    return ((2.0 + (0.7 - 2.0) * min(t, 200) / 200) / 0.7) ** 2


BETAS = {
    "constant": ({"end": 0.7}, lambda t: 0.7),
    "linear": ({"end": 2.0, "warmup": 0.25}, linear_beta),
    "sigmoid": ({"end": 2.0, "warmup": 0.25, "steepness": 8}, sigmoid_beta),
    "tanh": ({"end": 2.0, "warmup": 0.25}, lambda t: 2.0 * math.tanh(0.5 * math.log(1.99 / 0.01) / 200 * t)),
    "cosine": ({"end": 2.0, "warmup": 0.25}, cosine_beta),
    "cyclical": ({"end": 3.0, "period": 0.25, "ratio": 0.4}, cyclical_beta),
    "cosine-wave": ({"end": 3.0, "period": 0.25}, lambda t: 3.0 * 0.5 * (1 - math.cos(2 * math.pi * (t % 200) / 200))),
    "triangular-wave": ({"end": 3.0, "period": 0.25}, lambda t: 3.0 * min(t % 200, 200 - t % 200) / 100),
    "gqn": ({"start": 2.0 / 0.7, "warmup": 0.25}, gqn_beta),
}


@pytest.mark.parametrize("kind", variants("beta"))
def test_beta_follows_its_formula_from_the_first_step_to_one_past_the_last(kind):
    tree, curve = BETAS[kind]
    steps = all_steps(T)
    found = beta_config(kind=kind, **tree).at(steps, T)
    np.testing.assert_allclose(found, [curve(t) for t in steps], rtol=1e-12, atol=1e-15)


RAMPS = {
    "linear": lambda u: u,
    "sigmoid": lambda u: 1 / (1 + math.exp(-12 * (u - 0.5))) if u < 1 else 1,
    "cosine": lambda u: (1 - math.cos(math.pi * u)) / 2,
}


@pytest.mark.parametrize("shape", RAMPS)
def test_a_cycle_rises_in_its_shape_holds_and_restarts(shape):
    """M = 4 cycles of 200 steps that rise over R = .4 of them, 80 steps."""
    config = beta_config(kind="cyclical", end=3.0, period=0.25, ratio=0.4, shape=shape)
    expected = [3.0 * RAMPS[shape](min(1, t % 200 / 80)) for t in all_steps(T)]
    np.testing.assert_allclose(config.at(all_steps(T), T), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", RAMPS)
def test_one_cycle_that_fills_the_budget_is_the_ramp_of_its_shape(shape):
    ramp = beta_config(kind=shape, end=0.5, warmup=0.6)
    cycle = beta_config(kind="cyclical", end=0.5, period=1.0, ratio=0.6, shape=shape)
    np.testing.assert_allclose(ramp.at(all_steps(), T), cycle.at(all_steps(), T), rtol=1e-12, atol=1e-15)


def test_the_cosine_wave_has_the_values_its_text_describes_and_comes_back_to_0():
    """T = 10000: 1250 → .146, 2500 → .5, 5000 → 1, 10000 → 0; the widely printed formula never comes back."""
    config = beta_config(kind="cosine-wave", period=1.0)
    found = config.at(np.array([0.0, 1250, 2500, 5000, 10000]), 10_000)
    np.testing.assert_allclose(found, [0, 0.146447, 0.5, 1, 0], atol=1e-6)


@pytest.mark.parametrize("steepness", [0.1, 12, 5000])
def test_a_sigmoid_of_any_steepness_rises_to_its_end(steepness):
    found = beta_config(kind="sigmoid", end=0.5, warmup=0.5, steepness=steepness).at(all_steps(T), T)
    assert (np.diff(found) >= 0).all()
    assert (found[T // 2 :] == 0.5).all()


def test_tanh_beta_is_at_99_hundredths_after_its_warm_up_and_ends_near_its_end():
    found = beta_config(kind="tanh", end=2.0, warmup=0.25).at(np.array([0.0, T / 4, T]), T)
    np.testing.assert_allclose(found, [0, 0.99 * 2, 2], rtol=1e-4)


@pytest.mark.parametrize("kind", variants("beta"))
def test_the_equivalent_beta_of_an_annealed_sigma_is_its_square_and_else_sigma_stays(kind):
    config = beta_config(kind=kind, **BETAS[kind][0])
    factor = config.sigma_factor_at(all_steps(T), T)
    if kind == "gqn":
        np.testing.assert_allclose(factor * 0.7, [max(0.7, 2.0 - 1.3 * t / 200) for t in all_steps(T)], rtol=1e-12)
        np.testing.assert_allclose(factor**2, config.at(all_steps(T), T), rtol=1e-12)
    else:
        assert (factor == 1).all()


def test_linear_beta_starts_at_0_and_is_at_its_end_when_the_warm_up_is_over():
    found = beta_config(kind="linear", end=0.5, warmup="10 steps").at(np.array([0.0, 9, 10, 11, T]), T)
    np.testing.assert_allclose(found, [0, 0.45, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("kind", [kind for kind, cls in variants("beta").items() if "warmup" in cls.model_fields])
def test_a_warm_up_of_no_length_is_constant(kind):
    config = beta_config(kind=kind, **{**BETAS[kind][0], "warmup": 0})
    assert (config.at(all_steps(), T) == (1 if kind == "gqn" else 2.0)).all()


def test_the_plateau_of_cyclical_beta_is_its_end_and_not_1():
    found = beta_config(kind="cyclical", end=0.3, period=0.25, ratio=0.5).at(all_steps(T), T)
    assert found.max() == 0.3
    assert (found[100:200] == 0.3).all()
    assert found[0] == found[200] == found[T] == 0


def test_a_cycle_in_steps_is_the_cycle_as_a_fraction():
    by_fraction = beta_config(kind="cyclical", period=0.25).at(all_steps(), T)
    by_steps = beta_config(kind="cyclical", period="200 steps").at(all_steps(), T)
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


def linear_wave(t):
    """1e-3 → 1e-2 in 100 steps and back in 100."""
    return 1e-3 + 9e-3 * min(t % 200, 200 - t % 200) / 100


def cosine_wave(t):
    return 1e-3 + 9e-3 * (1 - math.cos(2 * math.pi * (t % 200) / 200)) / 2


RATES = {
    "constant": ({"base": 3e-3}, lambda t: 3e-3),
    "clr": ({"base": 1e-3, "max": 1e-2, "step_size": 0.125}, triangular),
    "one-cycle": ({"max": 1e-2, "pct_start": 0.3, "div": 25, "final_div": 100}, one_cycle),
    "linear-wave": ({"base": 1e-3, "max": 1e-2, "period": 0.25}, linear_wave),
    "cosine-wave": ({"base": 1e-3, "max": 1e-2, "period": 0.25}, cosine_wave),
    "inverse-sqrt": ({"base": 1e-3, "timescale": 0.1}, lambda t: 1e-3 / math.sqrt(t / 80 + 1)),
    "step": ({"base": 1e-3, "step_size": 0.3, "gamma": 0.5}, lambda t: 1e-3 / 2 ** (t // 240)),
    "exponential": ({"base": 1e-3, "final": 0.05}, lambda t: 1e-3 * math.exp(math.log(0.05) * t / T)),
}


@pytest.mark.parametrize("kind", variants("lr"))
def test_the_learning_rate_follows_its_formula_from_the_first_step_to_one_past_the_last(kind):
    tree, curve = RATES[kind]
    steps = all_steps(T)
    found = lr_config(kind=kind, **tree).at(steps, T, 128)
    np.testing.assert_allclose(found, [curve(t) for t in steps], rtol=1e-10)


def test_triangular_has_the_published_values():
    config = lr_config(kind="clr", base=0.001, max=0.01, step_size="2000 steps")
    found = config.at(np.array([0.0, 1000, 2000, 3000, 4000]), 10_000, 128)
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


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp-range"])
def test_clr_is_torchs_cyclic_lr(mode):
    config = lr_config(kind="clr", base=1e-3, max=1e-2, step_size="70 steps", mode=mode, gamma=0.997)
    options = {"mode": mode.replace("-", "_"), "gamma": 0.997, "cycle_momentum": False}
    expected = torch_curve(lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 1e-2, 70, **options))
    np.testing.assert_allclose(config.at(all_steps(), T, 128), expected, rtol=1e-9)


def test_a_linear_wave_is_the_triangular_cycle_of_half_its_period():
    bounds = {"base": 1e-3, "max": 1e-2}
    wave = lr_config(kind="linear-wave", period="154 steps", **bounds).at(all_steps(T), T, 128)
    cycle = lr_config(kind="clr", step_size="77 steps", **bounds).at(all_steps(T), T, 128)
    np.testing.assert_array_equal(wave, cycle)


def test_steps_are_torchs_step_lr():
    config = lr_config(kind="step", base=1e-2, step_size="70 steps", gamma=0.3)
    expected = torch_curve(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 70, 0.3))
    np.testing.assert_allclose(config.at(all_steps(), T, 128), 1e-2 * np.array(expected), rtol=1e-9)


def test_a_step_falls_at_a_whole_step():
    """.3 of 37 steps are 11: the first lower rate is that of step 11, not of 12."""
    found = lr_config(kind="step", base=1.0, step_size=0.3, gamma=0.5).at(np.arange(37.0), 37, 128)
    assert list(np.flatnonzero(np.diff(found)) + 1) == [11, 22, 33]


def test_exponential_decay_is_torchs_exponential_lr_and_is_at_its_share_at_the_end():
    config = lr_config(kind="exponential", base=1e-2, final=0.02)
    expected = torch_curve(lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.02 ** (1 / T)))
    np.testing.assert_allclose(config.at(all_steps(), T, 128), 1e-2 * np.array(expected), rtol=1e-9)
    np.testing.assert_allclose(config.at(np.array([float(T)]), T, 128), 1e-2 * 0.02)


def test_inverse_sqrt_decay_with_the_timescale_of_an_epoch_is_the_published_one():
    """Surendran et al. 2024: 1e-3/√(epoch + 1), here at the first step of each of 100 epochs."""
    found = lr_config(kind="inverse-sqrt", base=1e-3, timescale=0.01).at(np.arange(0.0, T, T / 100), T, 128)
    np.testing.assert_allclose(found, [1e-3 / math.sqrt(epoch + 1) for epoch in range(100)])


@pytest.mark.parametrize("pct_start", [0.01, 0.3, 0.77])
def test_one_cycle_is_torchs_one_cycle_lr(pct_start):
    config = lr_config(kind="one-cycle", max=1e-2, pct_start=pct_start)
    expected = torch_curve(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 1e-2, total_steps=T, pct_start=pct_start, cycle_momentum=False
        )
    )
    np.testing.assert_allclose(config.at(all_steps(), T, 128), expected, rtol=1e-9)


@pytest.mark.parametrize(("scaling", "factor"), [("linear", 4), ("sqrt", 2), ("none", 1)])
@pytest.mark.parametrize("kind", variants("lr"))
def test_the_batch_size_scales_the_whole_curve(kind, scaling, factor):
    config = lr_config(kind=kind, scaling=scaling, **RATES[kind][0])
    assert config.batch_size_factor(512) == factor
    at_base, scaled = (config.at(all_steps(), T, size) for size in (128, 512))
    np.testing.assert_allclose(scaled, factor * at_base)


def test_the_batch_size_scales_both_bounds_of_a_cycle():
    config = lr_config(kind="clr", base=1e-3, max=1e-2, step_size=0.125)
    rates = config.at(all_steps(), T, 32)
    np.testing.assert_allclose([rates.min(), rates.max()], [1e-3 / 4, 1e-2 / 4])


@pytest.mark.parametrize("kind", variants("lr"))
@pytest.mark.parametrize("batch_size", [32, 128, 512])
def test_a_warm_up_rises_from_the_unscaled_rate_and_leaves_the_rest_alone(kind, batch_size):
    """Goyal et al. 2017 rise from η to kη; where scaling lowers the rate or leaves it, from 0."""
    plain = lr_config(kind=kind, **RATES[kind][0]).at(all_steps(), T, batch_size)
    warm = lr_config(kind=kind, warmup="80 steps", **RATES[kind][0]).at(all_steps(), T, batch_size)
    first = 128 / batch_size if batch_size > 128 else 0
    expected = [first + (1 - first) * min(1, t / 80) for t in range(T)]
    np.testing.assert_allclose(warm / plain, expected)
    assert (warm[80:] == plain[80:]).all()


@pytest.mark.parametrize("batch_size", [32, 512])
@pytest.mark.parametrize("scaling", ["linear", "sqrt"])
@pytest.mark.parametrize("kind", variants("lr"))
def test_the_rate_in_use_is_said_as_the_schedule_has_it(kind, scaling, batch_size):
    """The last number is the highest rate; written rates times the factor are those that are used."""
    tree = {"final": 0.1} if kind == "exponential" else RATES[kind][0]
    config = lr_config(kind=kind, scaling=scaling, **tree)
    said = config.rate_in_use(batch_size)
    used, written = said.removeprefix("learning rate ").removeprefix("up to ").partition(" × ")[0].split(" = ")
    rates = config.at(all_steps(), T, batch_size)
    assert float(used.split(" to ")[-1]) == pytest.approx(rates.max(), rel=0.02)
    factor = float(said.partition(" × ")[2].partition(" ")[0])
    assert factor == pytest.approx(config.batch_size_factor(batch_size), rel=0.01)
    for value, stated in zip(used.split(" to "), written.split(" to "), strict=True):
        path, rate = stated.split()
        assert float(rate) == pytest.approx(getattr(config, path.removeprefix("lr.")))
        assert float(value) == pytest.approx(factor * float(rate), rel=0.02)


@pytest.mark.parametrize(
    ("tree", "batch_size", "said"),
    [
        ({"base": 1e-3}, 128, None),
        ({"base": 1e-3, "scaling": "none"}, 512, None),
        (
            {"base": 1e-3, "base_batch_size": 32},
            256,
            "learning rate 0.008 = lr.base 0.001 × 8 (linear scaling, batch 256 over base batch 32)",
        ),
        (
            {"kind": "clr", "base": 1e-3, "max": 1e-2, "scaling": "sqrt"},
            32,
            "learning rate 0.0005 to 0.005 = lr.base 0.001 to lr.max 0.01 × 0.5 (square-root scaling, batch 32 over "
            "base batch 128)",
        ),
        (
            {"kind": "one-cycle", "max": 1e-2},
            256,
            "learning rate up to 0.02 = lr.max 0.01 × 2 (linear scaling, batch 256 over base batch 128)",
        ),
        ({"base": 1e-3, "encoder": 0.5}, 128, "learning rate 0.001 = lr.base 0.001, × 0.5 in the encoder"),
    ],
)
def test_a_rate_that_is_not_as_written_is_said(tree, batch_size, said):
    assert lr_config(**tree).rate_in_use(batch_size) == said


# --- durations and the budget -----------------------------------------------------------------------------------------

HUNDRED_STEPS = DataFacts((4, 4), 100, 20, 20, 0.0, 1.0, False, {"re": 0.25, "nll": 0.5})


DURATIONS = [
    (family, kind, field)
    for family in ("beta", "lr")
    for kind, cls in variants(family).items()
    for field, info in cls.model_fields.items()
    if info.annotation == float | str
]


@pytest.mark.parametrize(("family", "kind", "field"), DURATIONS)
def test_no_length_is_beyond_the_budget(family, kind, field):
    def resolved(steps):
        tree = {family: {"kind": kind, field: f"{steps} steps"}, "epochs": 10, "batch_size": 10}
        return resolve(parse_config(tree), HUNDRED_STEPS)

    resolved(100)
    with pytest.raises(ConfigError, match=rf"^{family}\.{field}: 101 steps is beyond the budget of 100 steps"):
        resolved(101)


@pytest.mark.parametrize(("family", "kind", "field"), DURATIONS)
def test_only_a_warm_up_can_be_of_no_length(family, kind, field):
    tree = {family: {"kind": kind, field: 0}, "epochs": 10, "batch_size": 10}
    if field == "warmup":
        resolve(parse_config(tree), HUNDRED_STEPS)
        return
    with pytest.raises(ConfigError, match=rf"^{family}\.{field}: 0"):
        resolve(parse_config(tree), HUNDRED_STEPS)
