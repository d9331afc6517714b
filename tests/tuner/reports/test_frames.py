"""A sweep as pandas tables says what its journal says."""

import pandas as pd
import pytest

import tuner
from trainables.errors import UserError
from tuner.sweeps.status import known_sweep, ranked_trials


@pytest.fixture(params=[{}, {"search.repeats": 2}, {"search.ranking": "best"}, {"scheduler.kind": "hyperband"}])
def sweep(request, sweeps):
    """Trials that are at their best in the second of three epochs."""
    sweeps.hooks["value"] = lambda trial, epoch: -float(trial.number) - (epoch - 2) ** 2
    sweeps.run("s", **request.param)
    return known_sweep(sweeps.storage, "s")


def test_a_row_of_history_is_an_epoch(sweep, sweeps):
    rows = tuner.history("s", storage=sweeps.storage)
    reports = {(trial.id, report.epoch): report for trial in sweep.trials.values() for report in trial.reports}
    assert list(rows.index) == list(reports)
    assert "epoch" not in rows.columns
    for place, report in reports.items():
        assert rows.loc[place, "decision"] == report.decision
        assert rows.loc[place, "val/elbo_cal"] == report.metrics["val/elbo_cal"]


def test_a_row_of_trials_is_a_trial_at_the_epoch_it_is_ranked_by(sweep, sweeps):
    rows, history = (read("s", storage=sweeps.storage) for read in (tuner.trials, tuner.history))
    assert list(rows.index) == list(sweep.trials)
    for trial in sweep.trials.values():
        row = rows.loc[trial.id]
        assert (row["seed"], row["epochs"], row["ranked_epoch"]) == (
            trial.config["seed"],
            trial.epochs,
            trial.ranked_epoch,
        )
        assert row["val/elbo_cal"] == history.loc[(trial.id, trial.ranked_epoch), "val/elbo_cal"]
        assert row["lr.base"] == trial.assignment["lr.base"]
    (status,) = tuner.status("s", storage=sweeps.storage)
    assert rows["state"].to_dict() == {trial.trial: trial.state for trial in status.trials}
    completed = rows[rows["state"] == "completed"]
    best = completed.groupby("number")["val/elbo_cal"].mean().idxmax()
    assert ranked_trials(sweep)[0].number == best


def test_times_are_those_of_the_journal(sweep, sweeps):
    rows = tuner.trials("s", storage=sweeps.storage)
    asked = {event["trial"]: event["t"] for event in sweeps.events("s") if event["event"] == "ask"}
    assert {trial: begun.timestamp() for trial, begun in rows["begun"].items()} == pytest.approx(asked, abs=1e-6)
    ends = {event["trial"]: event["t"] for event in sweeps.events("s") if event["event"] in ("report", "decision")}
    seconds = {trial: ends[trial] - asked[trial] for trial in asked}
    assert rows["seconds"].to_dict() == pytest.approx(seconds)
    assert min(seconds.values()) > 0


def test_a_sweep_without_trials_has_empty_tables(sweeps):
    sweeps.run("s")
    sweeps.cut("s", 1)
    for read in (tuner.trials, tuner.history):
        assert isinstance(read("s", storage=sweeps.storage), pd.DataFrame)
        assert read("s", storage=sweeps.storage).empty


@pytest.mark.parametrize("read", [tuner.trials, tuner.history, tuner.study])
def test_a_sweep_that_is_not_there_is_named(sweeps, read):
    sweeps.run("s")
    with pytest.raises(UserError, match="t"):
        read("t", storage=sweeps.storage)
