"""A trial is compared at equal phases: what its schedules set there is what they set at the end of every cycle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.paths import parse_config, variants
from trainables.phases import Phases, phases_of

EPOCHS, PER_EPOCH = 40, 25
T = EPOCHS * PER_EPOCH
DECAYING = {"one-cycle", "inverse-sqrt", "step", "exponential"}
"""Kinds whose rate falls to the end, so that no two epochs are alike."""
PERIODIC = {"cyclical", "cosine-wave", "triangular-wave", "clr", "linear-wave"}


def config(section, kind, **fields):
    return parse_config({section: {"kind": kind, **fields}, "epochs": EPOCHS})


def last_values(found):
    """β and the learning rate of the last step of each epoch."""
    ends = np.arange(1, EPOCHS + 1, dtype=np.float64) * PER_EPOCH - 1
    return np.stack([found.beta.at(ends, T), found.lr.at(ends, T, found.batch_size)], axis=1)


ALL = [(section, kind) for section in ("beta", "lr") for kind in variants(section)]


@pytest.mark.parametrize(("section", "kind"), [each for each in ALL if each[1] not in DECAYING])
def test_the_epochs_that_are_compared_are_alike(section, kind):
    """Periods of whole epochs; GQN's σ and tanh are at their ends up to a step or a hundredth."""
    found = config(section, kind)
    phases, values = phases_of(found, PER_EPOCH), last_values(found)
    compared = sorted({at for epoch in range(1, EPOCHS + 1) if (at := phases.compared_epoch(epoch))})
    assert compared[-1] == EPOCHS
    np.testing.assert_allclose(values[np.array(compared) - 1], np.tile(values[-1], (len(compared), 1)), rtol=0.02)


@pytest.mark.parametrize(("section", "kind"), [each for each in ALL if each[1] in PERIODIC])
def test_other_epochs_of_a_cycle_are_not(section, kind):
    found = config(section, kind)
    values = last_values(found)
    compared = {phases_of(found, PER_EPOCH).compared_epoch(epoch) for epoch in range(1, EPOCHS + 1)} - {None}
    others = [epoch for epoch in range(1, EPOCHS + 1) if epoch not in compared]
    assert len(compared) == 4
    assert not np.allclose(values[np.array(others) - 1], values[-1], rtol=0.02)


def test_every_periodic_kind_is_known_as_one():
    """The other kinds rise, fall or stay: between their ends they never come back to a value they have left."""
    for section, kind in ALL:
        curve = last_values(config(section, kind)).sum(axis=1)
        turns = len(set(np.sign(np.diff(curve)[np.abs(np.diff(curve)) > 1e-9])))
        assert (turns > 1) is (kind in PERIODIC or kind in ("one-cycle", "cosine-wave")), kind


@pytest.mark.parametrize(
    ("section", "kind", "fields", "first"),
    [
        ("beta", "linear", {"warmup": 0.25}, 10),
        ("beta", "sigmoid", {"warmup": "260 steps"}, 11),
        ("beta", "gqn", {"warmup": 0.5}, 20),
        ("beta", "cyclical", {"period": 0.2}, 8),
        ("lr", "one-cycle", {"pct_start": 0.3}, 12),
        ("lr", "clr", {"step_size": 0.125}, 10),
        ("lr", "constant", {"warmup": 0.1}, 4),
        ("lr", "constant", {}, 1),
        ("lr", "step", {}, 1),
    ],
)
def test_the_first_epoch_that_is_compared(section, kind, fields, first):
    phases = phases_of(config(section, kind, **fields), PER_EPOCH)
    assert [phases.compared_epoch(epoch) for epoch in (first - 1, first)] == [None, first]


def test_two_cycles_count_by_the_one_that_ended_earlier():
    assert [Phases(periods=(8.0, 10.0)).compared_epoch(epoch) for epoch in (9, 10, 16, 19, 20)] == [None, 8, 10, 10, 16]


def test_a_cycle_that_a_warm_up_reaches_into_is_not_compared():
    assert [Phases(9.0, (8.0,)).compared_epoch(epoch) for epoch in (8, 15, 16)] == [None, None, 16]


def test_cycles_within_an_epoch_do_not_count():
    assert phases_of(config("lr", "clr", step_size="12 steps"), PER_EPOCH) == Phases()


PHASES = st.builds(
    Phases,
    st.floats(0, 30),
    st.lists(st.floats(1.01, 30), max_size=2).map(tuple) | st.lists(st.integers(2, 20).map(float)).map(tuple),
)


@given(phases=PHASES, epoch=st.integers(1, 60))
def test_an_epoch_is_compared_where_this_or_a_later_one_is_compared_by_it(phases, epoch):
    by = {phases.compared_epoch(later) for later in range(epoch, epoch + 100)}
    assert phases.is_compared(epoch) is (epoch in by)


def test_every_cycle_has_an_end_that_is_compared_though_none_ends_with_an_epoch():
    phases = Phases(periods=(2.3,))
    assert [epoch for epoch in range(1, 21) if phases.is_compared(epoch)] == [2, 4, 6, 9, 11, 13, 16, 18, 20]


@given(phases=PHASES, epoch=st.integers(1, 60))
def test_what_is_compared_has_been_reached_and_stays_until_the_next_cycle_ends(phases, epoch):
    at, before = phases.compared_epoch(epoch), phases.compared_epoch(epoch - 1) or 0
    assert before <= (at or 0) <= epoch
    assert at is None or at >= phases.settled
    if len(phases.periods) < 2:
        for period in phases.periods:
            assert at is None or (at / period) % 1 < 1e-6 or at + 1 > np.floor(at / period + 1) * period - 1e-6
