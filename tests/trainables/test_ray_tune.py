import json

import pytest

from trainables.data import data_facts
from trainables.paths import parse_config, plain
from trainables.ray_tune import VaeTrainable
from trainables.resolve import resolve


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_trial_places_its_data_by_its_share_of_the_memory(share, tmp_path, vae_data_root):
    config = parse_config({"epochs": 1, "device": "cpu", "threads": 1})
    resolved = resolve(config, data_facts(config.data, vae_data_root))
    trainable = VaeTrainable(
        {
            "trial": "0000",
            "config": json.dumps(plain(resolved)),
            "folder": str(tmp_path),
            "data_dir": str(vae_data_root),
            "memory_share": share,
            "session": "a",
            "epochs_done": 0,
        }
    )
    assert trainable.trainer.dataset.ahead == (share == 0)
