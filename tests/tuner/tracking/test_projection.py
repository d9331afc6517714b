import itertools
import json
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from events import parsed
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from stores import runs_of, snapshot

from trainables.config.paths import parse_config
from trainables.errors import UserError
from trainables.files.trial_files import trial_files
from tuner.tracking.configurations import config_of
from tuner.tracking.mlflow_store import Tag, ensure_experiment, find_runs, open_client
from tuner.tracking.params import to_params
from tuner.tracking.projection import Projection


def projected(uri, events, **options):
    projection = Projection(open_client(uri), "vae-tuner", **options)
    projection.project(parsed(events))
    return projection


@pytest.fixture
def undisturbed(new_store, eventful_journal):
    """What one projection of the whole eventful journal leaves."""
    uri = new_store("undisturbed")
    projected(uri, eventful_journal.events)
    return snapshot(uri)


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_trial_is_a_child_run_with_its_resolved_configuration(uri, eventful_journal):
    projection = projected(uri, eventful_journal.events)
    runs = runs_of(uri)
    assert {name: run.info.run_id for name, run in runs.items() if name != "sweep"} == projection.run_ids()
    assert runs["sweep"].info.run_id == projection.parent_run_id
    asks = {event["trial"]: event for event in eventful_journal.events if event["event"] == "ask"}
    for trial, ask in asks.items():
        run = runs[trial]
        assert run.data.tags[Tag.PARENT] == projection.parent_run_id
        assert run.data.params == to_params(ask["config"])
        identity = [Tag.SWEEP, Tag.SWEEP_ID, Tag.KIND, Tag.METHOD, Tag.DATASET]
        assert [run.data.tags[tag] for tag in identity] == ["s", "id-of-s", "trial", ask["method"], "digits"]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("completed", "FINISHED"),
        ("pruned", "KILLED"),
        ("interrupted", "KILLED"),
        ("budget", "KILLED"),
        ("diverged", "FAILED"),
        ("error", "FAILED"),
    ],
)
def test_the_status_follows_from_the_stop_reason(reason, status, undisturbed):
    ended = [run for name, run in undisturbed.items() if name != "sweep" and run["tags"][Tag.STOP_REASON] == reason]
    assert ended
    assert {run["status"] for run in ended} == {status}


def test_points_carry_the_epoch_and_the_journals_time(uri, eventful_journal):
    projected(uri, eventful_journal.events)
    reports = [
        event for event in eventful_journal.events if event.get("trial") == "0000" and event["event"] == "report"
    ]
    expected = [(report["metrics"]["val/mse"], report["epoch"], round(report["t"] * 1000)) for report in reports]
    points = open_client(uri).get_metric_history(runs_of(uri)["0000"].info.run_id, "val/mse")
    assert sorted((point.value, point.step, point.timestamp) for point in points) == sorted(expected)


def test_a_resumed_trial_runs_again_until_it_ends(uri, eventful_journal):
    client, events = open_client(uri), eventful_journal.events
    projection = Projection(client, "vae-tuner")
    interrupted = next(n for n, event in enumerate(events) if event["event"] == "finish") + 1
    projection.project(parsed(events[:interrupted]))
    assert {runs_of(uri)[name].info.status for name in ("0000", "0005", "sweep")} == {"KILLED"}
    eventful_journal.events[interrupted:] = []
    eventful_journal.report("0000", 2, {"val/elbo_cal": -4.0})
    projection.project(parsed(events[interrupted:]))
    runs = runs_of(uri)
    assert {name: runs[name].info.status for name in ("0000", "0005", "sweep")} == {
        "0000": "RUNNING",
        "0005": "KILLED",
        "sweep": "RUNNING",
    }
    assert runs["0000"].data.tags[Tag.STOP_REASON] == "running"


def test_a_diverged_trial_keeps_its_last_finite_values(undisturbed):
    run = undisturbed["0002"]
    assert run["tags"][Tag.STOP_REASON] == "diverged"
    assert [(step, value) for key, step, _, value in run["points"] if key == "val/elbo_cal"] == [(1, -4.0)]
    assert all(math.isfinite(value) for *_, value in run["points"])


def test_the_parent_names_the_best_and_counts_the_ends(uri, eventful_journal):
    projection = projected(uri, eventful_journal.events)
    parent = runs_of(uri)["sweep"]
    tags = parent.data.tags
    assert (tags[Tag.METRIC], tags[Tag.DIRECTION], tags[Tag.KIND]) == ("val/elbo_cal", "max", "sweep")
    assert tags[Tag.BEST_RUN_ID] == projection.run_ids()["0000"]
    assert float(tags[Tag.BEST_VALUE]) == parent.data.metrics["val/elbo_cal"] == -3.0
    assert json.loads(tags[Tag.BEST_PARAMS]) == {"objective.kind": "geco", "objective.kappa": repr(0.1 + 0.2)}
    counts = {"completed": 2, "pruned": 1, "diverged": 1, "error": 1, "budget": 1, "interrupted": 1}
    assert json.loads(tags[Tag.STOP_REASONS]) == counts
    assert {key: value for key, value in parent.data.metrics.items() if key != "val/elbo_cal"} == {
        f"trials/{reason}": count for reason, count in counts.items()
    }
    assert parent.info.status == "FINISHED"


def test_equal_trials_are_told_apart_by_their_id(uri, written_journal):
    journal = written_journal(metric="val/mse", direction="min")
    for trial, value in [("0002", 0.5), ("0001", 0.5), ("0000", 0.6)]:
        journal.trial(trial, [value], "completed")
    projected(uri, journal.events)
    assert runs_of(uri)["sweep"].data.tags[Tag.BEST_TRIAL] == "0001"


def test_files_of_completed_trials_and_errors_become_artifacts(uri, eventful_journal, tmp_path, trials_root):
    (tmp_path / "trials" / "0000" / "a folder").mkdir(parents=True)
    (tmp_path / "trials" / "0001").mkdir()
    for trial in ("0000", "0001"):
        with trial_files(trials_root, trial).writing() as folder:
            (folder / "config.yaml").write_text("of another version")
            (folder / "samples.png").write_bytes(b"png")
    projection = projected(uri, eventful_journal.events, trials=trials_root)
    client, run_ids = open_client(uri), projection.run_ids()
    names = {trial: [file.path for file in client.list_artifacts(run_ids[trial])] for trial in ("0000", "0001", "0003")}
    assert names == {
        "0000": ["config.yaml", "samples.png"],
        "0001": ["config.yaml"],
        "0003": ["config.yaml", "error.txt"],
    }
    asks = {event["trial"]: event["config"] for event in eventful_journal.events if event["event"] == "ask"}
    for trial, run_id in run_ids.items():
        assert config_of(client, client.get_run(run_id)) == parse_config(asks[trial])
    error = Path(client.download_artifacts(run_ids["0003"], "error.txt", str(tmp_path)))
    assert error.read_text() == "Traceback: out of memory"


def test_artifacts_lie_beside_the_database(uri, eventful_journal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    projected(uri, eventful_journal.events)
    assert not (tmp_path / "mlruns").exists()
    assert list((tmp_path / "store" / "mlruns" / "vae-tuner").glob("*/artifacts/error.txt"))


def test_the_users_tags_are_on_every_run(uri, eventful_journal):
    projected(uri, eventful_journal.events, tags={"team": "vision"})
    assert {run.data.tags["team"] for run in runs_of(uri).values()} == {"vision"}


def test_more_points_than_mlflow_takes_in_a_call_all_arrive(uri, written_journal):
    journal = written_journal()
    journal.ask("0000")
    for epoch in range(1, 400):
        journal.report(
            "0000", epoch, {f"val/m{n}": epoch + n / 8 for n in range(5)}, "completed" if epoch == 399 else None
        )
    projected(uri, journal.events)
    assert len(snapshot(uri)["0000"]["points"]) == 399 * 6


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_any_split_into_batches_leaves_the_same_runs_and_points(size, uri, eventful_journal, undisturbed):
    projection = Projection(open_client(uri), "vae-tuner")
    events = eventful_journal.events
    for start in range(0, len(events), size):
        projection.project(parsed(events[start : start + size]))
    assert snapshot(uri) == undisturbed


@pytest.mark.parametrize("lengths", [(9, 9), (1, 5, 5, 12), (3, 14, 21)])
def test_any_prefixes_sent_again_from_the_start_leave_the_same_runs_and_points(
    lengths, uri, eventful_journal, undisturbed
):
    for length in [*lengths, None]:
        projected(uri, eventful_journal.events[:length])
    assert snapshot(uri) == undisturbed


@pytest.mark.parametrize("length", [0, 1, 8, 16])
def test_resuming_sends_only_what_mlflow_lacks(length, uri, eventful_journal, undisturbed):
    events = eventful_journal.events
    projected(uri, events[:length])
    projection = Projection(open_client(uri), "vae-tuner")
    known = projection.resume(parsed(events))
    assert (known, projection.mended, projection.notes) == (length, 0, [])
    projection.project(parsed(events[known:]))
    assert snapshot(uri) == undisturbed


def test_a_journal_that_lost_its_tail_is_sent_again_from_the_start(uri, eventful_journal):
    events = eventful_journal.events
    projected(uri, events[:6])
    rewritten = [*events[:5], {**events[5], "t": events[5]["t"] + 100}]
    assert Projection(open_client(uri), "vae-tuner").resume(parsed(rewritten)) == 0


def reported(journal, epochs, seconds, reason=None):
    for epoch in epochs:
        metrics = {"val/elbo_cal": -1.0 / epoch, "time/epoch_s": seconds + epoch}
        journal.report("0000", epoch, metrics, reason if epoch == epochs[-1] else None)


@pytest.mark.parametrize("marked", [True, False], ids=["whole batches", "died within a batch"])
def test_epochs_that_a_journal_has_lost_and_has_again_are_in_mlflow_once(marked, uri, written_journal, monkeypatch):
    """MLflow has epochs 3 and 4 of lines that are gone; the journal has them again, with other times and seconds."""
    before = written_journal()
    before.ask("0000")
    reported(before, [1, 2], seconds=0.1)
    projected(uri, before.events)
    after = written_journal()
    after.events[1:] = before.events[1:]
    reported(before, [3, 4], seconds=0.1)
    with monkeypatch.context() as patch:
        if not marked:
            patch.setattr(Projection, "_changes_of_parent", lambda *_: [])
        projected(uri, before.events)
    run_id = runs_of(uri)["0000"].info.run_id
    open_client(uri).log_metric(
        run_id, "epoch", 5.0, timestamp=1, step=5
    )  # of the line of epoch 5 no more came through

    after.add("resume", more=0)
    reported(after, [3, 4, 5, 6], seconds=0.2, reason="completed")
    projection = Projection(open_client(uri), "vae-tuner")
    for event in after.events[projection.resume(parsed(after.events)) :]:
        projection.project(parsed([event]))
    points = {
        key: [(step, value) for name, step, _, value in snapshot(uri)["0000"]["points"] if name == key]
        for key in ("epoch", "val/elbo_cal", "time/epoch_s")
    }
    assert points == {
        "epoch": [(epoch, epoch) for epoch in range(1, 7)],
        "val/elbo_cal": [(epoch, -1.0 / epoch) for epoch in range(1, 7)],
        "time/epoch_s": [(epoch, (0.1 if epoch < 5 else 0.2) + epoch) for epoch in range(1, 7)],
    }
    assert runs_of(uri)["0000"].info.status == "FINISHED"


def test_an_epoch_that_stands_twice_in_a_journal_counts_once(uri, eventful_journal, undisturbed):
    at, report = next((n, event) for n, event in enumerate(eventful_journal.events) if event["event"] == "report")
    repeated = {**report, "t": report["t"] + 0.5, "metrics": {"val/elbo_cal": 99.0}}
    projected(uri, [*eventful_journal.events[: at + 1], repeated, *eventful_journal.events[at + 1 :]])
    assert snapshot(uri) == undisturbed


def test_two_sweeps_of_one_name_do_not_mix(uri, written_journal):
    ours, theirs = written_journal(), written_journal()
    theirs.events[0]["sweep_id"] = "another"
    for journal, value in [(ours, -1.0), (theirs, -2.0)]:
        journal.trial("0000", [value], "completed")
        projected(uri, journal.events)
    client = open_client(uri)
    runs = list(find_runs(client, ensure_experiment(client, "vae-tuner"), "tags.`vae_tuner.kind` = 'trial'"))
    assert sorted(run.data.metrics["val/elbo_cal"] for run in runs) == [-2.0, -1.0]
    assert len({run.data.tags[Tag.PARENT] for run in runs}) == 2


def test_a_deleted_experiment_is_named(uri):
    client = open_client(uri)
    client.delete_experiment(ensure_experiment(client, "vae-tuner"))
    with pytest.raises(UserError, match=r"'vae-tuner' was deleted.*--experiment"):
        ensure_experiment(client, "vae-tuner")


# --- traps ------------------------------------------------------------------------------------------------------------


def requests_while(monkeypatch, action):
    """How often each method of the store is called from outside: one HTTP request each with a server."""
    calls: Counter[str] = Counter()
    state = SimpleNamespace(inside=False)  # what the store calls of itself is no request

    def counted(name, original):
        def call(self, *args, **kwargs):
            if state.inside:
                return original(self, *args, **kwargs)
            calls[name] += 1
            state.inside = True
            try:
                return original(self, *args, **kwargs)
            finally:
                state.inside = False

        return call

    names = ("create_run", "get_run", "log_batch", "log_metric", "log_param", "search_runs", "update_run_info")
    with monkeypatch.context() as patch:
        for name in names:
            patch.setattr(SqlAlchemyStore, name, counted(name, getattr(SqlAlchemyStore, name)))
        action()
    return calls


def test_trap_7_chatty_logging(new_store, written_journal, monkeypatch):
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    metrics = {f"val/m{n}": n / 7 for n in range(14)}
    journal = written_journal()
    trials = [f"{n:04d}" for n in range(3)]
    for trial in trials:
        journal.ask(trial)
    for epoch, trial in itertools.product(range(1, 6), trials):
        journal.report(trial, epoch, metrics, "completed" if epoch == 5 else None)

    store = new_store("stock")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)  # as the callback does, which leaves it so
    stock = MLflowLoggerCallback(store, experiment_name="stock")
    stock.setup()

    def run_stock():
        for trial in [Mock(config={"lr": 0.1}) for _ in trials]:
            stock.log_trial_start(trial)
            for epoch in range(1, 6):
                stock.log_trial_result(epoch, trial, {**metrics, "training_iteration": epoch, "timesteps_total": None})
            stock.log_trial_end(trial)

    chatty = requests_while(monkeypatch, run_stock)
    assert chatty["log_metric"] == 3 * 5 * 15
    assert chatty["get_run"] >= 3 * 5

    monkeypatch.setattr("tuner.tracking.database_records.is_known", lambda store: False)
    projection = Projection(open_client(new_store("ours")), "vae-tuner")
    batched = requests_while(monkeypatch, lambda: projection.project(parsed(journal.events)))
    assert batched == {"search_runs": 2, "create_run": 4, "log_batch": 4, "update_run_info": 3}
    assert sum(batched.values()) * 15 < sum(chatty.values())
