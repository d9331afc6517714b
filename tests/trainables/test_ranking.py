"""Which epoch of a trial counts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.paths import parse_config
from trainables.phases import Phases
from trainables.ranking import Best, Eligible, Ranking, eligible_of, epochs_since

ALWAYS = Eligible()
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def best(values, direction="max", eligible=ALWAYS, **others):
    """Of a trial with these values of `m`, and lists of others by name."""
    found, ranking = None, Ranking("best", "m", direction)
    for i, value in enumerate(values):
        found = ranking.better(found, i + 1, {"m": value, **{name: of[i] for name, of in others.items()}}, eligible)
    return found


@given(VALUES)
def test_the_best_epoch_is_the_first_that_none_beats(values):
    assert best(values) == Best(values.index(max(values)) + 1, max(values))
    assert best(values, "min") == Best(values.index(min(values)) + 1, min(values))


@given(VALUES, st.integers(1, 40))
def test_it_goes_on_from_what_was_the_best_so_far_as_if_nothing_had_happened(values, cut):
    """What a worker is given that takes a trial up."""
    ranking, found = Ranking("best", "m"), best(values[:cut])
    for epoch, value in list(enumerate(values, start=1))[cut:]:
        found = ranking.better(found, epoch, {"m": value}, ALWAYS)
    assert found == best(values)


@given(VALUES, st.integers(0, 31), st.sampled_from([(), (4.0,), (2.3,), (3.0, 5.0)]))
def test_an_epoch_of_a_warm_up_or_within_a_cycle_is_never_the_best(values, settled, periods):
    phases = Phases(float(settled), periods)
    found = best(values, eligible=Eligible(phases))
    compared = {phases.compared_epoch(epoch) for epoch in range(1, 100)} & {*range(1, len(values) + 1)}
    assert (found.epoch in compared) if found else not compared


def test_a_value_that_is_not_finite_or_was_not_reported_is_passed_over():
    assert best([1.0, math.inf, math.nan, -math.inf, 0.0]) == Best(1, 1.0)
    assert Ranking("best", "m").better(Best(1, 0.0), 2, {"other": 9.0}, ALWAYS) == Best(1, 0.0)


@pytest.mark.parametrize(("constraint", "target"), [("re", 0.04), ("nll", 0.2)])
def test_an_epoch_that_does_not_meet_gecos_constraint_never_wins(constraint, target):
    geco = parse_config({"objective": {"kind": "geco", "kappa": 0.2, "constraint": constraint}, "epochs": 9})
    eligible = eligible_of(geco, 10)
    violations = {"geco/constraint": [target, 0.021 * target, 0.019 * target, -target]}
    assert best([9.0, 8.0, 2.0, 1.0], eligible=eligible, **violations) == Best(3, 2.0)
    assert best([9.0], eligible=eligible, **{"geco/constraint": [target]}) is None


def test_only_a_constrained_objective_reports_a_constraint():
    assert eligible_of(parse_config({"beta": {"kind": "linear", "warmup": 0.5}, "epochs": 8}), 10) == Eligible(
        Phases(4.0), math.inf
    )


@pytest.mark.parametrize(("kind", "n"), [("last", 1), ("best", 1), ("mean-1", 1), ("mean-25", 25)])
def test_a_mean_is_over_its_last_epochs(kind, n):
    assert Ranking(kind).n_epochs == n


@given(VALUES, st.integers(1, 40))
def test_the_mean_is_of_every_metric_and_of_as_many_epochs_as_there_are(values, k):
    reports = [
        {"m": value, "epoch": float(i + 1), **({"seldom": 1.0} if i % 2 else {})} for i, value in enumerate(values)
    ]
    found, last = Ranking(f"mean-{k}", "m").mean(reports), values[-k:]
    assert found["m"] == pytest.approx(sum(last) / len(last))
    assert found["epoch"] == len(values)
    assert found.get("seldom") == reports[-1].get("seldom"), "what the last epoch does not report is of another epoch"


def test_patience_counts_the_epochs_that_can_be_compared():
    assert epochs_since(None, 9, ALWAYS) == 0
    assert [epochs_since(Best(3, 0.0), epoch, ALWAYS) for epoch in (3, 4, 9)] == [0, 1, 6]
    cycles = Eligible(Phases(periods=(4.0,)))
    assert [epochs_since(Best(4, 0.0), epoch, cycles) for epoch in (4, 7, 8, 11, 12)] == [0, 0, 1, 1, 2]
