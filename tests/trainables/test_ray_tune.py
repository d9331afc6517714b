import json

import numpy as np
import pytest

from trainables.data import data_facts
from trainables.paths import parse_config, plain
from trainables.ray_tune import VaeTrainable
from trainables.resolve import resolve


@pytest.fixture
def trainable(tmp_path, monkeypatch):
    """How a worker, started where this test is, takes up a trial on these data."""
    monkeypatch.delenv("TUNE_ORIG_WORKING_DIR", raising=False)

    def make(data, root, **options):
        config = parse_config({"data": data, "epochs": 1, "device": "cpu", "threads": 1})
        resolved = resolve(config, data_facts(config.data, root))
        own = {"trial": "0000", "folder": str(tmp_path / "trials"), "session": "a", "epochs_done": 0}
        return lambda: VaeTrainable({**own, "config": json.dumps(plain(resolved)), "data_dir": str(root), **options})

    return make


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_trial_places_its_data_by_its_share_of_the_memory(share, trainable, vae_data_root):
    assert trainable({}, vae_data_root, memory_share=share)().trainer.dataset.ahead == (share == 0)


def test_data_shipped_with_a_job_are_found_where_this_node_unpacked_them(trainable, tmp_path, monkeypatch):
    driver, node = tmp_path / "driver", tmp_path / "node"
    driver.mkdir()
    np.save(driver / "x.npy", np.random.default_rng(0).random((300, 4), dtype=np.float32))
    start = trainable({"name": str(driver / "x.npy")}, tmp_path, working_dir=str(driver))
    driver.rename(node)
    monkeypatch.chdir(node)
    found = start()
    assert found.failure == ""
    assert found.trainer.dataset.train.array.filename == node / "x.npy"
    assert found.trainer.config.data.name == str(driver / "x.npy")
