"""Which trials are best: their order, their rows, and how much is read for them."""

import math
import random
from collections import Counter

import optuna
import pytest
from stores import GECO, project

from search_spaces.domains import Float
from search_spaces.space import Space
from trainables.config.paths import parse_config
from tuner.search.optuna_study import study_of
from tuner.sweeps.state import fold
from tuner.sweeps.status import ranked_trials, unranked
from tuner.tracking import best as from_mlflow
from tuner.tracking import mlflow_store
from tuner.tracking.best import best, front, groups_by_method
from tuner.tracking.mlflow_store import MlflowClient, Tag, ensure_experiment, open_client


def test_completed_trials_are_ranked_best_first_and_ties_by_trial(swept):
    assert [row.trial for row in best(swept, top=10)] == ["0003", "0004", "0001", "0000", "0002", "0005"]
    assert [row.trial for row in best(swept)] == ["0003"]


def test_pruned_trials_are_ranked_when_asked_for_and_failed_ones_never(swept):
    assert [row.trial for row in best(swept, top=3, include_pruned=True)] == ["0006", "0003", "0004"]


@pytest.fixture
def sparse(uri, written_journal):
    """One metric each epoch, another at every second one; the pruned trials ended between, and one value was NaN."""
    journal = written_journal()
    for trial, values, reason in (("0000", [5.0, 4.0], "completed"), ("0001", [9.0, 1.0, 2.0], "pruned")):
        journal.ask(trial)
        for epoch, value in enumerate(values, 1):
            some = {"val/agg_kl_gauss": 10 * value} if epoch % 2 == 0 else {}
            last = reason if epoch == len(values) else None
            journal.report(trial, epoch, {"val/elbo_cal": value, **some}, last)
    journal.ask("0002")
    journal.report("0002", 1, {"val/elbo_cal": 1.0, "val/kl": 3.0})
    journal.report("0002", 2, {"val/elbo_cal": 1.5, "val/kl": math.nan}, "completed")
    project(uri, journal)
    return uri, {trial.id: trial.last for trial in fold(journal.events).trials.values()}


def test_the_metrics_of_a_row_are_of_one_epoch(sparse):
    uri, last = sparse
    rows = best(uri, top=3, include_pruned=True)
    assert {row.trial for row in rows} == set(last)
    for row in rows:
        assert row.metrics == {name: value for name, value in last[row.trial].items() if math.isfinite(value)}


def test_a_trial_is_neither_ranked_nor_found_by_a_metric_of_an_epoch_before_its_last(sparse):
    uri, _ = sparse
    told, metric = [], "val/agg_kl_gauss"
    options = {"include_pruned": True, "on_note": told.append}
    assert [row.trial for row in best(uri, metric=metric, top=3, **options)] == ["0000"]
    assert told == [f"Not ranked: trials 0001, 0002: {metric} was not reported, or was not finite"]
    assert [row.trial for row in best(uri, where=f"{metric} > 0", top=3, **options)] == ["0000"]
    assert best(uri, where="val/kl < 5", **options) == []
    pareto = front(uri, [metric, "val/elbo_cal"], **options)
    assert [row.trial for row in pareto.rows] == ["0000"]
    assert sum(map(len, pareto.cloud.values())) == 1


def test_a_minimised_metric_is_ranked_upwards(uri, written_journal):
    journal = written_journal(metric="val/mse", direction="min")
    for n, value in enumerate([90.0, 80.0, 100.0]):
        journal.trial(f"{n:04d}", [value], "completed")
    project(uri, journal)
    assert [row.metrics["val/mse"] for row in best(uri, top=3)] == [80.0, 90.0, 100.0]


def test_a_row_is_what_the_journal_says_to_the_last_bit(swept):
    (row,) = best(swept, method="geco")
    assert (row.sweep, row.trial, row.method, row.dataset, row.stop_reason) == (
        "s",
        "0003",
        "geco",
        "digits",
        "completed",
    )
    assert row.config == parse_config(GECO)
    assert row.metrics == {"epoch": 2.0, "val/elbo_cal": -2.5}
    assert row.metric == "val/elbo_cal"
    assert open_client(swept).get_run(row.run_id).data.tags[Tag.TRIAL] == "0003"


def test_without_a_number_the_best_of_each_method_is_given(swept):
    rows = best(swept, top=None)
    assert [(row.method, row.trial) for row in rows] == [("geco", "0003"), ("elbo", "0004")]
    assert groups_by_method(best(swept, top=100)) == rows
    assert [row.method for row in best(swept, top=None, method="elbo")] == ["elbo"]


def test_no_completed_trial_is_an_empty_answer(uri, written_journal):
    journal = written_journal()
    journal.trial("0000", [-1.0], "pruned")
    project(uri, journal)
    assert best(uri) == []


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e30])
@pytest.mark.parametrize(("metric", "direction"), [("val/elbo_cal", "max"), ("val/mse", "min")])
def test_reading_in_pages_gives_the_order_of_a_plain_sort(metric, direction, scale, uri, written_journal, monkeypatch):
    draw = random.Random(0)
    journal = written_journal(metric=metric, direction=direction)
    values = {f"{n:04d}": scale * round(draw.gauss(0, 1), 2) for n in range(40)}
    for trial, value in values.items():
        journal.trial(trial, [value], "completed")
    project(uri, journal)
    sign = -1 if direction == "max" else 1
    expected = sorted(values, key=lambda trial: (sign * values[trial], trial))
    monkeypatch.setattr(from_mlflow, "PAGE", 6)
    monkeypatch.setattr(mlflow_store.find_runs, "__defaults__", (4,))
    for top in (1, 3, 40, 100):
        assert [row.trial for row in best(uri, top=top)] == expected[:top]


def test_a_query_is_a_handful_of_requests_however_many_the_trials(uri, written_journal, monkeypatch):
    journal = written_journal()
    for n in range(60):
        journal.trial(f"{n:04d}", [float(n)], "completed")
    project(uri, journal)
    monkeypatch.setattr(from_mlflow, "PAGE", 30)
    requests = Counter()

    def counted(name, original):
        def call(self, *args, **kwargs):
            requests[name] += 1
            return original(self, *args, **kwargs)

        return call

    for name in ("search_runs", "get_run", "get_metric_history", "search_experiments"):
        monkeypatch.setattr(MlflowClient, name, counted(name, getattr(MlflowClient, name)))
    assert best(uri)[0].trial == "0059"
    assert requests == {"search_runs": 3}  # the sweeps, a page of trials, those at least as good as its best


def test_trap_11_a_diverged_trial_is_best(new_store, written_journal):
    """MLflow stores −inf as −1.8e308, which its ascending order puts first."""
    values = {"0000": 3.0, "0001": 2.0, "0002": -math.inf}
    stock_uri = new_store("stock")
    client = open_client(stock_uri)
    experiment_id = client.create_experiment("stock")
    for trial, value in values.items():
        run_id = client.create_run(experiment_id, tags={"trial": trial}).info.run_id
        client.log_metric(run_id, "val/recon_nll", value)
        client.set_terminated(run_id)
    first = client.search_runs([experiment_id], order_by=["metrics.`val/recon_nll` ASC"])[0]
    assert first.data.tags["trial"] == "0002"
    assert first.data.metrics["val/recon_nll"] == -1.7976931348623157e308

    uri = new_store("ours")
    journal = written_journal(metric="val/recon_nll", direction="min")
    for trial, value in values.items():
        reports, reason = ([value], "completed") if math.isfinite(value) else ([1.0, value], "diverged")
        journal.trial(trial, reports, reason)
    project(uri, journal)
    ours = open_client(uri)
    winner = best(uri)[0].run_id
    for trial, poison in [("0003", -math.inf), ("0004", math.nan)]:  # written past us, and said to be completed
        tags = {**ours.get_run(winner).data.tags, Tag.TRIAL: trial}
        run = ours.create_run(ensure_experiment(ours, "vae-tuner"), tags=tags)
        ours.log_metric(run.info.run_id, "val/recon_nll", poison)
    said = []
    ranked = best(uri, top=10, include_pruned=True, on_note=said.append)
    assert [row.trial for row in ranked] == ["0001", "0000"]
    assert said == ["Not ranked: trials 0003, 0004: val/recon_nll was not reported, or was not finite"]


def test_a_saturated_mutual_information_is_no_result(uri, written_journal):
    journal = written_journal(metric="val/elbo")
    for trial, saturated in (("0000", 1.0), ("0001", 0.0)):
        journal.ask(trial)
        values = {"val/elbo": -1.0, "val/mutual_info": 5.0 + saturated, "val/mi_saturated": saturated}
        journal.report(trial, 1, values, "completed")
    project(uri, journal)
    said = []
    assert [row.trial for row in best(uri, metric="val/mutual_info", top=2, on_note=said.append)] == ["0001"]
    pair = ("val/elbo", "val/mutual_info")
    assert [row.trial for row in front(uri, pair, said.append).rows] == ["0001"]
    assert said[0] == said[1]
    assert said[0].startswith("Not ranked: trial 0000: val/mutual_info is estimated from N examples")
    with pytest.warns(UserWarning, match="Not ranked: trial 0000"):
        best(uri, metric="val/mutual_info")
    assert len(best(uri, metric="val/elbo", top=2)) == 2


def test_a_sweep_itself_crowns_no_saturated_estimate(written_journal):
    """The journal's ranking is that of `best`, and Optuna hears of no value either."""
    journal = written_journal(metric="val/mutual_info")
    for trial, saturated in (("0000", 1.0), ("0001", 0.0)):
        journal.ask(trial)
        journal.report(trial, 1, {"val/mutual_info": 5.0 + saturated, "val/mi_saturated": saturated}, "completed")
    sweep = fold(journal.events)
    assert [trial.id for trial in ranked_trials(sweep)] == ["0001"]
    space = Space("", {}, {"lr.base": Float(1e-4, 1e-2)})
    for trial in sweep.trials.values():
        trial.assignment = {"lr.base": 1e-3}
    states = [trial.state.name for trial in study_of(sweep, space, optuna.samplers.RandomSampler()).trials]
    assert states == ["PRUNED", "COMPLETE"]
    assert unranked(sweep)[0].startswith("trial 0000: val/mutual_info is estimated from N examples")
