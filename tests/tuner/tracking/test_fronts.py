"""Fronts: what no trial beats in all metrics."""

import pytest
from stores import GECO, project

from trainables.errors import UserError
from tuner.tracking.best import best, front
from tuner.tracking.mlflow_store import Tag, open_client

POINTS = {"0000": (3.0, 1.0), "0001": (1.0, 3.0), "0002": (2.0, 2.0), "0003": (3.0, 3.0), "0004": (2.0, 2.0)}


@pytest.fixture
def spread(uri, written_journal):
    """val/mse and val/kl, both the smaller the better; val/elbo is −val/mse."""
    journal = written_journal(metric="val/mse", direction="min")
    for trial, (mse, kl) in POINTS.items():
        journal.ask(trial, GECO if trial > "0002" else None)
        journal.report(trial, 1, {"val/mse": mse, "val/kl": kl, "val/elbo": -mse}, "completed")
    journal.ask("0005")
    journal.report("0005", 1, {"val/mse": 0.5, "val/kl": 0.5}, "pruned")
    project(uri, journal)
    return uri


def test_a_trial_without_a_metric_of_the_front_is_left_out_and_named(uri, written_journal):
    journal = written_journal(metric="val/mse", direction="min")
    for trial, metrics in (("0000", {"val/mse": 0.5, "val/kl": 0.5}), ("0001", {"val/mse": 0.1})):
        journal.ask(trial)
        journal.report(trial, 1, metrics, "completed")
    project(uri, journal)
    said = []
    assert [row.trial for row in front(uri, ["val/mse", "val/kl"], said.append).rows] == ["0000"]
    assert said == ["Not ranked: trial 0001: val/kl was not reported, or was not finite"]


def test_the_front_is_what_no_trial_beats_in_all_metrics(spread):
    found = front(spread, ["val/mse", "val/kl"])
    assert [row.trial for row in found.rows] == ["0001", "0002", "0004", "0000"]
    assert [row.trial for row in front(spread, ["val/kl", "val/mse"]).rows] == ["0000", "0002", "0004", "0001"]
    assert {row.metric for row in found.rows} == {"val/mse"}
    assert found.cloud == {"elbo": [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], "geco": [(2.0, 2.0), (3.0, 3.0)]}


def test_each_metric_of_a_front_knows_its_direction(spread):
    assert [row.trial for row in front(spread, ["val/elbo", "val/mse"]).rows] == ["0001"]


def test_a_front_is_of_the_trials_asked_about(spread):
    metrics = ["val/mse", "val/kl"]
    assert [row.trial for row in front(spread, metrics, method="geco").rows] == ["0004"]
    assert [row.trial for row in front(spread, metrics, include_pruned=True).rows] == ["0005"]
    assert [row.trial for row in front(spread, metrics, where="val/mse > 1").rows] == ["0002", "0004", "0000"]
    assert front(spread, metrics, where="val/mse > 10").rows == []


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["val/mse"], "--pareto val/mse: give two or more different metrics"),
        (["val/mse", "val/mse"], "give two or more different metrics"),
        (["val/mse", "val/klll"], "metric 'val/klll' cannot be ranked by; did you mean `val/kl`"),
        (["val/mse", "test/elbo"], "test data must not select"),
        (["val/mse", "val/active_units"], r"'val/active_units' was not recorded.*recorded: epoch, val/elbo, val/kl"),
    ],
)
def test_a_front_that_cannot_be_is_named(metrics, message, spread):
    with pytest.raises(UserError, match=message):
        front(spread, metrics)


def test_a_sweep_by_several_metrics_is_ranked_by_the_first(uri, written_journal):
    journal = written_journal(metric="val/mse", direction="min")
    journal.events[0]["metrics"] = {"val/mse": "min", "val/kl": "min"}
    for trial, (mse, kl) in POINTS.items():
        journal.ask(trial)
        journal.report(trial, 1, {"val/mse": mse, "val/kl": kl}, "completed")
    project(uri, journal)
    (row,) = best(uri)
    assert (row.trial, row.metric) == ("0001", "val/mse")
    client = open_client(uri)
    parent = client.get_run(client.get_run(row.run_id).data.tags[Tag.PARENT])
    assert parent.data.tags[Tag.METRICS] == "val/mse, val/kl"
