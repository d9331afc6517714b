"""The protocol on drawn runs: what is the same is not told apart, what differs is found."""

import numpy as np
import pytest
from comparisons import PRECISE

from tuner.comparison.design import LEVELS
from tuner.comparison.final_loss import ALPHA, MARGIN, answer_path, differences, judge, means_by_seed
from tuner.comparison.statistics import is_equivalent


def share_with(words, design, drawn, follow, n, cost=1.0, outcomes=None, effects=None, **given):
    """The share of n drawn comparisons in which a rival gets one of these words."""
    found = 0
    for seed in range(n):
        ends = drawn(seed, cost=cost, effects=effects or {}, outcomes=outcomes or {}, **given)
        levels, pilots, path = follow(design, ends)
        judged = judge(differences(_table(design, levels, path), design.rivals), design.selection_sds(levels, pilots))
        found += any(result.verdict in words for result in judged)
    return found / n


def _table(design, levels, path):
    weights = {level.kappa: level.weight for level in levels}
    table = {}
    for each in path:
        cell = table.setdefault((each.run.kappa, each.run.seed), {})
        cell[each.run.method] = design.lagrangian(each.test, weights[each.run.kappa], "test")
    return table


TOLD_APART = ("lower", "higher")
FOUR = ("beta", "linear", "cyclical", "gqn")
TWO_DROPPED = {0.45: "infeasible", 0.53: "unsettled"}


@pytest.mark.parametrize("cost", [0.0, 0.45, 1.0])
def test_one_method_under_two_names_is_seldom_told_apart(design, drawn, follow, cost):
    """Whatever the learning rate costs beside the noise, by which it is chosen."""
    assert share_with(TOLD_APART, design("geco", "beta"), drawn, follow, 200, cost) <= 0.07


@pytest.mark.parametrize(
    ("cost", "outcomes"),
    [(0.3, {}), (0.45, {}), (0.45, TWO_DROPPED), (0.7, TWO_DROPPED)],
    ids=["five levels, .3", "five levels, .45", "three levels, .45", "three levels, .7"],
)
def test_nor_is_any_of_four_names(design, drawn, follow, cost, outcomes):
    assert share_with(TOLD_APART, design("geco", *FOUR), drawn, follow, 200, cost, outcomes) <= 0.07


def test_below_three_levels_and_with_many_runs_lost_no_word_is_said(design, drawn, follow):
    of = design("geco", "beta", "linear")
    three = dict.fromkeys((0.45, 0.53, 0.8), "infeasible")
    levels, pilots, path = follow(of, drawn(outcomes=three, effects={"beta": 5.0}))
    assert [result.verdict for result in answer_path(of, levels, pilots, path).rivals] == ["undecided"] * 2

    levels, pilots, path = follow(of, drawn(effects={"beta": 5.0, "linear": 5.0}))
    lost = [
        type(each)(each.run, "diverged", None, {}) if each.run.method == "beta" and each.run.seed < 5 else each
        for each in path
    ]
    answer = answer_path(of, levels, pilots, lost)
    assert {result.rival: result.verdict for result in answer.rivals} == {"beta": "undecided", "linear": "lower"}
    assert answer.lost == {"geco": 0.0, "beta": 0.3, "linear": 0.0}


def test_the_obvious_design_tells_one_method_from_itself(drawn, design):
    """One search per method, its winner retrained on ten seeds, a paired test: why the protocol is as it is."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(500):
        dials = draw.uniform(-1, 1, size=(2, 16))
        quality = dials**2  # where a trial's dials lie decides what it is worth
        observed = quality + draw.normal(0, 0.1, size=quality.shape)
        winners = quality[[0, 1], observed.argmin(axis=1)]
        retrained = winners[:, None] + draw.normal(0, 0.02, size=(2, 10))
        found.append(judge({"same": {0.1: dict(enumerate(retrained[0] - retrained[1]))}})[0].p <= 0.05)
    assert np.mean(found) > 0.14


def test_half_a_nat_at_the_measured_spread_is_found(design, drawn, follow):
    """By a test that no margin of equivalence stands before, since half a nat is that margin."""
    of, found = design("geco", *FOUR), 0
    for seed in range(100):
        levels, pilots, path = follow(of, drawn(seed, effects={"geco": -0.5}))
        judged = judge(differences(_table(of, levels, path), of.rivals), of.selection_sds(levels, pilots))
        found += all(result.p <= ALPHA and result.hi < 0 for result in judged)
    assert found / 100 >= 0.8


BOTH_SIGNS = dict(zip(LEVELS, (-1.5, -0.4, 0.2, 0.4, 0.5), strict=True))


def test_levels_that_differ_are_not_equivalent_because_their_mean_is_small(design, drawn, follow):
    """The mean of these effects is −.16 nat, which the same test over seeds takes for equivalence."""
    of, by_mean, by_level = design("geco", "beta"), 0, 0
    for seed in range(100):
        levels, pilots, path = follow(of, drawn(seed, effects={"geco": BOTH_SIGNS}))
        found = differences(_table(of, levels, path), of.rivals)
        [result] = judge(found, of.selection_sds(levels, pilots))
        by_mean += is_equivalent(means_by_seed(found["beta"]), MARGIN)
        by_level += result.verdict == "equivalent"
        assert result.largest.kappa == pytest.approx(LEVELS[0] * 0.25)
    assert by_mean >= 90
    assert by_level == 0


def test_one_level_at_the_margin_is_seldom_called_equivalent(design, drawn, follow):
    effects = {"geco": {LEVELS[2]: MARGIN}}
    assert share_with(["equivalent"], design("geco", "beta"), drawn, follow, 300, effects=effects) <= 0.07


def test_no_difference_at_any_level_is_found_to_be_none(design, drawn, follow):
    found = share_with(["equivalent"], design("geco", "beta"), drawn, follow, 100, cost=1.0, spread=2 * PRECISE)
    assert found >= 0.8


def test_the_levels_average_to_the_mean(design, drawn, follow):
    levels, pilots, path = follow(of := design("geco", *FOUR), drawn(effects={"geco": BOTH_SIGNS}))
    judged = judge(differences(_table(of, levels, path), of.rivals), of.selection_sds(levels, pilots))
    assert [result.rival for result in judged] == [*FOUR]
    for result in judged:
        assert len(result.levels) == len(LEVELS)
        assert np.mean([level.mean for level in result.levels]) == pytest.approx(result.mean)


def test_equal_methods_come_out_equivalent_and_a_nat_lower(design, drawn, follow):
    ends = drawn(3, effects={"linear": 1.0}, spread=PRECISE)
    levels, pilots, path = follow(of := design("geco", "beta", "linear"), ends)
    answer = answer_path(of, levels, pilots, path)
    assert {result.rival: result.verdict for result in answer.rivals} == {"beta": "equivalent", "linear": "lower"}
    assert answer.rivals[1].mean == pytest.approx(-1, abs=0.3)
    assert answer.null == pytest.approx(0.05, abs=0.05)


def test_levels_that_geco_does_not_settle_on_are_dropped_and_named(design, drawn, follow):
    ends = drawn(outcomes={0.45: "infeasible", 0.7: "unsettled"})
    levels, _, path = follow(design("geco", "beta"), ends)
    assert [level.outcome for level in levels] == ["infeasible", "ok", "ok", "unsettled", "ok"]
    kept = {LEVELS[i] * 0.25 for i in (1, 2, 4)}
    assert {each.run.kappa for each in path} == kept


def test_no_seed_of_a_pilot_is_used_again_and_every_method_has_all_seeds(design, drawn, follow):
    of = design("geco", "beta", "gqn", seeds=6)
    levels, _, path = follow(of, drawn())
    pilots = {run.seed for run in [*of.pilot(), *of.rival_pilots(levels)]}
    fresh = {(each.run.method, each.run.kappa): set() for each in path}
    for each in path:
        fresh[each.run.method, each.run.kappa].add(each.run.seed)
    assert len(fresh) == 3 * 5
    assert all(len(seeds) == 6 and not seeds & pilots for seeds in fresh.values())


def test_every_method_gets_the_learning_rate_that_suits_it(design, drawn, follow):
    _, _, path = follow(design("geco", "beta", "linear"), drawn())
    rates = [each.run.rate for each in path]
    assert rates.count(1e-3) > len(rates) / 2


def test_a_cell_in_which_a_run_diverged_is_left_out_and_named(design, drawn, follow):
    of = design("geco", "beta")
    levels, pilots, path = follow(of, drawn())
    path[1] = type(path[1])(path[1].run, "diverged", None, {})
    answer = answer_path(of, levels, pilots, path)
    assert len(answer.left_out) == 1
    assert answer.left_out[0].startswith("beta at κ = 0.1125, seed 2")
    assert "beta" not in answer.table[path[1].run.kappa, 2]


def test_rivals_end_at_the_weight_of_the_level(design, drawn, follow):
    of = design("geco", "beta", "linear", "cyclical", "gqn")
    levels, _, path = follow(of, drawn())
    for each in path:
        level = next(level for level in levels if level.kappa == each.run.kappa)
        sigma = each.run.assignment.get("model.sigma", 0.15)
        if each.run.method != "geco":
            sigma_eq = np.sqrt(each.run.assignment.get("beta.end", 1.0)) * sigma
            assert sigma_eq == pytest.approx(np.sqrt(1 / (2 * level.weight)))
