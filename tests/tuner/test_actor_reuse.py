import json

from ray.tune import Trainable

from trainables.data import data_facts
from trainables.paths import parse_config, plain
from trainables.ray_tune import VaeTrainable
from trainables.reporting import RESULT_KEY
from trainables.resolve import resolve


def test_trap_10_a_worker_is_started_for_every_trial(tmp_path, vae_data_root):
    """Tune reuses an actor only where its trainable takes a new configuration; the stock one refuses."""
    assert Trainable().reset_config({}) is False

    def settings(trial, seed):
        config = parse_config({"epochs": 2, "seed": seed})
        resolved = resolve(config, data_facts(config.data, vae_data_root))
        return {
            "trial": trial,
            "config": json.dumps(plain(resolved)),
            "folder": str(tmp_path),
            "data_dir": str(vae_data_root),
            "epochs_done": 0,
        }

    def metrics(trainable):
        report = json.loads(trainable.train()[RESULT_KEY])
        return {name: value for name, value in report["metrics"].items() if not name.startswith("time/")}

    used = VaeTrainable(settings("0000", seed=0))
    metrics(used)
    assert used.reset(settings("0001", seed=1)) is True
    assert metrics(used) == metrics(VaeTrainable(settings("0002", seed=1)))
