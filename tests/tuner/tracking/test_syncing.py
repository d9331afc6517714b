"""What MLflow lacks of a sweep, sent after the fact: all of it, once."""

import pytest
import requests
from stores import execute, runs_of

from trainables.config.paths import parse_config
from trainables.errors import UserError
from tuner.sweeps.folder import locked
from tuner.sweeps.journal import bytes_of
from tuner.tracking import mlflow_store, syncing
from tuner.tracking.best import best
from tuner.tracking.mlflow_store import Tag, ensure_experiment, find_runs, open_client
from tuner.tracking.run_files import RunFiles
from tuner.tracking.syncing import sync_sweep


def stored(uri):
    """Everything in the store, runs by trial."""
    client = open_client(uri)
    runs = list(find_runs(client, ensure_experiment(client, "vae-tuner"), ""))
    names = [run.data.tags.get(Tag.TRIAL, "sweep") for run in runs]
    assert len(set(names)) == len(names)
    return {
        name: (
            run.info.status,
            run.data.params,
            [file.path for file in client.list_artifacts(run.info.run_id)],
            sorted(
                (key, point.step, point.timestamp, point.value)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
        )
        for name, run in zip(names, runs, strict=True)
    }


@pytest.fixture
def killed(sweeps, uri):
    """A sweep killed with its third trial under way, nothing sent."""
    sweeps.run("s", **{"tracking.uri": uri, "scheduler.kind": "none"})
    reports = [n for n, event in enumerate(sweeps.events("s")) if event["event"] == "report"]
    sweeps.cut("s", reports[7] + 1)
    return sweeps


def test_after_a_kill_all_is_sent_and_nothing_runs(killed, uri):
    n_events = len(killed.events("s"))
    assert sync_sweep(killed.storage, "s") == n_events + 2
    found = stored(uri)
    assert {name: status for name, (status, *_) in found.items()} == {
        "sweep": "KILLED",
        "0000": "FINISHED",
        "0001": "FINISHED",
        "0002": "KILLED",
    }
    assert found["0000"][2] == ["config.yaml"]


def test_a_second_sync_sends_nothing_and_changes_nothing(killed, uri):
    sync_sweep(killed.storage, "s")
    events, found = killed.events("s"), stored(uri)
    assert sync_sweep(killed.storage, "s") == 0
    assert (killed.events("s"), stored(uri)) == (events, found)


def test_epochs_that_an_older_copy_of_the_database_lacks_are_sent_again(killed, uri):
    """Put back in mid-sweep: what came later is there, and the mark of how far it was sent."""
    events = killed.events("s")
    for event in events:
        if event["event"] == "report":
            event["metrics"]["epoch"] = float(event["epoch"])
    killed.journal("s").write_bytes(bytes_of(events))
    sync_sweep(killed.storage, "s")
    before = stored(uri)
    execute(uri, ("DELETE FROM metrics WHERE step = ?", (1,)))
    assert stored(uri) != before
    assert sync_sweep(killed.storage, "s") > 0
    assert stored(uri) == before


def test_another_store_gets_all(killed, uri, new_store):
    sync_sweep(killed.storage, "s")
    another = new_store("another")
    assert sync_sweep(killed.storage, "s", another) == len(killed.events("s"))
    assert stored(another) == stored(uri)


def test_a_sweep_that_went_on_is_brought_up_to_date(killed, uri, new_store):
    sent = sync_sweep(killed.storage, "s")
    killed.resume("s")
    assert sync_sweep(killed.storage, "s") == len(killed.events("s")) - sent
    assert {status for status, *_ in stored(uri).values()} == {"FINISHED"}
    another = new_store("another")
    sync_sweep(killed.storage, "s", another)
    without_counts = {name: found for name, found in stored(another).items() if name != "sweep"}
    assert without_counts == {name: found for name, found in stored(uri).items() if name != "sweep"}


def test_a_spent_budget_is_what_a_killed_sweep_ended_by(sweeps, uri):
    sweeps.run("s", **{"tracking.uri": uri, "budget.epochs": 4})
    assert sweeps.events("s")[-1]["reason"] == "budget"
    sweeps.cut("s", -1)
    sync_sweep(sweeps.storage, "s")
    assert sweeps.events("s")[-1]["reason"] == "budget"


def run_of(uri, trial):
    return runs_of(uri)[trial].info.run_id


def test_a_cut_off_trial_whose_run_was_deleted_is_exported_as_it_ran(killed, uri):
    sync_sweep(killed.storage, "s")
    open_client(uri).delete_run(run_of(uri, "0002"))
    assert killed.resume("s", offline=False).unsent == 0
    asked = next(event["config"] for event in killed.events("s") if event.get("trial") == "0002")
    (row,) = best(uri, where="trial = 0002")
    assert row.config == parse_config(asked)
    assert sync_sweep(killed.storage, "s") == 0


@pytest.mark.parametrize("lost", ["0002", "0000", "sweep"])
def test_a_run_that_was_deleted_holds_up_nothing(lost, sweeps, uri):
    """0002 is the best."""
    online = {"tracking.uri": uri, "tracking.offline": False, "scheduler.kind": "none"}
    result = sweeps.run("s", **online)
    assert (result.best.trial, result.unsent) == ("0002", 0)
    open_client(uri).delete_run(run_of(uri, lost))
    assert sweeps.resume("s", more_trials=1, offline=False).unsent == 0
    assert sync_sweep(sweeps.storage, "s") == 0
    runs = runs_of(uri)
    assert sorted(runs) == ["0000", "0001", "0002", "0003", "0004", "sweep"]
    assert runs["sweep"].data.tags[Tag.BEST_RUN_ID] == runs["0002"].info.run_id
    assert {run.data.tags.get(Tag.PARENT, runs["sweep"].info.run_id) for run in runs.values()} == {run_of(uri, "sweep")}


def test_what_was_lost_is_told_and_counted(killed, uri):
    sync_sweep(killed.storage, "s")
    open_client(uri).delete_run(run_of(uri, "0000"))
    own = [event for event in killed.events("s") if event.get("trial") == "0000"]
    notes = []
    sent = sync_sweep(killed.storage, "s", on_notes=notes.extend)
    assert notes == ["the run of trial 0000 was gone and was made anew"]
    assert sent == len(own)


def test_a_running_sweep_sends_by_itself(killed):
    before = killed.events("s")
    with locked(killed.storage / "s"), pytest.raises(UserError, match="sweep s is held by process"):
        sync_sweep(killed.storage, "s")
    assert killed.events("s") == before


def test_a_store_that_is_away_or_refuses_is_named(killed, uri):
    with pytest.raises(UserError, match=r"tracking server http://127\.0\.0\.1:9 cannot be reached"):
        sync_sweep(killed.storage, "s", "http://127.0.0.1:9")
    client = open_client(uri)
    client.delete_experiment(ensure_experiment(client, "vae-tuner"))
    with pytest.raises(UserError, match="experiment 'vae-tuner' was deleted"):
        sync_sweep(killed.storage, "s")


@pytest.mark.parametrize("kind", [requests.HTTPError, PermissionError, RuntimeError])
def test_a_store_of_artifacts_that_refuses_is_named_without_the_password(kind, killed, uri, monkeypatch):
    """What it raises is of its own HTTP client, disk or cloud."""

    def refuse(*_):
        raise kind("403 Client Error: Forbidden for url: http://bob:SECRET@host/api/2.0/mlflow-artifacts/artifacts/1")

    with monkeypatch.context() as patch:
        patch.setattr(RunFiles, "send_text", refuse)
        patch.setattr(syncing, "check_reachable", lambda uri: None)
        client = open_client(uri)
        patch.setattr(mlflow_store, "open_client", lambda uri: client)
        with pytest.raises(UserError) as error:
            sync_sweep(killed.storage, "s", "http://bob:SECRET@host")
    said = str(error.value)
    assert said.startswith("tracking http://***@host has all records")
    assert (
        "has all records, and did not accept the files of 3 trials: 403 Client Error: Forbidden for url: http://***@"
        in said
    )
    assert said.endswith("; `vae-tuner sync s` tries again")
    assert [status for status, _, files, _ in stored(uri).values() if not files].count("FINISHED") == 2
    assert sync_sweep(killed.storage, "s") == 3
    assert all(files == ["config.yaml"] for name, (_, _, files, _) in stored(uri).items() if name != "sweep")


def test_only_what_a_trial_leaves_is_sent_and_no_link_is_followed(killed, uri, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.yaml").write_text("not ours")
    trials = killed.storage / "s" / "trials"
    (trials / "0000" / "notes.txt").write_text("not ours")
    (trials / "0000" / "samples.png").symlink_to(tmp_path / "elsewhere" / "config.yaml")
    (trials / "0000" / "checkpoint.safetensors").write_text("ours")
    (tmp_path / "elsewhere" / "checkpoint.safetensors").write_text("not ours")
    (trials / "0001" / "config.yaml").unlink()
    (trials / "0001").rmdir()
    (trials / "0001").symlink_to(tmp_path / "elsewhere")
    sync_sweep(killed.storage, "s")
    artifacts = {name: files for name, (_, _, files, _) in stored(uri).items()}
    assert (artifacts["0000"], artifacts["0001"]) == (["checkpoint.safetensors", "config.yaml"], ["config.yaml"])


@pytest.mark.parametrize("name", ["../s", "s/../s", "..", "t"])
def test_no_name_leads_out_of_the_storage(name, killed):
    with pytest.raises(UserError, match="name: no sweep"):
        sync_sweep(killed.storage, name)
