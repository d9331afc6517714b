"""A model is measured on the device that its trial had."""

import json
import subprocess
import sys

import pytest
import torch

from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.files.checkpoint import FILE_NAME, write
from trainables.resolve import resolve
from trainables.training.trainer import Trainer

# In a process of its own: that of the tests may have started Ray already, without a GPU.
MEASURED = """
import sys
from pathlib import Path
import ray
from tuner.running.comparison_stages import Share, measured

def own_gpus(trainer):
    return {"n": len(ray.get_gpu_ids())}

ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False,
         logging_level="ERROR", object_store_memory=10**8)
for share, file in ((Share(1, 0.5), "half.json"), (Share(1, 0), "none.json")):
    measured(own_gpus, file, [Path(sys.argv[1])], Path(sys.argv[2]), share, lambda: None)
ray.shutdown()
"""


@pytest.mark.cluster
def test_a_task_is_given_the_share_of_a_gpu_that_its_trial_had(tmp_path, vae_data_root, environment):
    tree = {"data": {"name": "digits", "n_train": 50}, "model": {"hidden": [4]}, "epochs": 1}
    config = parse_config(tree)
    config = resolve(config, data_facts(config.data, vae_data_root))
    trainer = Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))
    write(tmp_path / FILE_NAME, trainer.checkpoint())
    script = [sys.executable, "-c", MEASURED, tmp_path, vae_data_root]
    subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, timeout=180, check=True)
    assert json.loads((tmp_path / "half.json").read_text()) == {"n": 1}
    assert json.loads((tmp_path / "none.json").read_text()) == {"n": 0}
