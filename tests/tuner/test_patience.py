"""A trial that does not become better any more stops, whatever prunes beside it, and however often its driver dies."""

import json
import random
from dataclasses import replace

import pytest
from events import new_event

from trainables.config.paths import parse_config
from trainables.ranking import Ranking
from tuner.cli import tables
from tuner.reports.sweep_page import write_sweep_page
from tuner.running.driver import header_of
from tuner.search.past_best import impatience_note, past_best, past_best_note
from tuner.sweeps.journal import Journal
from tuner.sweeps.state import Trial

EPOCHS, PATIENCE = 20, 3


def peak_at(best):
    """A trial that becomes better up to an epoch, and then worse; the later ones worse than the first."""
    return lambda number, epoch: -abs(epoch - best) - number


@pytest.fixture
def swept(sweeps, tmp_path, planned_loop):
    """swept(curve, n_results, **paths) → the sweep after so many reports, and one that goes on from there."""

    def run(curve, *deaths, **paths):
        given = {"config.epochs": EPOCHS, "search.trials": 1, "scheduler.patience": PATIENCE, **paths}
        plan, path = sweeps.plan("s", **given), tmp_path / "journal.jsonl"
        path.unlink(missing_ok=True)
        journal = Journal.create(path)
        journal.append(new_event("header", **header_of(plan, "s", "sqlite:///x.db")))
        for n_results in (*deaths, 10_000):
            planned_loop(plan, journal, curve).run(n_results=n_results)
            journal.close()
            journal = Journal.open(path)
        journal.close()
        return journal.sweep

    return run


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median", "none"])
@pytest.mark.parametrize(("ranking", "reason"), [("last", "pruned"), ("best", "completed"), ("mean-2", "pruned")])
def test_a_trial_stops_that_many_epochs_after_its_best(kind, ranking, reason, swept):
    (trial,) = swept(peak_at(5), **{"scheduler.kind": kind, "search.ranking": ranking}).trials.values()
    assert (trial.stop_reason, trial.epochs) == (reason, 5 + PATIENCE)
    assert trial.why == f"val/elbo_cal was not better than its 0 of epoch 5 for {PATIENCE} epochs"
    assert impatience_note([trial]) == f"Stopped by patience: trial 0000, {trial.why}"


def test_one_that_becomes_better_to_the_end_is_left_alone(swept):
    (trial,) = swept(peak_at(EPOCHS)).trials.values()
    assert (trial.stop_reason, trial.epochs, trial.why) == ("completed", EPOCHS, None)
    assert impatience_note([trial]) is None


def test_no_patience_is_no_stop(swept):
    (trial,) = swept(peak_at(5), **{"scheduler.patience": None}).trials.values()
    assert (trial.stop_reason, trial.epochs) == ("completed", EPOCHS)


def test_it_is_counted_after_the_trials_own_warm_up(swept):
    """Half of the budget: what fell before is forgotten, and the best after it is its first epoch."""
    warm = {"config.beta.kind": "linear", "config.beta.warmup": 0.5}
    (trial,) = swept(lambda number, epoch: -epoch, **warm).trials.values()
    assert trial.epochs == EPOCHS // 2 + PATIENCE


def test_a_dip_within_a_cycle_is_no_impatience_and_ends_of_cycles_are_counted(swept):
    cycles = {"config.beta.kind": "cyclical", "config.beta.period": 0.2}

    def ends(best):
        """Of cycles of 4 epochs; between them the value is far below."""
        return lambda number, epoch: -abs(epoch - best) if epoch % 4 == 0 else -100 - epoch

    assert [trial.epochs for trial in swept(ends(EPOCHS), **cycles).trials.values()] == [EPOCHS]
    (trial,) = swept(ends(4), **{**cycles, "scheduler.patience": 2}).trials.values()
    assert (trial.epochs, trial.why.endswith("of epoch 4 for 2 ends of its cycles")) == (12, True)


def test_a_geco_trial_is_waited_for_until_it_has_met_its_constraint(swept):
    """The loop reports none, as if it was never met."""
    (trial,) = swept(peak_at(1), **{"config.objective.kind": "geco"}).trials.values()
    assert (trial.stop_reason, trial.epochs) == ("completed", EPOCHS)


def test_under_a_constraint_the_reason_speaks_of_the_epochs_that_met_it(sweeps, tmp_path, planned_loop):
    """Later epochs were better, and did not meet it."""
    given = {"config.epochs": EPOCHS, "config.objective.kind": "geco", "scheduler.patience": PATIENCE}
    plan = sweeps.plan("s", **given)
    journal = Journal.create(tmp_path / "journal.jsonl")
    journal.append(new_event("header", **header_of(plan, "s", "sqlite:///x.db")))
    loop = planned_loop(plan, journal)
    loop.fill()
    for epoch in range(1, 2 + PATIENCE):
        met = epoch == 1
        loop.hear(
            "0000", epoch=epoch, metrics={"val/elbo_cal": 1.0 if met else 5.0, "geco/constraint": 0.0 if met else 9.0}
        )
    trial = journal.sweep.trials["0000"]
    assert (trial.stop_reason, trial.epochs) == ("pruned", 1 + PATIENCE)
    assert trial.why == (
        f"no epoch that met its constraint was better in val/elbo_cal than its 1 of epoch 1 for {PATIENCE} epochs"
    )


@pytest.mark.parametrize("deaths", [(1,), (7,), (8,), (3, 4, 1)])
def test_deaths_of_the_driver_change_nothing(deaths, swept):
    paths = {"search.trials": 4, "search.ranking": "best", "scheduler.kind": "none"}
    whole = swept(peak_at(5), **paths)
    again = swept(peak_at(5), *deaths, **paths)
    told = [
        [(trial.id, trial.stop_reason, trial.epochs, trial.why, trial.ranked) for trial in sweep.trials.values()]
        for sweep in (whole, again)
    ]
    assert told[0] == told[1]


def test_the_worker_is_told_the_best_of_what_the_driver_knows(sweeps, tmp_path, planned_loop):
    plan = sweeps.plan("t", **{"config.epochs": EPOCHS, "search.ranking": "best", "search.trials": 1})
    journal = Journal.create(tmp_path / "t.jsonl")
    journal.append(new_event("header", **header_of(plan, "t", "sqlite:///x.db")))
    told = []
    for n_results in (1, 6):
        loop = planned_loop(plan, journal, peak_at(5))
        told.append(json.loads(loop.handing_out.next_trial()["best"]))
        loop = planned_loop(plan, journal, peak_at(5))
        loop.run(n_results=n_results)
    loop = planned_loop(plan, journal, peak_at(5))
    told.append(json.loads(loop.handing_out.next_trial()["best"]))
    assert told == [None, [1, -4.0], [5, 0.0]]


# --- past its best ----------------------------------------------------------------------------------------------------


def reported(epoch, metrics):
    rest = {"reason": None, "decision": "continue", "rung": None, "outcome": None}
    return new_event("report", trial="0007", epoch=epoch, metrics=metrics, **rest)


def a_trial(values, kind="last", **tree):
    reports = [reported(epoch, {"m": value}) for epoch, value in enumerate(values, start=1)]
    config = parse_config({"epochs": len(values), **tree}).model_dump(mode="json")
    return Trial("0007", 7, {}, config, "elbo", reports=reports, ranking=Ranking(kind, "m", "max"))


FALLING = [float(epoch) for epoch in range(10)] + [9.0 - 0.5 * epoch for epoch in range(1, 30)]


def test_a_trial_that_fell_from_its_best_is_named():
    assert past_best_note([a_trial([1.0, 2.0]), a_trial(FALLING)]) == (
        "trial 0007 is past its best since epoch 10 (9 then, -5.5 now); rank by the best epoch with --ranking best, or "
        "stop with --patience N"
    )


def test_one_that_is_ranked_by_its_best_is_not():
    assert past_best(a_trial(FALLING, "best")) is None


@pytest.mark.parametrize("direction", ["max", "min"])
def test_one_that_is_better_now_than_at_its_best_is_not(direction):
    """Its constraint was met for some epochs alone, which its best may be of."""
    sign = 1.0 if direction == "max" else -1.0
    metrics = [{"m": sign * epoch, "geco/constraint": float(epoch > 10)} for epoch in range(1, 41)]
    reports = [reported(epoch, known) for epoch, known in enumerate(metrics, start=1)]
    config = parse_config({"epochs": 40, "objective": {"kind": "geco", "kappa": 0.2}}).model_dump(mode="json")
    trial = Trial("0007", 7, {}, config, "geco", reports=reports, ranking=Ranking("last", "m", direction))
    assert trial.best.epoch == 10
    assert past_best(trial) is None


@pytest.mark.parametrize("kind", ["last", "mean-3"])
def test_noise_is_no_fall(kind):
    """Of trials whose values only swing hardly one in a thousand is named."""
    draw = random.Random(0)
    named = [past_best(a_trial([draw.gauss(0, 1) for _ in range(60)], kind)) for _ in range(500)]
    assert sum(map(bool, named)) <= 1


def test_a_dip_within_a_cycle_is_no_fall():
    values = [float(epoch if epoch % 4 == 0 else -50 + epoch) for epoch in range(1, 41)]
    assert past_best(a_trial(values[:-1], beta={"kind": "cyclical", "period": "4 steps"})) is None


def fallen(event):
    """A sweep's journal as of trials that were best in their fifth epoch."""
    if event["event"] != "report":
        return event
    return {**event, "metrics": {**event["metrics"], "val/elbo_cal": 20 - abs(event["epoch"] - 5.0)}}


@pytest.mark.parametrize(("ranking", "says"), [("last", True), ("best", False)])
def test_the_page_of_a_sweep_says_so(ranking, says, sweeps, tmp_path):
    sweeps.run("s", **{"config.epochs": EPOCHS, "scheduler.kind": "none", "search.ranking": ranking})
    sweeps.rewrite("s", fallen)
    page = write_sweep_page(sweeps.storage, "s", tmp_path / "page").read_text()
    assert ("past its best since epoch 5 (20 then, 5 now)" in page) is says
    assert ("each by its best epoch" in page) is not says


def test_the_end_of_a_sweep_says_so(sweeps, capsys):
    result = sweeps.run("s", **{"search.ranking": "best"})
    tables.show_result(
        replace(result, past_best="trial 0000 is past its best", impatient="Stopped by patience: x"), "table"
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert "each trial by its best epoch" in shown
    assert "trial 0000 is past its best" in shown
    assert "Stopped by patience: x" in shown
    assert result.document()["ranking"] == "best"
