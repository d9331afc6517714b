"""What a sweep keeps in object storage: counted, sent to MLflow and removed as what lies on a disk."""

import re
from dataclasses import replace

import pytest
from events import parsed

from trainables.errors import StorageError, UserError
from trainables.files.trial_files import trial_files
from trainables.object_storage import RemoteFolder
from tuner.running import search_loop, sweep_result
from tuner.sweeps.folder import trials_of
from tuner.sweeps.storage import open_storage
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.projection import Projection
from tuner.tracking.removal import remove_sweep
from tuner.tracking.syncing import sync_sweep


def test_trials_lie_in_the_storage_by_a_name_that_holds_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trials_of("s3://b/x?region=eu", "s") == "s3://b/x/s/trials?region=eu"
    assert trials_of("./sweeps", "s") == f"{tmp_path}/sweeps/s/trials"


@pytest.fixture
def in_storage(sweeps, remote_root, monkeypatch):
    """Two sweeps, `s` and `other`, in object storage: each trial has a file there, of a size of its own."""
    storage = str(RemoteFolder(remote_root) / "sweeps")
    monkeypatch.setenv("VAE_TUNER_CACHE", str(sweeps.storage))
    run = search_loop.run

    def trained(session, tracker):
        run(session, tracker)
        for trial in session.journal.sweep.trials.values():
            with trial_files(session.trials, trial.id).writing() as scratch:
                (scratch / "checkpoint.safetensors").write_bytes(b"." * (100 + trial.number))

    monkeypatch.setattr(search_loop, "run", trained)
    return replace(sweeps, storage=storage), RemoteFolder(storage)


def lasting(objects):
    """All but who holds the journal, which is written anew by whoever does."""
    return {name: size for name, size in objects.sizes().items() if not re.search(r"journal/\d+-\w+\.json$", name)}


def test_the_bytes_of_a_sweep_in_storage_are_those_there(in_storage):
    sweeps, objects = in_storage
    result = sweeps.run("s")
    there = sum(lasting(objects).values())
    assert there <= result.disk_bytes <= there + 1000
    assert there >= 100 + 101 + 102 + 103
    assert result.place == f"{objects / 's'}"


def test_a_sweep_in_storage_goes_from_there_and_nothing_else_does(in_storage):
    sweeps, objects = in_storage
    for name in ("s", "s-1"):
        sweeps.run(name)
    others = (objects / "s-1").sizes()
    removed = remove_sweep(sweeps.storage, "s")
    assert removed.bytes_freed >= 100 + 101 + 102 + 103
    assert objects.sizes() == {f"s-1/{name}": size for name, size in others.items()}
    with pytest.raises(UserError, match="no sweep 's'"):
        remove_sweep(sweeps.storage, "s")


def test_the_best_trial_of_a_sweep_in_storage_is_kept_there(in_storage):
    sweeps, objects = in_storage
    assert sweeps.run("s").best.trial == "0002"
    before = lasting(objects / "s")
    removed = remove_sweep(sweeps.storage, "s", keep_best=True)
    gone = [f"trials/{trial}/checkpoint.safetensors" for trial in ("0000", "0001", "0003")]
    assert lasting(objects / "s") == {name: size for name, size in before.items() if name not in gone}
    assert removed.kept == "0002"
    assert removed.bytes_freed >= 100 + 101 + 103


def test_results_of_a_sweep_in_storage_become_artifacts_afterwards(in_storage, new_store):
    sweeps, _ = in_storage
    uri = new_store("store")
    completed = {trial.trial for trial in sweeps.run("s", **{"tracking.uri": uri}).ranked}
    assert sync_sweep(sweeps.storage, "s") > 0
    client = open_client(uri)
    projection = Projection(client, "vae-tuner")
    projection.resume(parsed(open_storage(sweeps.storage).lines("s")))
    for trial, run_id in projection.run_ids().items():
        results = ["checkpoint.safetensors"] if trial in completed else []
        assert [file.path for file in client.list_artifacts(run_id)] == [*results, "config.yaml"]


def test_the_end_of_a_sweep_is_told_where_its_storage_is_away(in_storage, monkeypatch):
    def away(folder):
        raise StorageError("away")

    sweeps, _ = in_storage
    monkeypatch.setattr(sweep_result, "bytes_in", away)
    assert sweeps.run("s").disk_bytes == 0
