import json

import pytest
from ray.tune import Trainable

from trainables.data import data_facts
from trainables.paths import parse_config, plain
from trainables.ray_tune import VaeTrainable
from trainables.reporting import RESULT_KEY
from trainables.resolve import resolve


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


def test_a_trial_whose_checkpoint_is_gone_fails_and_the_worker_goes_on(settings):
    worker = VaeTrainable(settings("0000", seed=0, epochs_done=1))
    report = json.loads(worker.train()[RESULT_KEY])
    assert "cannot be read as a checkpoint" in report["error"]
    worker.reset(settings("0001", seed=0))
    assert metrics(worker)["epoch"] == 1
