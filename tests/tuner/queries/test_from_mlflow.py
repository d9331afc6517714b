import json
import math
import random
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import optuna
import pytest
from stores import execute

from search_spaces.domains import Float
from search_spaces.space import Space
from trainables.errors import UserError
from trainables.paths import parse_config
from tuner.queries import from_mlflow
from tuner.queries.from_mlflow import best, front, groups_by_method
from tuner.queries.run_artifacts import artifact
from tuner.running.sweep_status import ranked_trials, unranked
from tuner.search.searchers import study_of
from tuner.storage.sweep_state import fold
from tuner.terminal.tables import exported
from tuner.tracking import mlflow_store
from tuner.tracking.mlflow_store import MlflowClient, Tag, ensure_experiment, open_client
from tuner.tracking.projection import Projection
from tuner.tracking.run_files import RunFiles

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


def config_file(uri, row):
    return Path(open_client(uri).get_run(row.run_id).info.artifact_uri) / "config.yaml"


def test_a_configuration_is_not_rebuilt_from_parameters(uri, written_journal):
    """Cut at 6,000 characters, as MLflow does it, or edited: they are for filters alone."""
    groups = ",".join(f"GROUP_{i:04}" for i in range(700))
    tree = {"model": {"kind": "nets:make", "kwargs": {"groups": groups}}, "lr": {"base": 0.25}}
    journal = written_journal()
    journal.trial("0000", [-1.0], "completed", tree)
    project(uri, journal)
    execute(
        uri,
        ("UPDATE params SET value = '0.5' WHERE key = 'lr.base'", ()),
        ("DELETE FROM params WHERE key = 'epochs'", ()),
    )
    (row,) = best(uri, where="lr.base = 0.5")
    stored = open_client(uri).get_run(row.run_id).data.params
    assert len(stored["model.kwargs.groups"]) == 6000
    assert row.config == parse_config(tree)
    assert row.fault == ""


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "has no config.yaml, which says what was trained"),
        ("epochs: 3", "is not what was trained: tag vae_tuner.config is of another"),
        ("epochs: [", "is not what was trained: tag vae_tuner.config is of another"),
        (b"\xff", "cannot be read: "),
    ],
)
def test_a_file_that_is_not_what_was_run_is_listed_and_refused(content, fault, swept):
    row = best(swept)[0]
    file = config_file(swept, row)
    file.unlink()
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    row, other = best(swept, top=2)
    assert (row.trial, row.config) == ("0003", None)
    assert other.config is not None
    assert row.fault.startswith(
        (f"run {row.run_id} (trial 0003 of sweep s)", f"config.yaml of run {row.run_id} (trial")
    )
    assert fault in row.fault
    with pytest.raises(UserError) as refusal:
        exported(row)
    assert str(refusal.value) == row.fault
    assert "`vae-tuner sync s`" in row.fault or "cannot be read" in row.fault


def test_the_file_of_an_earlier_version_is_taken_as_it_is(swept):
    row = best(swept)[0]
    open_client(swept).delete_tag(row.run_id, Tag.CONFIG)
    assert best(swept)[0].config == row.config
    config_file(swept, row).unlink()
    assert "has no config.yaml" in best(swept)[0].fault


def test_only_the_files_of_rows_that_are_shown_are_read(uri, written_journal, monkeypatch):
    journal = written_journal()
    for n in range(30):
        journal.trial(f"{n:04d}", [float(n)], "completed")
    project(uri, journal)
    read = []
    fetch = RunFiles.fetch
    monkeypatch.setattr(RunFiles, "fetch", lambda self, *names: read.append(names) or fetch(self, *names))
    assert [row.config for row in best(uri, top=3)] == [parse_config({})] * 3
    assert len(read) == 3


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
    monkeypatch.setattr(from_mlflow, "_PAGE", 6)
    monkeypatch.setattr(mlflow_store.find_runs, "__defaults__", (4,))
    for top in (1, 3, 40, 100):
        assert [row.trial for row in best(uri, top=top)] == expected[:top]


def test_a_query_is_a_handful_of_requests_however_many_the_trials(uri, written_journal, monkeypatch):
    journal = written_journal()
    for n in range(60):
        journal.trial(f"{n:04d}", [float(n)], "completed")
    project(uri, journal)
    monkeypatch.setattr(from_mlflow, "_PAGE", 30)
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
    (tmp_path / "trials" / "0000" / "samples.png").write_bytes(b"png")
    project(uri, journal, trials=tmp_path / "trials")
    run_id = best(uri)[0].run_id
    assert artifact(uri, run_id, "samples.png", tmp_path).read_bytes() == b"png"
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
    said = []
    assert [row.trial for row in best(uri, metric="val/mutual_info", top=2, on_note=said.append)] == ["0001"]
    pair = ("val/elbo", "val/mutual_info")
    assert [row.trial for row in front(uri, pair, said.append).rows] == ["0001"]
    assert said[0] == said[1]
    assert said[0].startswith("Not ranked: trial 0000: val/mutual_info rests on an estimate that cannot exceed ln N")
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
    assert unranked(sweep)[0].startswith("trial 0000: val/mutual_info rests on")


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def varied(uri, written_journal):
    """Trials 0000 … 0011: val/elbo_cal −n, val/kl n, every second by GECO, every third without gradient clipping."""
    journal = written_journal()
    for n in range(12):
        tree = {"lr": {"base": 10.0 ** -(n % 4 + 1)}, "optimizer": {"clip_norm": "none" if n % 3 == 0 else n}}
        journal.ask(f"{n:04d}", tree | (GECO if n % 2 else {"beta": {"kind": "linear", "warmup": f"{n}00 steps"}}))
        last = {"val/elbo_cal": -float(n), "val/kl": float(n), **({"geco/lambda": 2.0} if n % 2 else {})}
        journal.report(f"{n:04d}", 1, last, "completed", "ok" if n % 2 else None)
    project(uri, journal)
    return uri


@pytest.mark.parametrize(
    ("where", "trials"),
    [
        ("val/kl < 3", [0, 1, 2]),
        ("val/kl >= 9 and val/kl != 10", [9, 11]),
        ("val/kl < 8 and objective.kind = geco and lr.base >= 1e-3", [1, 5]),
        ("lr.base < 0.001", [3, 7, 11]),
        ("optimizer.clip_norm = none", [0, 3, 6, 9]),
        ("optimizer.clip_norm > 9", [10, 11]),
        ("beta.warmup > '600 steps'", [8, 10]),
        ("beta.kind != cosine and val/kl < 5", [0, 2, 4]),
        ("method = geco and outcome = ok and stop_reason = completed and trial > 8", [9, 11]),
        ("geco/lambda = 2 and val/kl <= 1e22 and val/kl > 1e-9 and trial <= 3", [1, 3]),
        (" and ".join(["val/kl < 2"] * 70), [0, 1]),
        ("val/kl < 9007199254740993 and val/kl > 10", [11]),
        ("val/kl > 100", []),
    ],
)
def test_conditions_choose_the_trials_that_are_ranked(where, trials, varied):
    assert [int(row.trial) for row in best(varied, where=where, top=20)] == trials
    assert [int(row.trial) for row in best(varied, where=where)] == trials[:1]


@pytest.mark.parametrize("top", [1, 2, 20])
def test_conditions_and_pages_do_not_disturb_each_other(top, varied, monkeypatch):
    monkeypatch.setattr(from_mlflow, "_PAGE", 3)
    found = best(varied, where="optimizer.clip_norm = none and val/kl > 1", top=top)
    assert [int(row.trial) for row in found] == [3, 6, 9][:top]


def test_conditions_narrow_what_is_read(varied, monkeypatch):
    filters = []
    search = MlflowClient.search_runs

    def seen(self, ids, filter_string, **options):
        filters.append(filter_string)
        return search(self, ids, filter_string, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", seen)
    best(varied, where="val/kl < 1e22 and lr.base > 0 and val/elbo_cal > -2.5")
    assert "metrics.`val/kl` < 10000000000000000000000 and metrics.`val/elbo_cal` > -2.5" in filters[-1]
    assert "lr.base" not in filters[-1]
    best(varied, where="val/kl < 9007199254740993")  # no float, so MLflow would compare with its neighbour
    assert "val/kl" not in filters[-1]


def test_a_wrong_condition_is_known_before_the_store_is_asked(tmp_path):
    with pytest.raises(UserError, match="--where: 'val/k' is no metric"):
        best(f"sqlite:///{tmp_path}/mlflow.db", where="val/k < 1")


@pytest.mark.parametrize("page", [2, 200])
def test_the_best_of_each_method_meets_the_conditions_too(page, varied, monkeypatch):
    monkeypatch.setattr(from_mlflow, "_PAGE", page)
    rows = best(varied, where="val/kl > 4", top=None)
    assert [(row.method, int(row.trial)) for row in rows] == [("geco", 5), ("linear", 6)]


# --- fronts -----------------------------------------------------------------------------------------------------------

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
        (["val/mse", "test/elbo"], "nobody selects on test"),
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


# --- what cannot be ranked together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"binarize": "soft"}, {"binarize": "dynamic"}, r"data\.binarize \(dynamic or fixed in b, soft in a\)"),
        ({"binarize": "none"}, {"binarize": "fixed"}, r"data\.binarize \(dynamic or fixed in b, none in a\)"),
        (
            {"likelihood": "gaussian"},
            {"likelihood": "bernoulli"},
            r"data\.likelihood \(bernoulli in b, gaussian in a\)",
        ),
        ({"split_seed": 0}, {"split_seed": 1}, r"data\.split_seed \(0 in a, 1 in b\)"),
        ({"image_size": None}, {"image_size": 32}, r"data\.image_size \(32 in b, none in a\)"),
    ],
)
def test_other_validation_data_or_likelihoods_are_not_ranked_together(one, other, message, uri, written_journal):
    for name, data in (("a", one), ("b", other)):
        journal = written_journal(name, "val/elbo")
        journal.trial("0000", [-1.0], "completed", {"data": data})
        project(uri, journal)
    for question in ({}, {"metric": "val/elbo"}):
        with pytest.raises(UserError, match=rf"differ in {message} cannot be ranked together; .*--sweep"):
            best(uri, **question)
    with pytest.raises(UserError, match="cannot be ranked together"):
        front(uri, ["val/elbo", "val/mse"])
    assert [row.sweep for row in best(uri, sweep=["b"])] == ["b"]


def test_likelihoods_of_other_numbers_of_samples_are_not_ranked_together(uri, written_journal):
    for name, samples in (("a", 1), ("b", 1000)):
        journal = written_journal(name, "val/nll", "min")
        journal.ask("0000", {"metrics": {"nll_samples": samples}})
        journal.report("0000", 1, {"val/nll": 7.0, "val/elbo": -8.0}, "completed")
        project(uri, journal)
    with pytest.raises(UserError, match=r"differ in metrics\.nll_samples \(1 in a, 1000 in b\)"):
        best(uri)
    assert len(best(uri, metric="val/elbo", top=5)) == 2


@pytest.mark.parametrize(
    ("one", "other"), [({"n_train": 100}, {"n_train": 200}), ({"binarize": "fixed"}, {"binarize": "dynamic"})]
)
def test_what_leaves_the_validation_data_alone_is_ranked_together(one, other, uri, written_journal):
    for name, data in (("a", one), ("b", other)):
        journal = written_journal(name, "val/elbo")
        journal.trial("0000", [-1.0], "completed", {"data": data})
        project(uri, journal)
    assert len(best(uri, top=5)) == 2


def test_sweeps_of_a_version_that_did_not_record_their_data_are_ranked_as_before(uri, written_journal):
    for name, binarize in (("a", "soft"), ("b", "dynamic")):
        journal = written_journal(name, "val/elbo")
        journal.trial("0000", [-1.0], "completed", {"data": {"binarize": binarize}})
        project(uri, journal)
    client = open_client(uri)
    for row in [*best(uri, sweep=["a"]), *best(uri, sweep=["b"])]:
        client.delete_tag(client.get_run(row.run_id).data.tags[Tag.PARENT], Tag.MEASURED)
    assert len(best(uri, top=5)) == 2


# --- files that are no stores -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["empty", "foreign", "damaged"])
def test_a_file_that_is_no_mlflow_database_stays_as_it_is(content, tmp_path):
    path = tmp_path / "other.db"
    path.touch()
    if content != "empty":
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE experiments (name TEXT)")
        database.commit()
        database.close()
    if content == "damaged":
        path.write_bytes(path.read_bytes()[:50] + bytes(3000))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"other\.db is no MLflow database; pass the store of the sweep"):
        best(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_that_another_process_holds_for_a_moment_is_waited_for(swept):
    writer = sqlite3.connect(swept.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, writer.rollback)
    release.start()
    assert best(swept)[0].trial == "0003"
    release.join()
    writer.close()


def test_best_lists_a_run_without_its_file_and_exports_none(swept, cli, tmp_path):
    folder = tmp_path / "store"
    config_file(swept, best(swept)[0]).unlink()
    listed = cli(folder, "best", "--top", "2", "--format", "json")
    assert (listed.code, [row["config"] is None for row in json.loads(listed.out)]) == (0, [True, False])
    assert "has no config.yaml" in listed.err
    table = cli(folder, "best")
    assert (table.code, "0003" in table.out, "configuration" in table.out) == (0, True, False)
    refused = cli(folder, "best", "--export", "best.yaml")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "(trial 0003 of sweep s) has no config.yaml" in refused.err
    assert not (folder / "best.yaml").exists()
