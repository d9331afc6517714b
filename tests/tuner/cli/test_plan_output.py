"""What a plan and a result say of pruning and budgets."""

import io
import json
from pathlib import Path

import pytest
from events import new_event
from rich.console import Console

import tuner
from tuner.cli import progress, tables
from tuner.running.sweep_result import SweepResult
from tuner.search.asha import Asha
from tuner.search.hyperband import HyperBand
from tuner.search.median import MedianRule
from tuner.sweeps.spec import Budget, parse_spec
from tuner.sweeps.state import fold


@pytest.fixture
def plan_of(monkeypatch, vae_data_root):
    monkeypatch.setattr("tuner.planning.cost.seconds_per_epoch", lambda plan: 0.5)

    def make(kind, **parts):
        own = {
            "space": "lr",
            "config": {"epochs": 36},
            "search": {"trials": 20},
            "resources": {"concurrency": 2, "lanes": 2},
        }
        return tuner.plan({**own, "scheduler": {"kind": kind}, **parts}, data_dir=vae_data_root)

    return make


# The grace is 4 of 36 epochs: rungs 4 and 12, brackets of 9, 5 and 3 trials, again 3 of the first.
PRUNING = {
    "auto": (Asha((4, 12), 3, "max"), 20 * 4 + 7 * 8 + 2 * 24, "epoch 4, 12: the best 1/3 go on"),
    "asha": (Asha((4, 12), 3, "max"), 20 * 4 + 7 * 8 + 2 * 24, "epoch 4, 12: the best 1/3 go on"),
    "median": (
        MedianRule(4, "max"),
        10 * 4 + 10 * 36,
        "each epoch from 4 on: stopped where the best value is worse than the median of the others' averages, once 3 "
        "others have come as far",
    ),
    "hyperband": (
        HyperBand((4, 12), 3, "max", 36, 20),
        (9 * 4 + 3 * 8 + 24) + (5 * 12 + 24) + 3 * 36 + (3 * 4 + 8 + 24),
        "brackets in turn: 9 to epoch 4 → 3 to epoch 12 → 1 to epoch 36; 5 to epoch 12 → 1 to epoch 36; 3 to epoch 36",
    ),
    "none": (None, 20 * 36, None),
}


@pytest.mark.parametrize("kind", PRUNING)
def test_a_plan_has_the_rule_its_cost_and_its_words(plan_of, kind, capsys):
    rule, expected, summary = PRUNING[kind]
    plan = plan_of(kind)
    assert (plan.rule, plan.expected_epochs, plan.most_epochs) == (rule, expected, 720)
    tables.show_plan(plan, "json")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["pruning"], shown["expected_epochs"], shown["most_epochs"]) == (summary, expected, 720)
    assert shown["estimated_seconds"] == expected * 0.5 / 2


def test_a_plan_says_that_the_reach_is_measured_at_the_start_or_the_number(plan_of, capsys):
    plan = plan_of("none", space="geco")
    reached = plan.with_reach({"re": 0.1})
    for made, varies, reach in (
        (plan, "0.9 × kappa_min to 0.8 × kappa_max (log)", None),
        (reached, str(reached.space.dimensions["objective.kappa"]), {"re": 0.1}),
    ):
        tables.show_plan(made, "json")
        shown = json.loads(capsys.readouterr().out)
        assert (shown["kappa_min"], shown["kappa_max"]) == (reach, plan.facts.kappa_max)
        assert [row["varies"] for row in shown["space"] if row["path"] == "objective.kappa"] == [varies]
        assert any("is measured at the start" in note for note in shown["notes"]) == (reach is None)
        assert any("κ_min re 0.1: " in note for note in shown["notes"]) == (reach is not None)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_a_grace_of_all_epochs_prunes_nothing(plan_of, kind):
    assert plan_of(kind, scheduler={"kind": kind, "grace": 36}).rule is None


def test_a_budget_bounds_what_is_expected(plan_of, capsys):
    plan = plan_of("none", budget={"epochs": 100, "time": "90m"})
    assert (plan.expected_epochs, plan.most_epochs) == (100, 100)
    tables.show_plan(plan, "table")
    assert "the sweep stops in order after 1.5 h or 100 epochs in all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("budget", "spent", "sentence"),
    [
        (Budget(time=1800), "time", "Stopped by the time budget of 30 min after 7 of 20 trials."),
        (Budget(epochs=300), "epochs", "Stopped by the epoch budget of 300 after 7 of 20 trials."),
        (Budget(time=1800), None, ""),
    ],
)
def test_a_result_names_the_budget_that_ended_the_sweep(budget, spent, sentence, capsys):
    stop_reasons = {"completed": 3, "pruned": 4, "budget": 2}
    result = SweepResult(
        name="s", experiment="e", sweep_id="i", parent_run_id=None, metrics=("val/elbo",), stop_reasons=stop_reasons,
        epochs=300, wall_s=1.0, storage="./sweeps", folder=Path("s"), disk_bytes=0, finished="budget",
        ranked=[], unranked=[], pareto=[], searched=(), exhausted="all 9 are known", planned=20, repeats=1,
        budget=budget, spent=spent, unsent=0, unsent_files=0, tracker_error="", exit_code=0,
    )  # fmt: skip
    tables.show_result(result, "table")
    shown = capsys.readouterr().out
    assert (sentence in shown) if sentence else "Stopped" not in shown
    assert "3 completed, 4 pruned, 2 budget" in shown
    assert "Nothing is left to try: all 9 are known." in shown


@pytest.mark.parametrize(
    ("stop_reasons", "sentence"),
    [
        ({"diverged": 3}, "No trial completed, so there is no best configuration."),
        ({"completed": 3}, "No trial that completed can be ranked, so there is no best configuration."),
    ],
)
def test_a_sweep_without_a_best_says_which_of_the_two_it_is(stop_reasons, sentence):
    assert tables.no_best(stop_reasons) == sentence


def test_progress_counts_what_is_paused_and_how_trials_ended(plan_of, monkeypatch):
    printed = io.StringIO()
    monkeypatch.setattr(progress, "err", lambda: Console(file=printed, width=200))
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    header = {"name": "s", "spec": {"search": {"trials": 20}}, "metric": "val/elbo", "direction": "max"}
    begun = fold([{"session": "a", "t": 0.0, "event": "header", **header}])
    shown = progress.SweepProgress(plan_of("hyperband"), begun, "sqlite:///x.db")
    report = {
        "trial": "0000",
        "epoch": 1,
        "metrics": {},
        "reason": None,
        "decision": "pause",
        "rung": None,
        "outcome": None,
    }
    for event in (
        new_event("report", **report),
        new_event("report", **report),
        new_event("report", **{**report, "decision": "stop", "reason": "diverged"}),
        new_event("decision", trial="0000", decision="stop", reason="pruned"),
        new_event("end", trial="0002", reason="error", error=None),
    ):
        shown.event(event)
    assert "1 diverged 1 pruned 1 error 1 paused ·" in printed.getvalue().splitlines()[-1]
    shown.sending(12, "no route")
    assert printed.getvalue().splitlines()[-1] == "Sending 12 records to MLflow; the last try failed: no route"


def test_a_spec_reads_a_budget():
    assert parse_spec({"budget": {"time": "2h", "epochs": 1000}}).budget == Budget(time=7200.0, epochs=1000)
