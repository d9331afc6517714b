"""A model is measured on the device that its trial had."""

import json

import pytest
import torch

from trainables.checkpoint import FILE_NAME, write
from trainables.data import data_facts, load
from trainables.paths import parse_config
from trainables.resolve import resolve
from trainables.trainer import Trainer
from tuner.comparison.measuring import Share, measured


@pytest.fixture
def ray_with_a_gpu():
    """Ray that believes this machine has one."""
    import ray

    from tuner.running.ray_session import quiet_ray

    quiet_ray()
    ray.init(
        address="local",
        num_cpus=1,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=10**8,
    )
    yield
    ray.shutdown()


def own_gpus(trainer):
    import ray

    return {"n": len(ray.get_gpu_ids())}


@pytest.mark.cluster
@pytest.mark.parametrize(("share", "n"), [(Share(1, 0.5), 1), (Share(1, 0), 0)])
def test_a_task_is_given_the_share_of_a_gpu_that_its_trial_had(ray_with_a_gpu, tmp_path, vae_data_root, share, n):
    tree = {"data": {"name": "digits", "n_train": 50}, "model": {"hidden": [4]}, "epochs": 1}
    config = parse_config(tree)
    config = resolve(config, data_facts(config.data, vae_data_root))
    trainer = Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))
    write(tmp_path / FILE_NAME, trainer.checkpoint())
    done = []
    found = measured(own_gpus, "gpus.json", [tmp_path], vae_data_root, share, lambda: done.append(1))
    assert found == {tmp_path: {"n": n}} == {tmp_path: json.loads((tmp_path / "gpus.json").read_text())}
    assert done == [1]
