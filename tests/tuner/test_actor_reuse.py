import json

import pytest
from ray.tune import Trainable

from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts
from trainables.errors import RESULT_KEY
from trainables.resolve import resolve
from trainables.worker.ray_tune import VaeTrainable


@pytest.fixture
def settings(tmp_path, vae_data_root):
    """What Tune gives a worker for a trial."""

    def make(trial, seed, epochs_done=0):
        config = parse_config({"epochs": 3, "seed": seed})
        resolved = resolve(config, data_facts(config.data, vae_data_root))
        return {
            "trial": trial,
            "config": json.dumps(plain(resolved)),
            "folder": str(tmp_path),
            "data_dir": str(vae_data_root),
            "session": "a",
            "epochs_done": epochs_done,
        }

    return make


def metrics(trainable):
    report = json.loads(trainable.train()[RESULT_KEY])
    return {name: value for name, value in report["metrics"].items() if not name.startswith("time/")}


def test_trap_10_a_worker_is_started_for_every_trial(settings):
    """Tune reuses an actor only where its trainable takes a new configuration; the stock one refuses."""
    assert Trainable().reset_config({}) is False
    used = VaeTrainable(settings("0000", seed=0))
    metrics(used)
    assert used.reset(settings("0001", seed=1)) is True
    assert metrics(used) == metrics(VaeTrainable(settings("0002", seed=1)))


def test_a_trial_goes_on_in_another_worker_as_if_it_had_never_paused(settings):
    undisturbed = VaeTrainable(settings("0000", seed=0))
    paused, other = VaeTrainable(settings("0001", seed=0)), VaeTrainable(settings("0002", seed=1))
    assert metrics(undisturbed) == metrics(paused)
    metrics(other)
    other.reset(settings("0001", seed=0, epochs_done=1))
    assert [metrics(undisturbed), metrics(undisturbed)] == [metrics(other), metrics(other)]


def test_a_trial_whose_worker_died_unheard_reports_its_last_epoch_again(settings):
    """The checkpoint is an epoch ahead of what the driver knows."""
    undisturbed, killed = VaeTrainable(settings("0000", seed=0)), VaeTrainable(settings("0001", seed=0))
    expected = [metrics(undisturbed) for _ in range(3)]
    assert [metrics(killed), metrics(killed)] == expected[:2]
    successor = VaeTrainable(settings("0001", seed=0, epochs_done=1))
    assert [metrics(successor), metrics(successor)] == expected[1:]


def test_a_trial_that_died_after_its_last_epoch_reports_it_again(settings, tmp_path):
    killed = VaeTrainable(settings("0001", seed=0))
    expected = [metrics(killed) for _ in range(3)]
    assert [path.name for path in (tmp_path / "0001").glob("*.safetensors")] == ["checkpoint.safetensors"]
    successor = VaeTrainable(settings("0001", seed=0, epochs_done=2))
    assert metrics(successor) == expected[2]


def test_a_trial_whose_checkpoint_is_damaged_goes_on_from_the_one_before_and_says_so(settings, tmp_path):
    undisturbed, killed = VaeTrainable(settings("0000", seed=0)), VaeTrainable(settings("0001", seed=0))
    expected = [metrics(undisturbed) for _ in range(3)]
    metrics(killed), metrics(killed)
    newest = max((tmp_path / "0001").glob("epoch-*"))
    newest.write_bytes(newest.read_bytes()[:-5])
    successor = VaeTrainable(settings("0001", seed=0, epochs_done=2))
    report = json.loads(successor.train()[RESULT_KEY])
    assert (report["epoch"], len(report["warnings"])) == (2, 1)
    assert str(newest) in report["warnings"][0]
    assert metrics(successor) == expected[2]


def test_a_trial_that_has_lost_all_its_checkpoints_begins_anew_and_says_so(settings, tmp_path):
    undisturbed, killed = VaeTrainable(settings("0000", seed=0)), VaeTrainable(settings("0001", seed=0))
    expected = metrics(undisturbed)
    metrics(killed)
    for path in (tmp_path / "0001").iterdir():
        path.write_bytes(b"")
    report = json.loads(VaeTrainable(settings("0001", seed=0, epochs_done=1)).train()[RESULT_KEY])
    assert report["epoch"] == 1
    assert "the trial starts again" in report["warnings"][-1]
    assert {name: report["metrics"][name] for name in expected} == expected


def test_a_model_that_raises_fails_its_trial_and_the_worker_goes_on(settings, monkeypatch):
    def raises(*_):
        raise RuntimeError("CUDA out of memory")

    worker = VaeTrainable(settings("0000", seed=0))
    with monkeypatch.context() as broken:
        broken.setattr("trainables.training.step.Members.step", raises)
        assert json.loads(worker.train()[RESULT_KEY])["error"].rstrip().endswith("RuntimeError: CUDA out of memory")
    worker.reset(settings("0001", seed=0))
    assert metrics(worker)["epoch"] == 1


def test_a_disk_that_is_full_is_no_failure_of_the_trial(settings, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    worker = VaeTrainable(settings("0000", seed=0))
    monkeypatch.setattr("trainables.files.checkpoint.save_file", full)
    report = json.loads(worker.train()[RESULT_KEY])
    assert "error" not in report
    assert "No space left on device" in report["storage"]
