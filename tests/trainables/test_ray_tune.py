import json
import shutil
import socket
import tempfile
from asyncio import CancelledError

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts
from trainables.data.readers import digest
from trainables.errors import RESULT_KEY
from trainables.files.checkpoint import read
from trainables.files.trial_files import BEST_NAME, FILE_NAME, trial_files
from trainables.resolve import resolve
from trainables.worker.ray_tune import VaeTrainable

EPOCHS = 4
TINY = {"data": {"n_train": 64}, "batch_size": 32, "model": {"hidden": [8], "latent_dim": 2}}


@pytest.fixture
def trainable(vae_data_root):
    """trainable(root of the trials, epochs the driver knows of) → a trial's trainable in a new actor."""

    def build(root, epochs_done=0, **further):
        config = parse_config({**TINY, "epochs": EPOCHS, "device": "cpu", "threads": 1})
        given = {
            "trial": "0000",
            "config": json.dumps(plain(resolve(config, data_facts(config.data, vae_data_root)))),
            "folder": str(root),
            "data_dir": str(vae_data_root),
            "session": "a",
            "epochs_done": epochs_done,
        }
        return begun({**given, **further})

    return build


def begun(given):
    own = VaeTrainable(given)
    own.begin()
    return own


def reported(trainable):
    return json.loads(trainable.step()[RESULT_KEY])


def numbers(report):
    return {name: value for name, value in report["metrics"].items() if not name.startswith("time/")}


@pytest.fixture
def undisturbed(trainable, tmp_path):
    """The reports of a trial that nothing happens to."""
    own = trainable(tmp_path / "undisturbed")
    return [reported(own) for _ in range(EPOCHS)]


@pytest.fixture
def next_node(tmp_path, monkeypatch):
    """next_node() loses this node's own disk, and goes on on another with an empty one."""

    def go_on():
        shutil.rmtree(tmp_path / "node", ignore_errors=True)
        (tmp_path / "node").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))

    return go_on


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_trial_places_its_data_by_its_share_of_the_memory(share, tmp_path, trainable):
    own = trainable(tmp_path, memory_share=share)
    assert own.trainer.dataset.ahead == (share == 0)


def test_a_trial_that_loses_its_node_after_every_epoch_gives_the_same_numbers(
    trials_root, trainable, undisturbed, next_node
):
    for epoch in range(1, EPOCHS + 1):
        next_node()
        report = reported(trainable(trials_root, epoch - 1))
        assert report["epoch"] == epoch
        assert report["warnings"] == []
        assert numbers(report) == numbers(undisturbed[epoch - 1])
    assert report["checkpoint"] == FILE_NAME


def test_an_epoch_that_was_not_heard_of_is_reported_again(trials_root, trainable, undisturbed, next_node):
    reported(trainable(trials_root))
    next_node()
    again = reported(trainable(trials_root, session="b"))
    assert (again["epoch"], numbers(again)) == (1, numbers(undisturbed[0]))
    assert "-b." in again["checkpoint"]


def test_what_is_reported_outlives_the_node_and_little_else_is_kept(trials_root, trainable, next_node):
    next_node()
    own, kept = trainable(trials_root), []
    for _ in range(EPOCHS):
        kept.append(reported(own)["checkpoint"])
        next_node()
        names = trial_files(trials_root, "0000").names()
        assert kept[-1] in names
        assert len(names) <= 2 or kept[-1] == FILE_NAME
    assert names == [FILE_NAME, "config.yaml", "reconstructions.png", "samples.png"]


def best_epoch(direction, **further):
    """What a driver gives a worker: ranked by the number of the epoch, the best is the first, or the last."""
    ranking = {"kind": "best", "metric": "epoch", "direction": direction}
    return {"ranking": json.dumps(ranking), **{name: json.dumps(value) for name, value in further.items()}}


def kept(root, name):
    with trial_files(root, "0000").reading(name) as path:
        return read(path)


@pytest.mark.parametrize(("direction", "best"), [("min", 1), ("max", EPOCHS)])
def test_the_checkpoint_of_the_best_epoch_outlives_every_node_of_a_trial(
    direction, best, trials_root, trainable, undisturbed, next_node
):
    for done in range(EPOCHS):
        next_node()
        so_far = None if done == 0 else [1, 1.0] if best == 1 else [done, float(done)]
        report = reported(trainable(trials_root, done, **best_epoch(direction, best=so_far)))
        assert (numbers(report), report["warnings"]) == (numbers(undisturbed[done]), [])
    assert kept(trials_root, FILE_NAME).epoch == EPOCHS
    names = trial_files(trials_root, "0000").names()
    assert (BEST_NAME in names) is (best < EPOCHS)
    found = kept(trials_root, BEST_NAME if best < EPOCHS else FILE_NAME)
    assert found.epoch == best
    assert numbers({"metrics": found.metrics}) == numbers(undisturbed[best - 1])


def test_the_best_checkpoint_has_the_parameters_of_its_epoch(tmp_path, trainable):
    own = trainable(tmp_path / "own", **best_epoch("min"))
    then = None
    for epoch in range(1, EPOCHS + 1):
        reported(own)
        if epoch == 1:
            then = {name: value.detach().clone() for name, value in own.trainer.params.items()}
    found = kept(tmp_path / "own", BEST_NAME).groups["params"]
    assert all(torch.equal(found[name], value) for name, value in then.items())
    assert any(not torch.equal(found[name], value) for name, value in own.trainer.params.items())


def test_a_trial_that_patience_ends_leaves_its_results(trials_root, trainable, next_node):
    for done in range(3):
        next_node()
        report = reported(
            trainable(trials_root, done, **best_epoch("min", patience=2, best=[1, 1.0] if done else None))
        )
        assert (report["checkpoint"] == FILE_NAME) is (done == 2)
    assert trial_files(trials_root, "0000").names() == [
        BEST_NAME,
        FILE_NAME,
        "config.yaml",
        "reconstructions.png",
        "samples.png",
    ]
    assert [kept(trials_root, name).epoch for name in (BEST_NAME, FILE_NAME)] == [1, 3]


@pytest.mark.parametrize("root", ["/proc/nothing", "file:///proc/nothing"])
def test_storage_that_cannot_be_written_is_told_from_an_error_of_the_trial(root, trainable, monkeypatch):
    monkeypatch.setattr("trainables.files.trial_files.PATIENCE", ())
    report = reported(trainable(root))
    assert "/proc/nothing/0000 cannot be written" in report["storage"]
    assert "error" not in report


def test_storage_that_cannot_be_read_ends_no_trial(trainable, monkeypatch):
    monkeypatch.setattr("trainables.files.trial_files.PATIENCE", ())
    report = reported(trainable("s3://bucket?nonsense=1", 1))
    assert report.keys() == {"trial", "warnings", "storage"}
    assert "s3://bucket/0000?nonsense=1 cannot be read" in report["storage"]


def test_data_shipped_with_a_job_are_found_where_this_node_unpacked_them(tmp_path, monkeypatch):
    monkeypatch.delenv("TUNE_ORIG_WORKING_DIR", raising=False)
    driver, node = tmp_path / "driver", tmp_path / "node"
    driver.mkdir()
    np.save(driver / "x.npy", np.random.default_rng(0).random((300, 4), dtype=np.float32))
    config = parse_config({"data": {"name": str(driver / "x.npy")}, "epochs": 1, "device": "cpu", "threads": 1})
    resolved = plain(resolve(config, data_facts(config.data, tmp_path)))
    given = {"trial": "0000", "folder": str(tmp_path / "trials"), "session": "a", "epochs_done": 0}
    given |= {"config": json.dumps(resolved), "data_dir": str(tmp_path), "working_dir": str(driver)}
    driver.rename(node)
    monkeypatch.chdir(node)
    found = begun(given)
    assert found.failure == {}
    assert found.trainer.dataset.train.array.filename == node / "x.npy"
    assert found.trainer.config.data.name == str(driver / "x.npy")


class OwnError(BaseException):
    """As a user may write one."""


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt, CancelledError, GeneratorExit, OwnError])
def test_what_a_model_raises_is_a_report_and_keeps_its_text(kind, tmp_path, trainable, monkeypatch):
    own = trainable(tmp_path)

    def fail():
        raise kind("no such luck")

    monkeypatch.setattr(own.trainer, "train_epoch", fail)
    found = reported(own)
    assert found["error"].endswith(f"{kind.__name__}: no such luck\n")
    assert found["kind"] == "raised"


def test_data_that_are_not_the_sweeps_stop_it_in_order(trainable, tmp_path, vae_data_root):
    known = digest("digits", vae_data_root)
    assert "metrics" in reported(trainable(tmp_path / "same", identity=json.dumps({"data": known})))
    assert "metrics" in reported(trainable(tmp_path / "unknown", identity="{}"))
    found = reported(trainable(tmp_path / "other", identity=json.dumps({"data": "0" * 16})))
    assert found.keys() == {"trial", "warnings", "storage"}
    assert f"the data digits are not those of the sweep (digest {known} here, {'0' * 16} there)" in found["storage"]
    assert found["storage"].startswith(f"on {socket.gethostname()} ")


def test_an_actor_reads_a_file_again_that_was_written_anew(tmp_path):
    values = np.random.default_rng(0).random((60, 4), dtype=np.float32)
    np.save(tmp_path / "x.npy", values)
    config = parse_config({**TINY, "data": {"name": str(tmp_path / "x.npy")}, "device": "cpu", "threads": 1})
    resolved = json.dumps(plain(resolve(config, data_facts(config.data, tmp_path))))
    given = {"trial": "0000", "folder": str(tmp_path / "trials"), "session": "a", "epochs_done": 0}
    given |= {"config": resolved, "data_dir": str(tmp_path)}
    first = begun(given).trainer.dataset
    assert begun(given).trainer.dataset is first
    np.save(tmp_path / "y.npy", values + 1)
    (tmp_path / "y.npy").replace(tmp_path / "x.npy")
    second = begun(given).trainer
    assert second.dataset.val.min() >= 1
    assert second.identity.data == digest(str(tmp_path / "x.npy"), tmp_path) != first.digest
