"""The probe runs what a trial runs; what it takes of a GPU only a GPU can say."""

import json
import subprocess
import sys

import pytest
import torch

from trainables.config.paths import parse_config, plain
from trainables.data.dataset import load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.worker import probe

CPU = torch.device("cpu")
SETTINGS = {"epochs": 40, "batch_size": 128, "beta": {"kind": "linear", "warmup": "300 steps"}}


@pytest.fixture
def config(vae_data_root):
    def make(device="cpu", **settings):
        from trainables.data.dataset import data_facts

        parsed = parse_config({**SETTINGS, "device": device, **settings})
        return resolve(parsed, data_facts(parsed.data, vae_data_root))

    return make


@pytest.fixture
def request_for(tmp_path, vae_data_root):
    return lambda config: {
        "config": json.dumps(plain(config)),
        "data_dir": str(vae_data_root),
        "working_dir": str(tmp_path),
    }


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_trains_a_few_steps_as_a_trial_does_and_evaluates_everything(config, vae_data_root, share, monkeypatch):
    resolved = config()
    dataset = load(resolved.data, vae_data_root, CPU, share)
    reports = []
    train_epoch = Trainer.train_epoch
    monkeypatch.setattr(Trainer, "train_epoch", lambda self: reports.append(train_epoch(self)))
    trainer = probe.run_briefly(resolved, dataset)
    assert (trainer.epoch, trainer.steps_per_epoch) == (1, probe.STEPS)
    last = Trainer(resolved.model_copy(update={"epochs": 1}), dataset)
    assert set(reports[0].metrics) == set(train_epoch(last).metrics)
    assert len(dataset.train) > probe.STEPS * 128, "the data themselves stay whole"


def test_without_a_gpu_it_measures_nothing(config, request_for):
    assert probe.measure(request_for(config())) == {"memory_bytes": None, "peak_bytes": None}


def test_as_a_process_it_answers_in_its_last_line(config, request_for):
    answer = subprocess.run(
        [sys.executable, "-m", "trainables.worker.probe"],
        input=json.dumps(request_for(config())), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(answer.stdout) == {"memory_bytes": None, "peak_bytes": None}


@pytest.mark.gpu
def test_on_a_gpu_more_examples_at_once_take_more_and_all_of_it_is_there(config, request_for):
    small, large = (
        subprocess.run(
            [sys.executable, "-m", "trainables.worker.probe"],
            input=json.dumps(request_for(config("cuda", batch_size=size, model={"hidden": [4096, 4096]}))),
            capture_output=True, text=True, check=True,
        )
        for size in (16, 1024)
    )  # fmt: skip
    found = [json.loads(each.stdout) for each in (small, large)]
    assert 0 < found[0]["peak_bytes"] < found[1]["peak_bytes"] < found[0]["memory_bytes"]
    assert found[0]["memory_bytes"] == torch.cuda.get_device_properties(0).total_memory


@pytest.mark.gpu
def test_what_is_too_large_for_a_gpu_is_said_so(config, request_for, monkeypatch):
    monkeypatch.setattr(probe, "run_briefly", lambda config, dataset: torch.empty(2**50, device="cuda"))
    answer = probe.measure(request_for(config("cuda")))
    assert answer["peak_bytes"] is None
    assert answer["memory_bytes"] > 0
