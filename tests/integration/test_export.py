"""A sweep that was packed is of use to whoever unpacks it."""

import json
import subprocess
from zipfile import ZipFile

import pytest
import torch

import tuner
from tuner.sweep_status import known_sweep, ranked_trials

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def unpacked(swept, command, environment, tmp_path_factory):
    """What `vae-tuner export` printed, and the folder that is in its file."""
    folder, name = swept[0], json.loads(swept[1])["name"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [command, "export", name, str(elsewhere / "a.zip"), "--format", "json"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with ZipFile(elsewhere / "a.zip") as zipped:
        zipped.extractall(elsewhere)
    return json.loads(done.stdout), elsewhere / name


def test_the_best_trains_again_to_the_same_numbers(unpacked, result, vae_data_root):
    printed, folder = unpacked
    assert printed["best"] == result["best"]["trial"]
    uri = f"sqlite:///{folder}/mlflow.db"
    again = tuner.train(folder / "best" / "config.yaml", tracking_uri=uri, data_dir=vae_data_root)
    assert again.metrics["val/elbo_cal"] == result["best"]["metrics"]["val/elbo_cal"]


def test_the_checkpoint_is_the_model(unpacked, result, swept):
    model = tuner.load(unpacked[1] / "best" / "checkpoint.safetensors")
    own = swept[0] / "sweeps" / result["name"] / "trials" / result["best"]["trial"] / "checkpoint.safetensors"
    assert torch.equal(model.sample(4), tuner.load(own).sample(4))


def test_the_journal_and_the_spec_are_a_sweep_to_go_on_from(unpacked, result):
    folder = unpacked[1]
    sweep = known_sweep(folder.parent, result["name"])
    assert ranked_trials(sweep)[0].id == result["best"]["trial"]
    assert tuner.plan(folder / "spec.yaml").metric == "val/elbo_cal"


def test_a_trials_configuration_is_one(unpacked, result):
    from tuner.retraining import read_config

    for trial in known_sweep(unpacked[1].parent, result["name"]).trials.values():
        assert read_config(unpacked[1] / "trials" / trial.id / "config.yaml") == trial.config
