import math
import random
from collections import Counter

import pytest

from trainables.errors import UserError
from trainables.paths import parse_config
from tuner import mlflow_store, queries
from tuner.mlflow_store import MlflowClient, Tag, ensure_experiment, open_client
from tuner.projection import Projection
from tuner.queries import artifact, best, groups_by_method

GECO = {"objective": {"kind": "geco", "kappa": 0.1 + 0.2}}


def project(uri, *journals, experiment="vae-tuner", **options):
    for journal in journals:
        Projection(open_client(uri), experiment, **options).project(journal.events)


@pytest.fixture
def swept(uri, written_journal):
    """Twelve trials of two methods; the best by far were pruned or diverged."""
    journal = written_journal()
    for n, value in enumerate([-5.0, -3.0, -8.0, -2.5, -2.5, -9.0]):
        journal.trial(f"{n:04d}", [value - 1, value], "completed", GECO if n % 2 else None)
    journal.trial("0006", [-1.0], "pruned")
    journal.trial("0007", [-0.5, float("nan")], "diverged")
    journal.trial("0008", [-0.4], "budget")
    journal.ask("0009")
    journal.report("0009", 1, {"val/elbo_cal": -0.3})
    journal.add("end", trial="0009", reason="error", error="Traceback")
    journal.ask("0010")
    journal.report("0010", 1, {"val/elbo_cal": -0.2})
    project(uri, journal)
    return uri


# --- the ranking ------------------------------------------------------------------------------------------------------


def test_completed_trials_are_ranked_best_first_and_ties_by_trial(swept):
    assert [row.trial for row in best(swept, top=10)] == ["0003", "0004", "0001", "0000", "0002", "0005"]
    assert [row.trial for row in best(swept)] == ["0003"]


def test_pruned_trials_are_ranked_when_asked_for_and_failed_ones_never(swept):
    assert [row.trial for row in best(swept, top=3, include_pruned=True)] == ["0006", "0003", "0004"]


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
    monkeypatch.setattr(queries, "_PAGE", 6)
    monkeypatch.setattr(mlflow_store.find_runs, "__defaults__", (4,))
    for top in (1, 3, 40, 100):
        assert [row.trial for row in best(uri, top=top)] == expected[:top]


def test_a_query_is_a_handful_of_requests_however_many_the_trials(uri, written_journal, monkeypatch):
    journal = written_journal()
    for n in range(60):
        journal.trial(f"{n:04d}", [float(n)], "completed")
    project(uri, journal)
    monkeypatch.setattr(queries, "_PAGE", 30)
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
    for trial, poison in [("0003", -math.inf), ("0004", math.nan)]:  # written past us, and said to be completed
        tags = {**ours.get_run(best(uri)[0].run_id).data.tags, Tag.TRIAL: trial}
        run = ours.create_run(ensure_experiment(ours, "vae-tuner"), tags=tags)
        ours.log_metric(run.info.run_id, "val/recon_nll", poison)
    assert [row.trial for row in best(uri, top=10, include_pruned=True)] == ["0001", "0000"]


# --- what cannot be answered ------------------------------------------------------------------------------------------


def test_a_missing_database_is_not_made(tmp_path):
    with pytest.raises(UserError, match=f"no MLflow database at {tmp_path}/mlflow.db.*--tracking-uri"):
        best(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"experiment": "vae-tunr"}, "experiment 'vae-tunr'.*did you mean `vae-tuner`"),
        ({"sweep": ["t"]}, "sweep 't'.*known: s"),
        ({"method": "gecko"}, "method 'gecko'.*did you mean `geco`"),
        ({"dataset": "mnist"}, "dataset 'mnist'.*known: digits"),
        ({"metric": "val/nonsense"}, "metric 'val/nonsense' cannot be ranked by"),
        ({"metric": "val/mse"}, "metric 'val/mse' was not recorded.*recorded: epoch, val/elbo_cal"),
        ({"metric": "test/elbo"}, "nobody selects on test"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(question, message, swept):
    with pytest.raises(UserError, match=message):
        best(swept, **question)


def test_an_experiment_without_a_sweep_is_named(uri):
    ensure_experiment(open_client(uri), "vae-tuner")
    with pytest.raises(UserError, match="'vae-tuner' holds no sweep"):
        best(uri)


def test_sweeps_by_different_metrics_need_one_named(uri, written_journal):
    by_elbo, by_nll = written_journal("a", "val/elbo"), written_journal("b", "val/mse", "min")
    for journal in (by_elbo, by_nll):
        journal.ask("0000")
        journal.report("0000", 1, {"val/elbo": -3.0, "val/mse": 2.0}, "completed")
    project(uri, by_elbo, by_nll)
    with pytest.raises(UserError, match=r"val/elbo, val/mse.*--metric"):
        best(uri)
    assert {row.sweep for row in best(uri, metric="val/mse", top=2)} == {"a", "b"}
    assert best(uri, sweep=["b"])[0].metric == "val/mse"


def test_an_elbo_on_two_data_sets_is_not_ranked_together(uri, written_journal):
    digits, mnist = written_journal("a"), written_journal("b")
    digits.trial("0000", [-1.0], "completed")
    mnist.trial("0000", [-100.0], "completed", {"data": {"name": "mnist"}})
    project(uri, digits, mnist)
    with pytest.raises(UserError, match=r"digits, mnist.*--dataset"):
        best(uri)
    assert [row.dataset for row in best(uri, dataset="mnist", top=5)] == ["mnist"]


def test_an_artifact_comes_back_and_a_missing_one_is_named(uri, written_journal, tmp_path):
    journal = written_journal()
    journal.trial("0000", [-1.0], "completed")
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    (tmp_path / "trials" / "0000" / "config.yaml").write_text("epochs: 3")
    project(uri, journal, folder=tmp_path / "trials")
    run_id = best(uri)[0].run_id
    assert artifact(uri, run_id, "config.yaml", tmp_path).read_text() == "epochs: 3"
    with pytest.raises(UserError, match=r"has no checkpoint\.safetensors"):
        artifact(uri, run_id, "checkpoint.safetensors", tmp_path)
    with pytest.raises(UserError, match="run 'nonsense' is not in"):
        artifact(uri, "nonsense", "config.yaml", tmp_path)


def test_a_saturated_mutual_information_is_no_result(uri, written_journal):
    journal = written_journal(metric="val/elbo")
    for trial, saturated in (("0000", 1.0), ("0001", 0.0)):
        journal.ask(trial)
        values = {"val/elbo": -1.0, "val/mutual_info": 5.0 + saturated, "val/mi_saturated": saturated}
        journal.report(trial, 1, values, "completed")
    project(uri, journal)
    assert [row.trial for row in best(uri, metric="val/mutual_info", top=2)] == ["0001"]
    assert len(best(uri, metric="val/elbo", top=2)) == 2
