import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from events import parsed

from trainables.config.paths import parse_config
from tuner.running import driver, search_loop
from tuner.running.decisions import Decisions
from tuner.running.handing_out import HandingOut
from tuner.sweeps.lease import FencedError
from tuner.tracking.configurations import config_of
from tuner.tracking.database_records import DatabaseRecords
from tuner.tracking.mlflow_store import (
    MlflowClient,
    MlflowException,
    Tag,
    ensure_experiment,
    find_runs,
    has_tags,
    open_client,
)
from tuner.tracking.origin import Origin
from tuner.tracking.run_files import RunFiles
from tuner.tracking.tracker import RetrainedRun, Tracker, log_retrain

CALLS = [(MlflowClient, "search_runs"), (RunFiles, "send_text")]
CALLS += [(DatabaseRecords, name) for name in ("create", "write")]
CALLS += [(MlflowClient, name) for name in ("create_run", "log_batch", "set_terminated")]


def points_of_sweep(uri):
    """Every metric point of every run, doubled runs and points included."""
    client = open_client(uri)
    runs = find_runs(client, ensure_experiment(client, "vae-tuner"), "")
    return sorted(
        (
            run.data.tags.get(Tag.TRIAL, "sweep"),
            run.info.status,
            run.data.tags[Tag.STOP_REASON],
            key,
            point.step,
            point.value,
        )
        for run in runs
        for key in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, key)
    )


def sent(uri, events, **options):
    tracker = Tracker(uri, "vae-tuner", events, **options)
    tracker.start()
    assert tracker.finish(60) == 0
    return tracker


@pytest.fixture
def undisturbed(new_store, eventful_journal):
    uri = new_store("undisturbed")
    sent(uri, parsed(eventful_journal.events))
    return points_of_sweep(uri)


def test_a_growing_journal_is_sent_while_it_grows(uri, eventful_journal, undisturbed):
    growing = []
    tracker = Tracker(uri, "vae-tuner", growing, interval=0.05)
    tracker.start()
    for event in parsed(eventful_journal.events[:8]):
        growing.append(event)
        time.sleep(0.02)
    while tracker.unsent:
        time.sleep(0.02)
    assert sorted(tracker.run_ids()) == ["0000", "0001", "0002"]
    growing += parsed(eventful_journal.events[8:])
    assert tracker.finish(60) == 0
    assert points_of_sweep(uri) == undisturbed
    client = open_client(uri)
    assert client.get_run(tracker.run_ids()["0006"]).data.tags[Tag.PARENT] == tracker.parent_run_id


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("way")
def test_an_outage_costs_nothing(seed, uri, eventful_journal, undisturbed, monkeypatch):
    """Calls fail at random, before they reach the store or after they did (a lost answer)."""
    chance = random.Random(seed)
    failures = []

    def unreliable(name, original):
        def call(self, *args, **kwargs):
            fails = chance.choice(["before", "after", "not", "not"]) if len(failures) < 12 else "not"
            if fails == "before":
                failures.append(name)
                raise MlflowException("the server is away")
            result = original(self, *args, **kwargs)
            if fails == "after":
                failures.append(name)
                raise MlflowException("the answer was lost")
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr("tuner.tracking.tracker._BATCH", 3)
        for owner, name in CALLS:
            patch.setattr(owner, name, unreliable(name, getattr(owner, name)))
        sent(uri, parsed(eventful_journal.events), interval=0.01)
    assert len(failures) == 12
    assert points_of_sweep(uri) == undisturbed


def test_what_an_outage_left_unsent_is_counted_and_sent_by_the_next_tracker(
    uri, eventful_journal, undisturbed, monkeypatch
):
    events = parsed(eventful_journal.events)
    with monkeypatch.context() as patch:
        patch.setattr(DatabaseRecords, "write", lambda *_: (_ for _ in ()).throw(MlflowException("away")))
        tracker = Tracker(uri, "vae-tuner", events, interval=0.01)
        tracker.start()
        while tracker.error is None:
            time.sleep(0.01)
        assert tracker.finish(0.1) == len(events)
        assert tracker.error == "away"
        tracker.join(10)
    sent(uri, events)
    assert points_of_sweep(uri) == undisturbed


def test_nothing_is_sent_that_is_not_on_disk(uri, eventful_journal):
    """MLflow would know of epochs that a power failure takes from the journal."""

    def full():
        raise OSError("no space left")

    tracker = Tracker(uri, "vae-tuner", parsed(eventful_journal.events), interval=0.01, sync=full)
    tracker.start()
    while tracker.error is None:
        time.sleep(0.01)
    assert tracker.finish(0) == len(eventful_journal.events)
    tracker.join(10)
    assert (tracker.error, points_of_sweep(uri)) == ("no space left", [])


def test_a_driver_puts_its_journal_on_disk_before_it_sends(sweeps, uri, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink()))
    result = sweeps.run("s", **{"tracking.offline": False, "tracking.uri": uri})
    assert result.unsent == 0
    assert set(synced) == {sweeps.journal("s").resolve()}


def test_a_file_that_cannot_be_sent_holds_up_nothing_and_is_tried_again(
    uri, eventful_journal, undisturbed, monkeypatch
):
    """A folder of files that cannot be written; it can again when the sweep ends, or not."""

    def refuse(file):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("tuner.tracking.run_files.replacing", refuse)
        tracker = Tracker(uri, "vae-tuner", parsed(eventful_journal.events), interval=0.01)
        tracker.start()
        while tracker.unsent:
            time.sleep(0.01)
        assert (tracker.error, tracker.unsent_files["0000"]) == (None, "[Errno 13] Permission denied")
        assert points_of_sweep(uri) == undisturbed
        another = Tracker(uri, "vae-tuner", parsed(eventful_journal.events), interval=0.01)
        another.unsent_files["0000"] = "before"
        assert another.finish(60) == 0
        assert another.unsent_files == {"0000": "[Errno 13] Permission denied"}
    assert tracker.finish(60) == 0
    assert tracker.unsent_files == {}
    client = open_client(uri)
    for run_id in tracker.run_ids().values():
        config_of(client, client.get_run(run_id))


def test_the_password_of_a_tracker_that_is_away_is_not_told(eventful_journal):
    """MLflow's own error quotes the URI."""
    tracker = Tracker("http://bob:SECRET@127.0.0.1:9", "vae-tuner", parsed(eventful_journal.events), interval=0.01)
    tracker.start()
    while tracker.error is None:
        time.sleep(0.01)
    tracker.finish(0)
    assert "http://***@127.0.0.1:9" in tracker.error
    assert "SECRET" not in tracker.error


def test_the_driver_waits_for_no_server_that_does_not_answer(sweeps, monkeypatch):
    """One request waits for its answer from the first of the driver's own calls to the last."""
    calls, trained = [], search_loop.run

    def noted(call):
        return lambda *arguments: calls.append(call) or call(*arguments)

    def train(session, tracker):
        tracker.start()
        held, _ = silent.accept()
        with held:
            trained(session, tracker)
            assert held.recv(1 << 16).startswith(b"GET ")
            with pytest.raises(BlockingIOError):  # which an end would not
                held.recv(1, socket.MSG_DONTWAIT)

    monkeypatch.setattr(driver, "require_ready", lambda plan: None)
    monkeypatch.setattr(search_loop, "run", train)
    monkeypatch.setattr(driver, "SEND_SECONDS", 0.0)
    monkeypatch.setattr(Decisions, "hear", noted(Decisions.hear))
    monkeypatch.setattr(HandingOut, "next_trial", noted(HandingOut.next_trial))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = sweeps.run("s", **{"tracking.offline": False, "tracking.uri": uri, "search.trials": 20})
    assert result.unsent == len(sweeps.events("s"))
    assert len(calls) > 2 * 20


def test_what_no_waiting_heals_ends_the_wait(uri, eventful_journal):
    growing = parsed(eventful_journal.events[:8])
    tracker = Tracker(uri, "vae-tuner", growing, interval=0.01)
    tracker.start()
    while tracker.unsent:
        time.sleep(0.01)
    client = open_client(uri)
    client.delete_experiment(ensure_experiment(client, "vae-tuner"))
    growing += parsed(eventful_journal.events[8:])
    assert tracker.finish(60) == len(eventful_journal.events) - 8
    tracker.join(5)
    assert not tracker.is_alive(), "it gave up by itself"
    assert "experiment 'vae-tuner' was deleted in MLflow" in tracker.error


def test_an_experiment_that_comes_back_while_the_sweep_runs_gets_all(uri, eventful_journal, undisturbed):
    client = open_client(uri)
    experiment = ensure_experiment(client, "vae-tuner")
    client.delete_experiment(experiment)
    tracker = Tracker(uri, "vae-tuner", parsed(eventful_journal.events), interval=0.01)
    tracker.start()
    while tracker.error is None:
        time.sleep(0.01)
    client.restore_experiment(experiment)
    assert tracker.finish(60) == 0
    assert points_of_sweep(uri) == undisturbed


def test_a_run_deleted_meanwhile_is_made_again(uri, eventful_journal, undisturbed):
    growing = parsed(eventful_journal.events[:8])
    tracker = Tracker(uri, "vae-tuner", growing, interval=0.01)
    tracker.start()
    while tracker.unsent:
        time.sleep(0.01)
    open_client(uri).delete_run(tracker.parent_run_id)
    growing += parsed(eventful_journal.events[8:])
    assert tracker.finish(60) == 0


def test_who_waits_is_told_what_for(uri, eventful_journal, monkeypatch):
    told = []

    def tell(*waiting):
        told.append(waiting)
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.tracking.tracker.NOTE_SECONDS", 0.05)
    monkeypatch.setattr(DatabaseRecords, "write", lambda *_: (_ for _ in ()).throw(MlflowException("away")))
    tracker = Tracker(uri, "vae-tuner", parsed(eventful_journal.events), interval=0.01)
    tracker.start()
    while tracker.error is None:
        time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt):
        tracker.finish(60, tell)
    assert told == [(len(eventful_journal.events), "away")]
    tracker.join(10)


def test_a_tracker_with_nothing_to_send_knows_the_runs(uri, eventful_journal):
    first, second = sent(uri, parsed(eventful_journal.events)), sent(uri, parsed(eventful_journal.events))
    assert second.parent_run_id == first.parent_run_id is not None
    assert second.run_ids() == first.run_ids() != {}


@pytest.mark.parametrize("origin", [None, Origin("faces", "id-of-faces", "0007", "some-run")])
def test_a_retrained_configuration_is_a_run_of_its_own(origin, uri, tmp_path):
    config = parse_config({"lr": {"kind": "constant", "base": 0.1 + 0.2}})
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "config.yaml").write_text("x")
    metrics = [{"val/elbo": -5.0}, {"val/elbo": -4.0, "val/mse": float("nan")}, {"test/elbo": -4.5}]
    reports = [{"t": 1_700_000_060.5 + n, "epoch": min(n + 1, 2), "metrics": each} for n, each in enumerate(metrics)]
    run = RetrainedRun(config, 1_700_000_000.5, reports, origin=origin)
    run_id = log_retrain(uri, "vae-tuner", run, tmp_path / "files")
    client = open_client(uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == ("faces-0007-seed-0" if origin else "digits-elbo-seed-0")
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_500, 1_700_000_062_500)
    times = [point.timestamp for point in client.get_metric_history(run_id, "val/elbo")]
    assert times == [1_700_000_060_500, 1_700_000_061_500]
    of = {tag: run.data.tags.get(tag) for tag in (Tag.SWEEP, Tag.SWEEP_ID, Tag.TRIAL, Tag.PARENT)}
    assert list(of.values()) == (["faces", "id-of-faces", "0007", None] if origin else [None] * 4)
    assert run.data.metrics == {"val/elbo": -4.0, "test/elbo": -4.5}
    assert [point.step for point in client.get_metric_history(run_id, "val/elbo")] == [1, 2]
    assert config_of(client, run) == config
    assert {tag: run.data.tags[tag] for tag in (Tag.KIND, Tag.METHOD, Tag.DATASET, Tag.STOP_REASON)} == {
        Tag.KIND: "retrain",
        Tag.METHOD: "elbo",
        Tag.DATASET: "digits",
        Tag.STOP_REASON: "completed",
    }
    assert [file.path for file in client.list_artifacts(run_id)] == ["config.yaml"]


def test_a_new_store_in_the_working_directory_is_made_silently_without_telemetry(tmp_path):
    """In a process of its own: MLflow reads its settings when it is imported, and speaks when it creates a database."""
    script = """
from pathlib import Path
from tuner.sweeps.events import parse_event
from tuner.sweeps.tracking_uri import resolve_uri
from tuner.tracking.tracker import Tracker
line = {"seq": 0, "session": "s", "t": 1.0, "event": "header"}
header = {**line, "name": "s", "sweep_id": "i", "metric": "m", "direction": "max"}
tracker = Tracker(resolve_uri(None, Path.cwd()), "vae-tuner", [parse_event(header)])
tracker.start()
assert tracker.finish(120) == 0
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
"""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST_", "CI"))}
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**settings, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    client = open_client(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = find_runs(client, ensure_experiment(client, "vae-tuner"), has_tags({Tag.KIND: "sweep"}))
    assert run.info.run_name == "s"


def test_a_session_that_was_taken_over_sends_nothing(uri, eventful_journal):
    def check():
        raise FencedError("taken over")

    tracker = Tracker(uri, "vae-tuner", parsed(eventful_journal.events), interval=0.01, check=check)
    tracker.start()
    assert tracker.finish(60.0) == len(eventful_journal.events)
    assert open_client(uri).get_experiment_by_name("vae-tuner") is None
