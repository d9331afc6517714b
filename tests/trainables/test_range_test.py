"""A corner that is known, and the equality of the test's paths with plain training."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.config.paths import parse_config, variants
from trainables.data.dataset import data_facts, load
from trainables.errors import ConfigError
from trainables.resolve import resolve
from trainables.training.range_test import CHECK_STEPS, MARGIN, ramped, run, smoothed, suggest, unlagged
from trainables.training.step import Record
from trainables.training.trainer import Trainer

STEPS, WINDOW = 240, 6
FALL, RISE = 1e-4, 3e-2
RATES = np.geomspace(1e-6, 1, STEPS, endpoint=False)


def curve(noise=0.0, seed=0, rise=RISE, after=lambda decades: 60 * decades):
    """A loss of 100 that falls by 40 a decade from FALL to 20, stays there, and rises after `rise`."""
    fallen = np.clip(100 - 40 * np.log10(RATES / FALL), 20, 100)
    risen = np.where(rise < RATES, after(np.log10(RATES / rise)), 0.0)
    return fallen + risen + noise * np.random.default_rng(seed).normal(size=STEPS)


@pytest.mark.parametrize("noise", [0.0, 1.0, 4.0, 10.0])
@pytest.mark.parametrize("seed", range(10))
def test_the_corner_of_a_known_curve_is_found(noise, seed):
    bounds = suggest(RATES, curve(noise, seed), WINDOW).bounds
    assert RISE / 2 < MARGIN * bounds.max < 3 * RISE
    assert bounds.base == bounds.max / 4


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_gets_ragged_counts_as_one_that_rises(seed):
    """Every other loss beyond the corner is 30 too high, and the lowest are as low as ever."""
    losses = curve(1.0, seed, after=lambda decades: 0 * decades)
    losses[RATES > RISE] += 30 * (np.arange((RATES > RISE).sum()) % 2)
    assert RISE / 2 < MARGIN * suggest(RATES, losses, WINDOW).bounds.max < 2 * RISE


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_what_is_no_number_ends_the_curve(beyond):
    test = suggest(RATES, np.where(RATES > RISE, beyond, curve()), WINDOW)
    assert np.isfinite(test.smoothed).all()
    assert len(test.rates) == len(test.losses) == len(test.smoothed) == (RATES <= RISE).sum()
    assert RISE / 2 < MARGIN * test.bounds.max <= RISE


@pytest.mark.parametrize(("scale", "shift"), [(1, 1e4), (1, -1e4), (1e-3, 0), (50, -300)])
def test_neither_the_unit_of_the_loss_nor_a_constant_in_it_matters(scale, shift):
    """A Gaussian likelihood's constants make the loss negative."""
    losses = curve(2.0)
    found, moved = suggest(RATES, losses, WINDOW).bounds, suggest(RATES, scale * losses + shift, WINDOW).bounds
    assert (found.base, found.max) == (moved.base, moved.max)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("losses", [np.full(STEPS, 100.0), 100 + 30 * np.log10(RATES / 1e-6)])
def test_without_a_fall_there_is_no_suggestion(losses, seed):
    noisy = losses + np.random.default_rng(seed).normal(size=STEPS)
    for seen in (losses, noisy):
        test = suggest(RATES, seen, WINDOW)
        assert test.bounds is None
        assert test.notes == ("the loss never fell clearly; try more epochs, or other rates",)


def test_a_loss_that_is_no_number_from_the_start_has_no_bounds():
    test = suggest(RATES, np.full(STEPS, math.nan), WINDOW)
    assert test.bounds is None
    assert test.notes == ("the loss became NaN or infinite after 0 steps; start with lower rates",)


def test_a_corner_beyond_the_rates_is_said():
    beyond = suggest(RATES, curve(rise=2.0), WINDOW)
    assert beyond.notes == ("the loss had not risen again at 0.94, the highest rate tried; it rises above that",)
    assert beyond.bounds.max == RATES[-1]


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=60) | st.just(curve(1.0)[100:160].tolist()),
    st.integers(2, 9),
    st.floats(1e-6, 1e-1),
    st.floats(1.01, 1e6),
)
def test_bounds_lie_within_the_tested_rates_or_there_is_a_reason_for_none(losses, window, low, ratio):
    rates = np.geomspace(low, low * ratio, len(losses), endpoint=False)
    test = suggest(rates, np.array(losses), window)
    if test.bounds is None:
        assert test.notes
    else:
        assert rates[0] <= test.bounds.base <= test.bounds.max / 2 <= rates[-1] / 2


@pytest.mark.parametrize(("ratio", "found"), [(1.1, False), (10, True)])
def test_rates_too_near_each_other_have_no_bounds(ratio, found):
    test = suggest(np.geomspace(1e-3, ratio * 1e-3, 600), np.geomspace(100, 1, 600), 15)
    assert (test.bounds is not None) == found
    reason = "the highest stable rate, 0.0011, is too near the first one for cycles; start with lower rates"
    assert (reason in test.notes) != found


def test_a_short_curve_of_numbers_is_not_called_anything_else():
    test = suggest(RATES[:12], curve()[:12], WINDOW)
    assert test.notes == ("12 steps are too few to tell a fall from noise; try more epochs",)


@pytest.mark.parametrize("window", [5, 35, 92])
@pytest.mark.parametrize("steps", [0.5, 5, 30])
def test_a_fall_within_the_first_steps_is_one(steps, window):
    """As a line of rates makes it, whose second rate trains already."""
    t = np.arange(40 * window)
    test = suggest(np.linspace(1e-6, 1, len(t), endpoint=False), 240 + 1268 * np.exp(-t / steps), window)
    assert test.bounds is not None


def test_where_the_rates_begin_above_a_quarter_of_max_they_begin_at_base():
    rates = np.geomspace(4e-3, 1, STEPS)
    losses = np.where(rates < RISE, np.maximum(20, 100 - 4 * np.arange(STEPS)), 20 + 400 * np.log10(rates / RISE))
    bounds = suggest(rates, losses, WINDOW).bounds
    assert bounds.max / 4 < bounds.base == rates[0]


def test_the_moving_average_of_a_constant_is_the_constant_from_the_first_step_on():
    np.testing.assert_allclose(smoothed(np.full(50, -3.0), 7), -3.0)


def test_the_moving_average_weighs_geometrically():
    """The mean of what was seen, with weights bᵗ⁻ⁱ."""
    losses = np.random.default_rng(0).normal(size=30)
    weights = (1 - 1 / 7) ** np.arange(30)[::-1]
    np.testing.assert_allclose(smoothed(losses, 7)[-1], (weights * losses).sum() / weights.sum())


@pytest.mark.parametrize("window", [2, 7, 35])
def test_a_moving_average_of_a_line_shows_the_loss_of_an_earlier_step(window):
    line = np.arange(200.0)
    shown = [unlagged(i, window) for i in range(200)]
    np.testing.assert_allclose(shown, smoothed(line, window), atol=0.5 + 1e-9)


# --- on a model -------------------------------------------------------------------------------------------------------

LOW, HIGH = 1e-5, 1.0


@pytest.fixture
def blobs(in_memory, gaussian):
    return in_memory(gaussian([4, 2, 1, 0.5, 0.25, 0.1], 600))


@pytest.fixture
def ramp(blobs, trial):
    """The trainer of a configuration's test in 90 steps."""

    def build(**tree):
        tree = {"batch_size": 20, "model": {"kind": "linear-vae", "latent_dim": 3, "sigma": 1.0}, **tree}
        config = ramped(parse_config({"data": {"name": "memory.npy"}, **tree}), LOW, HIGH, 3)
        return trial(blobs, **config.model_dump(exclude={"data", "device", "threads"}, exclude_none=True))

    return build


@pytest.fixture
def tested(ramp):
    return lambda **tree: run(ramp(**tree))


@pytest.mark.parametrize("linear", [False, True])
def test_the_rates_rise_from_low_to_high_whatever_the_schedule_of_the_configuration(linear):
    expected = np.linspace(LOW, HIGH, 90, endpoint=False) if linear else np.geomspace(LOW, HIGH, 90, endpoint=False)
    for kind in variants("lr"):
        given = {"lr": {"kind": kind, "warmup": 0.3, "scaling": "sqrt", "base_batch_size": 3, "encoder": 0.5}}
        config = ramped(parse_config(given), LOW, HIGH, 3, linear)
        np.testing.assert_allclose(config.lr.at(np.arange(90.0), 90, 512), expected)
        assert (config.lr.encoder, config.lr.decoder) == (0.5, 1)


def test_the_losses_are_those_that_training_with_these_rates_reports(ramp, tested):
    test, trainer = tested(), ramp()
    np.testing.assert_allclose(test.rates, np.geomspace(LOW, HIGH, 90, endpoint=False))
    reported = [trainer.train_epoch().metrics["train/loss"] for _ in range(3)]
    np.testing.assert_allclose(test.losses.reshape(3, 30).mean(1), reported, rtol=1e-6)


@pytest.mark.parametrize("kind", variants("beta"))
def test_beta_stands_at_its_end_throughout(kind, tested):
    end = {} if kind == "gqn" else {"end": 1.7}
    annealed, constant = tested(beta={"kind": kind, **end}), tested(beta={"kind": "constant", **end})
    np.testing.assert_array_equal(annealed.losses, constant.losses)


def test_gecos_multiplier_is_held_where_it_starts(tested):
    """KL + λ₀(SSE − Dκ²) is, but for constants, the negative ELBO at σ² = 1/(2λ₀): the same training."""
    kappa, elements, latents = 0.5, 6, 3
    lambda_0 = latents / (2 * elements * kappa**2)
    sigma = math.sqrt(1 / (2 * lambda_0))
    geco = tested(objective={"kind": "geco", "kappa": kappa})
    elbo = tested(model={"kind": "linear-vae", "latent_dim": latents, "sigma": sigma})
    constants = elements / 2 * math.log(2 * math.pi * sigma**2) + lambda_0 * elements * kappa**2
    np.testing.assert_allclose(geco.losses[:60], elbo.losses[:60] - constants, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beyond", [math.nan, 1e3])
def test_a_loss_that_blows_up_ends_the_test_before_it_has_cost_all_its_steps(beyond):
    """150 of 600 steps before the loss is no number, or far above its start: seen in the block in which it happens."""
    trainer = Steps(np.append(np.linspace(9, 1, 150), np.full(450, beyond)))
    test = run(trainer)
    assert trainer.taken <= 150 + 2 * CHECK_STEPS
    assert test.bounds is not None


@given(st.sampled_from([60, 1400, 3700]), st.floats(0.1, 500), st.floats(1, 1e6), st.floats(-1e3, 1e3))
@settings(max_examples=25, deadline=None)
def test_a_falling_loss_is_never_a_reason_to_stop(n, steps, height, floor):
    """However fast: the average lags, and lies above the median of what was seen."""
    trainer = Steps(floor + height * np.exp(-np.arange(n) / steps))
    test = run(trainer)
    assert trainer.taken == len(test.losses) == n
    assert not any("NaN" in note for note in test.notes)


def test_a_single_outlier_at_the_start_is_no_reason_to_stop_later():
    trainer = Steps(np.append([1e9, 1e5], np.linspace(100, 50, 1398)))
    assert len(run(trainer).losses) == 1400


class Steps:
    """What a range test asks of a trainer, with losses that are given."""

    config = ramped(parse_config({"epochs": 1}), LOW, HIGH, 1)

    def __init__(self, losses):
        self.losses, self.taken = losses, 0
        self.total_steps = self.steps_per_epoch = len(losses)

    def steps(self, hold_state):
        assert hold_state
        for loss in self.losses:
            self.taken += 1
            yield Record(torch.tensor([loss]), *[torch.zeros(1)] * 3, ({},))


def test_too_few_steps_are_refused(tested):
    with pytest.raises(ConfigError) as error:
        tested(batch_size=50)
    assert str(error.value) == "epochs: 3 are 36 steps and a range test needs at least 60; make it 5"


@pytest.mark.parametrize("objective", ["elbo", "free-bits", "geco"])
def test_the_bounds_on_real_digits_are_where_training_works(objective, vae_data_root):
    """By val/elbo of whole trainings under the ELBO a CLR maximum of .01 to .04 is best, .08 too high."""
    config = ramped(parse_config({"objective": {"kind": objective}, "threads": 1}), 1e-6, 1.0, 3)
    config = resolve(config, data_facts(config.data, vae_data_root))
    bounds = run(Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))).bounds
    assert 1e-3 < bounds.base < 2e-2
    assert 5e-3 < bounds.max < 8e-2
