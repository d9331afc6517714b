"""Several seeds a configuration: asked for together, pruned together, told and ranked as one, by their mean."""

import json
import math
import random

import numpy as np
import optuna
import pytest
from configs import ANY
from events import parsed

from trainables.errors import ConfigError, UserError
from tuner.cli.tables import show_plan
from tuner.planning.plans import make_plan
from tuner.search.optuna_study import study_of
from tuner.sweeps.events import JournalError
from tuner.sweeps.spec import parse_spec, sweep_tree
from tuner.sweeps.state import fold
from tuner.sweeps.status import standing
from tuner.tracking import best as from_mlflow
from tuner.tracking.mlflow_store import Tag, open_client
from tuner.tracking.projection import Projection

METRIC = "val/elbo_cal"
FIELD_14 = {
    "config": {"data": {"name": "digits"}, "beta": {"kind": "constant"}, "epochs": 1},
    "space": {"lr.base": {"choice": [0.001, 0.003]}, "seed": {"choice": [0, 1, 2]}},
    "search.sampler": "grid",
    "scheduler.kind": "none",
}
KINDS = ["asha", "hyperband", "median", "none"]
PRUNED = {"config.epochs": 9, "scheduler.grace": 1, "search.trials": 9, "search.repeats": 3}


def worth(number, epoch):
    """Exact in binary, as its mean over seeds is; another order at every rung."""
    return (37 * number + 11 * epoch * (number % 4)) % 64 / 64 + epoch


def spread(trial, epoch):
    """Seeds that differ by more than configurations do, around the same mean."""
    return worth(trial.number, epoch) + (trial.repeat - 1) * 4.0


def failing(trial, epoch):
    """One seed of every third configuration diverges, at an epoch between two rungs or at one."""
    fails = trial.number % 3 == 1 and trial.repeat == trial.number % 2 and epoch == 2 + trial.number % 4
    return math.nan if fails else spread(trial, epoch)


def shuffled(seed):
    draw = random.Random(seed)
    return lambda n: draw.randrange(n)


def sweep_of(sweeps, name):
    return fold(sweeps.events(name))


# --- which seeds ------------------------------------------------------------------------------------------------------


def test_seeds_as_a_choice_are_repeats_and_the_plan_says_so(sweeps, capsys):
    plan = sweeps.plan("s", **FIELD_14)
    assert (plan.seeds, plan.n_trials, plan.most_epochs, plan.expected_epochs) == ((0, 1, 2), 6, 6, 6)
    assert list(plan.space.dimensions) == ["lr.base"]
    assert "grid: 2 configurations × 3 seeds = 6 points, for 4 configurations at most" in plan.notes
    show_plan(plan, "table")
    assert "2 configurations × 3 seeds = 6 trials" in capsys.readouterr().out
    result = sweeps.run("s", **FIELD_14)
    trials = sweep_of(sweeps, "s").trials
    assert list(trials) == ["0000-0", "0000-1", "0000-2", "0001-0", "0001-1", "0001-2"]
    assert [(trial.number, trial.repeat, trial.config["seed"]) for trial in trials.values()] == [
        (number, seed, seed) for number in (0, 1) for seed in (0, 1, 2)
    ]
    assert {json.dumps(trial.assignment) for trial in trials.values()} == {'{"lr.base": 0.001}', '{"lr.base": 0.003}'}
    assert (result.n_trials, result.planned, len(result.ranked), result.exit_code) == (6, 6, 2, 0)


@pytest.mark.parametrize(
    ("paths", "seeds"),
    [
        ({"search.repeats": 3, "search.seed": 5}, (5, 6, 7)),
        ({"search.repeats": 2, "search.seed": 5, "config.seed": 9}, (9, 10)),
        ({"space": {"lr.base": {"float": [1e-3, 1e-2]}, "seed": {"choice": [4, 2]}}, "search.seed": 5}, (4, 2)),
        ({"space": {"lr.base": {"float": [1e-3, 1e-2]}, "seed": 4}, "search.repeats": 2}, (4, 5)),
        ({"search.points": [{}, {"lr.base": 0.1}], "search.repeats": 2, "search.seed": 3}, (3, 4)),
        ({}, (0,)),
    ],
)
def test_every_configuration_is_trained_with_the_seeds_named(sweeps, paths, seeds):
    small = {"search.trials": 2, "scheduler.kind": "none", "config.epochs": 1}
    assert sweeps.plan("s", **small, **paths).seeds == seeds
    sweeps.run("s", **small, **paths)
    assert [trial.config["seed"] for trial in sweep_of(sweeps, "s").trials.values()] == list(seeds) * 2


RATE = {"lr.base": {"float": [1e-3, 1e-2]}}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"space": {**RATE, "seed": {"int": [0, 9]}}}, r"space: seed: .* write search\.repeats: K \(--repeats K\)"),
        ({"space": {**RATE, "seed": {"choice": [0, 1]}}, "search.repeats": 3}, r"search\.repeats: 3 beside the seeds"),
        ({"space": {"seed": {"choice": [0, 1]}}}, r"nothing varies but seed; .*\[\{\}\] with search\.repeats: 2"),
        ({"space": {**RATE, "seed": {"choice": [0, -1]}}}, r"seed: -1 is not allowed"),
        ({"space": {**RATE, "seed": {"choice": ["a"]}}}, r'seed: "a" is not allowed'),
        (
            {"space": {"beta.kind": {"choice": ["linear"]}, "seed": {"choice": [0], "when": {"beta.kind": "linear"}}}},
            "every configuration is trained with all seeds",
        ),
        (
            {"space": {"seed": {"choice": [0, 1]}, "lr.base": {"float": [0.1, 1], "when": {"seed": 1}}}},
            "space: lr.base: `when` cannot name seed: every configuration is trained with all seeds",
        ),
        ({"search.points": [{"seed": 1}], "search.repeats": 2}, r"search\.repeats: 2 beside search\.points with seeds"),
        ({"search.repeats": 2, "search.seed": 2**63 - 1}, "seed: 9223372036854775808 is not allowed"),
        ({"search.repeats": 0}, r"search\.repeats: 0 is not allowed"),
        ({"search.repeats": 10**20}, r"search\.repeats: 1\S* is not allowed; allowed: less than or equal to 1000$"),
        ({"search.repeats": 2, "scheduler.patience": 5}, r"scheduler\.patience: 5 ends trials one by one"),
    ],
)  # fmt: skip
def test_seeds_that_mean_nothing_or_two_things_are_refused(sweeps, paths, message):
    with pytest.raises(ConfigError, match=message):
        sweeps.plan("s", **paths)


def test_a_file_does_not_name_seeds_twice_and_an_option_fixes_them():
    tree = {"space": {**RATE, "seed": {"choice": [0, 1]}}, "config": {"data": {"name": "digits"}}}
    with pytest.raises(ConfigError, match=r"seed is searched under space .* and fixed under config \(3\)"):
        sweep_tree({**tree, "config": {"seed": 3}})
    fixed = make_plan(parse_spec(sweep_tree(tree, {"config.seed": 3})))
    assert fixed.seeds == (3,)
    assert "seed is fixed by the configuration and not searched" in fixed.notes


def test_a_sweep_from_before_that_dropped_its_seeds_is_not_gone_on_with(sweeps):
    sweeps.run("s", **FIELD_14)
    sweeps.rewrite("s", lambda event: {name: value for name, value in event.items() if name != "seeds"})
    sweeps.cut("s", -2)
    with pytest.raises(UserError, match="cannot go on: its seeds would differ"):
        sweeps.resume("s")


def test_one_seed_leaves_no_trace(sweeps):
    sweeps.run("s", **{"search.repeats": 1, "search.trials": 2})
    header, *events = sweeps.events("s")
    assert "seeds" not in header
    assert {event["trial"] for event in events if event["event"] == "ask"} == {"0000", "0001"}
    assert all("repeat" not in event for event in events)
    result = sweeps.run("t", **{"search.trials": 2})
    assert [(row.seeds, row.stderr, len(row.run_ids)) for row in result.ranked] == [([0], None, 1)] * 2


@pytest.mark.parametrize("trial", ["0000-", "-1", "0000-0-0", "000-1", "0000-a", "../0000-1", "0000-1\n"])
def test_only_names_of_trials_name_trials(trial):
    header = {"session": "a", "t": 0.0, "event": "header", "format": 1}
    ask = {**header, "event": "ask", "number": 0, "assignment": {}, "config": ANY, "method": "elbo"}
    assert list(fold([header, {**ask, "trial": "0000-10"}]).trials) == ["0000-10"]
    with pytest.raises(JournalError, match="is not the id of a trial"):
        fold([header, {**ask, "trial": trial}])


# --- one by one and together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
@pytest.mark.parametrize("kind", ["asha", "hyperband", "none"])
def test_a_sweep_decides_and_learns_as_one_of_single_seeds_that_report_the_means(sweeps, kind, sampler):
    paths = {**PRUNED, "scheduler.kind": kind, "search.sampler": sampler, "search.trials": 14}
    sweeps.hooks["value"] = spread
    sweeps.run("three", **paths)
    sweeps.hooks["value"] = lambda trial, epoch: worth(trial.number, epoch)
    sweeps.run("one", **{**paths, "search.repeats": 1})
    three, one = sweep_of(sweeps, "three"), sweep_of(sweeps, "one")
    for seeds, single in zip(three.configurations.values(), one.trials.values(), strict=True):
        assert (seeds.number, seeds.assignment, seeds.stop_reason) == (
            single.number,
            single.assignment,
            single.stop_reason,
        )
        assert [report.metrics[METRIC] for report in seeds.reports] == [
            report.metrics[METRIC] for report in single.reports
        ]
    if kind != "none":
        assert {"pruned", "completed"} == {trial.stop_reason for trial in one.trials.values()}


@pytest.mark.parametrize("value", [spread, failing])
@pytest.mark.parametrize("concurrency", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_stop_together_and_nobody_waits_for_ever(sweeps, kind, concurrency, value):
    for order in range(3 if concurrency > 1 else 1):
        sweeps.hooks.update(value=value, next_one=shuffled(order))
        paths = {**PRUNED, "scheduler.kind": kind, "resources.concurrency": concurrency}
        result = sweeps.run(f"s{order}", **paths)
        assert (result.finished, result.exit_code) == ("completed", 0)
        found = sweep_of(sweeps, f"s{order}").configurations.values()
        assert len(found) == 9
        for configuration in found:
            reasons = [run.stop_reason for run in configuration.runs]
            assert set(reasons) in ({"completed"}, {"pruned"}) or "diverged" in reasons
            if set(reasons) == {"pruned"}:
                assert len({run.epochs for run in configuration.runs}) == 1
            if configuration.stop_reason in ("completed", "pruned"):
                assert len(reasons) == 3
        assert any(configuration.stop_reason == "diverged" for configuration in found) == (value is failing)
        assert any(configuration.stop_reason == "pruned" for configuration in found) == (kind != "none")


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("space", ["one-cycle", "cyclical"])
def test_seeds_that_pass_a_rung_for_their_schedules_wait_for_nobody(sweeps, space, kind):
    sweeps.hooks.update(value=spread, next_one=shuffled(3))
    result = sweeps.run("s", **{**PRUNED, "space": space, "scheduler.kind": kind, "resources.concurrency": 2})
    sweep = sweep_of(sweeps, "s")
    passed = [report for trial in sweep.trials.values() for report in trial.reports if report.rung and not trial.pauses]
    assert (result.finished, len(sweep.configurations)) == ("completed", 9)
    assert passed, "no schedule let a trial pass"
    for configuration in sweep.configurations.values():
        assert len({(run.stop_reason, run.epochs) for run in configuration.runs}) == 1


@pytest.mark.parametrize("concurrency", [2, 4])
def test_a_cutoff_is_that_of_the_means_whose_last_seed_arrived_before(sweeps, concurrency):
    """Recomputed from the journal's lines; seeds of several configurations arrive in between each other."""
    sweeps.hooks.update(value=spread, next_one=shuffled(7))
    sweeps.run("s", **{**PRUNED, "scheduler.kind": "asha", "resources.concurrency": concurrency})
    arrived, filed, before, n_compared = {}, {}, {}, 0
    for event in sweeps.events("s"):
        place = event.get("rung"), event.get("trial", "")[:4]
        if event["event"] == "report" and event["rung"] is not None:
            arrived.setdefault(place, []).append(event["metrics"][METRIC])
            if len(arrived[place]) == 3:
                before[place] = list(filed.get(event["rung"], []))
                filed.setdefault(event["rung"], []).append(np.mean(arrived[place]))
        if event["event"] == "decision" and before[place]:
            cutoff = np.percentile(before[place], 100 * (1 - 1 / 3))
            assert event["cutoff"] == pytest.approx(cutoff, rel=1e-12)
            assert event["decision"] == ("stop" if np.mean(arrived[place]) < cutoff else "continue")
            n_compared += 1
    assert n_compared > 12


@pytest.mark.parametrize("kind", KINDS)
def test_once_a_seed_has_diverged_none_beside_it_goes_on(sweeps, kind):
    sweeps.hooks.update(value=failing, next_one=shuffled(1))
    sweeps.run("s", **{**PRUNED, "scheduler.kind": kind, "resources.concurrency": 4})
    failed, stopped = set(), 0
    for event in sweeps.events("s"):
        configuration = event.get("trial", "")[:4]
        if configuration in failed and event["event"] in ("report", "decision", "ask"):
            assert event.get("reason") in ("pruned", "completed")
            assert event["event"] == "decision" or event["epoch"] == 9 or event["reason"] == "pruned"
            stopped += event["reason"] == "pruned"
        if event.get("reason") == "diverged":
            failed.add(configuration)
    assert failed
    assert stopped > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_cut_at_any_line_ends_as_the_undisturbed_one(sweeps, kind):
    sweeps.hooks["value"] = failing
    paths = {**PRUNED, "scheduler.kind": kind, "search.trials": 4, "search.repeats": 2, "config.epochs": 4}
    sweeps.run("s", **paths, **{"search.sampler": "tpe"})
    sweeps.check_cut_anywhere("s")


def test_a_seed_that_fails_is_a_failure_of_its_configuration(sweeps):
    sweeps.hooks["value"] = failing
    sweeps.run("s", **{**PRUNED, "scheduler.kind": "none", "search.trials": 3})
    sweep = sweep_of(sweeps, "s")
    failed = sweep.configurations["0001-0"]
    assert [run.stop_reason for run in failed.runs] == ["completed", "diverged"], "the third is not asked for any more"
    assert failed.stop_reason == "diverged"
    study = study_of(sweep, sweeps.plan("s", **PRUNED).space, optuna.samplers.RandomSampler())
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert not study.trials[1].intermediate_values
    assert study.trials[0].value == worth(0, 9)


# --- ranked -----------------------------------------------------------------------------------------------------------


def noisy(trial, epoch):
    return trial.number + random.Random(f"{trial.id}/{epoch}").gauss(0, 1)


def test_rows_are_means_with_their_standard_errors(sweeps):
    sweeps.hooks["value"] = noisy
    result = sweeps.run("s", **{**PRUNED, "scheduler.kind": "none", "search.repeats": 4})
    trials = sweep_of(sweeps, "s").trials
    assert len(result.ranked) == 9
    assert [row.metrics[METRIC] for row in result.ranked] == sorted(
        (row.metrics[METRIC] for row in result.ranked), reverse=True
    )
    for row in result.ranked:
        values = [trials[f"{row.trial[:4]}-{seed}"].last[METRIC] for seed in range(4)]
        assert row.metrics[METRIC] == pytest.approx(np.mean(values), rel=1e-12)
        assert row.stderr[METRIC] == pytest.approx(np.std(values, ddof=1) / 2, rel=1e-12)
        assert (row.trial[4:], row.seeds, row.config.seed, row.run_ids) == ("-0", [0, 1, 2, 3], 0, [None] * 4)
    document = result.document()["best"]
    assert (document["stderr"], document["seeds"]) == (result.best.stderr, [0, 1, 2, 3])
    status = standing(sweep_of(sweeps, "s"), "s")
    assert (status.planned, status.n_trials) == (36, 36)
    assert (status.best_trial, status.best_value) == (result.best.trial, result.best.metrics[METRIC])


def test_an_outcome_is_ok_where_it_is_for_every_seed(sweeps):
    sweeps.run("s", **{**PRUNED, "scheduler.kind": "none", "search.trials": 1})
    sweep = sweep_of(sweeps, "s")
    for outcomes, common in ((["ok"] * 3, "ok"), (["ok", "unmet", "slack"], "unmet"), ([None] * 3, None)):
        for trial, outcome in zip(sweep.trials.values(), outcomes, strict=True):
            trial.outcome = outcome
        sweep._ended.clear()
        assert sweep.configurations["0000-0"].outcome == common


@pytest.fixture
def recorded(sweeps, uri):
    """A sweep in MLflow, and its result as its journal has it."""
    sweeps.hooks["value"] = lambda trial, epoch: (
        math.nan if (trial.number, trial.repeat) == (8, 2) else noisy(trial, epoch)
    )
    result = sweeps.run("s", **{**PRUNED, "scheduler.kind": "asha", "scheduler.grace": 4})
    Projection(open_client(uri), "vae-tuner").project(parsed(sweeps.events("s")))
    return result


def test_mlflow_ranks_what_the_journal_ranks(recorded, sweeps, uri):
    rows = from_mlflow.best(uri, top=20)
    assert len(rows) == len(recorded.ranked) > 1
    for row, known in zip(rows, recorded.ranked, strict=True):
        assert (row.trial, row.seeds, row.config, row.stop_reason) == (
            known.trial,
            known.seeds,
            known.config,
            "completed",
        )
        assert row.metrics == pytest.approx(known.metrics, rel=1e-12)
        assert row.stderr == pytest.approx(known.stderr, rel=1e-9)
        assert len(set(row.run_ids)) == 3
        assert row.run_ids[0] == row.run_id
    client = open_client(uri)
    parent = client.get_run(client.get_run(rows[0].run_id).data.tags[Tag.PARENT]).data.tags
    assert (parent[Tag.BEST_RUN_ID], parent[Tag.BEST_TRIAL]) == (rows[0].run_id, rows[0].trial)
    assert float(parent[Tag.BEST_VALUE]) == pytest.approx(rows[0].metrics[METRIC])
    tags = client.get_run(rows[0].run_ids[1]).data.tags
    assert (tags[Tag.CONFIGURATION], tags[Tag.REPEATS]) == (rows[0].trial[:4], "3")


def test_conditions_are_on_means_and_a_front_is_of_configurations(recorded, uri):
    middle = recorded.ranked[1].metrics[METRIC]
    rows = from_mlflow.best(uri, top=20, where=f"{METRIC} >= {middle!r}")
    assert [row.trial for row in rows] == [row.trial for row in recorded.ranked[:2]]
    whole = from_mlflow.best(uri, top=20, include_pruned=True)
    assert {row.trial for row in whole} == {f"{number:04}-0" for number in range(9) if number != 8}
    assert [row.stop_reason for row in whole].count("completed") == len(recorded.ranked)
    front = from_mlflow.best(uri)
    assert front[0].trial == recorded.best.trial


def test_a_configuration_counts_once_all_its_seeds_have_completed(sweeps, uri):
    sweeps.hooks["value"] = noisy
    sweeps.run("s", **{**PRUNED, "scheduler.kind": "none", "search.trials": 2})
    ends = [i for i, event in enumerate(sweeps.events("s")) if event.get("reason") == "completed"]
    Projection(open_client(uri), "vae-tuner").project(parsed(sweeps.events("s")[: ends[4] + 1]))
    assert [row.trial for row in from_mlflow.best(uri, top=20)] == ["0000-0"]


def test_an_earlier_sweep_tells_of_means(sweeps):
    sweeps.hooks["value"] = noisy
    result = sweeps.run("old", **{**PRUNED, "scheduler.kind": "none"})
    for repeats in (1, 2):
        plan = sweeps.plan(
            "new", **{**PRUNED, "scheduler.kind": "none", "search.repeats": repeats, "search.warm_start": ["old"]}
        )
        values = {prior.source_trial: prior.values[METRIC] for prior in plan.priors}
        assert values == {row.trial: row.metrics[METRIC] for row in result.ranked}
