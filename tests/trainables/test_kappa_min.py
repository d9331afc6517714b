"""κ_min: the run that measures it, and its closed form."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, plain, variants
from trainables.data.dataset import DataFacts, data_facts, load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.values import steps_per_epoch
from trainables.worker.kappa_min import MOST_STEPS, ReachRun, least, next_epoch, reach_config

FACTS = DataFacts((4, 4), 100, 20, 20, 0.0, 1.0, False, {"re": 0.25, "nll": 0.5})


def resolved(facts=FACTS, **tree):
    return resolve(parse_config({"batch_size": 10, "epochs": 8, **tree}), facts)


KINDS = [
    *({"objective": {"kind": kind}} for kind in variants("objective")),
    *({"beta": {"kind": kind}} for kind in variants("beta")),
    *({"lr": {"kind": kind}} for kind in variants("lr")),
    *({"optimizer": {"kind": kind}} for kind in variants("optimizer")),
    {"model": {"learn_sigma": True}},
    {"data": {"binarize": "dynamic"}},
    {"metrics": {"every": 2}},
]


@pytest.mark.parametrize("tree", KINDS, ids=str)
def test_whatever_a_trial_is_its_reach_is_that_of_a_constant_small_beta(tree):
    trial = resolved(**tree)
    run = reach_config(trial)
    assert (run.objective.kind, run.beta.kind, run.beta.end) == ("elbo", "constant", 1e-3)
    for section in ("data", "lr", "optimizer", "batch_size", "epochs", "seed", "device", "threads"):
        assert getattr(run, section) == getattr(trial, section)
    assert run.model == trial.model.model_copy(update={"learn_sigma": False})
    assert resolve(run, FACTS) == run


@pytest.mark.parametrize("n_train", [100, 5_000, 60_000])
@pytest.mark.parametrize("epochs", [1, 8, 400])
def test_it_is_no_longer_than_a_trial_and_of_many_updates_takes_2000(n_train, epochs):
    trial = resolved(replace(FACTS, n_train=n_train), epochs=epochs)
    per_epoch = steps_per_epoch(n_train, 10)
    steps = reach_config(trial).epochs * per_epoch
    assert steps <= min(epochs * per_epoch, MOST_STEPS + per_epoch)
    assert steps == epochs * per_epoch or steps >= MOST_STEPS


@pytest.fixture
def linear(in_memory, trial, gaussian):
    """A linear VAE of two latents on data of these eigenvalues."""

    def build(eigenvalues, **tree):
        x = gaussian(eigenvalues, 400)
        model = {"kind": "linear-vae", "latent_dim": 2, "sigma": 1.0}
        return trial(in_memory(x), model=model, **tree)

    return build


def test_a_linear_model_reaches_the_variance_that_its_latents_do_not_hold(linear):
    """With M latents and β → 0: RMS² = Σ_{j > M} λ_j / D, which no training gets below."""
    eigenvalues = [3.0, 2.0, 0.4, 0.2, 0.1]
    schedule = {"kind": "one-cycle", "max": 0.03, "scaling": "none"}
    trainer = linear(eigenvalues, lr=schedule, epochs=2_000, beta={"kind": "constant", "end": 1.0})
    run = Trainer(reach_config(trainer.config), trainer.dataset)
    found = least(next_epoch(run) for _ in range(run.config.epochs))
    assert 1 <= found["re"] / np.sqrt(0.7 / 5) < 1.02


def test_the_error_is_of_training_examples_as_the_constraint_counts_it(in_memory, trial):
    x = torch.rand(60, 1, 8, generator=torch.Generator().manual_seed(0))
    for binarize, constraint in (("none", "re"), ("dynamic", "nll")):
        data = {"binarize": binarize}
        trainer = trial(in_memory(x, dynamic=binarize == "dynamic"), data=data, batch_size=20, epochs=2)
        found = next_epoch(trainer)
        evaluation = trainer.evaluation("train_eval")
        assert found["re"] ** 2 == pytest.approx(float(evaluation.sse.mean()) / 8)
        assert list(found) == ["re"] + ([constraint] if constraint == "nll" else [])
        if constraint == "nll":
            assert found["nll"] == pytest.approx(float(evaluation.recon_nll.mean()) / 8)


def test_the_least_of_a_run_is_its_reach_and_one_that_diverges_has_none():
    assert least(iter([{"re": 0.3, "nll": 0.4}, {"re": 0.1, "nll": 0.5}])) == {"re": 0.1, "nll": 0.4}
    assert least(iter([{"re": 0.3}, {"re": float("nan")}, {"re": 0.1}])) == {}
    assert least(iter([])) == {}


@pytest.fixture
def asked(vae_data_root, tmp_path):
    """A request for the reach of three epochs on the digits."""
    config = parse_config({"epochs": 3, "threads": 1})
    config = reach_config(resolve(config, data_facts(config.data, vae_data_root)))
    return {"config": json.dumps(plain(config)), "data_dir": str(vae_data_root), "working_dir": str(tmp_path)}


def test_another_process_measures_the_same(asked, vae_data_root):
    config = parse_config(json.loads(asked["config"]))
    trainer = Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))
    expected = [next_epoch(trainer) for _ in range(3)]
    run = ReachRun(asked)
    assert [run.epoch() for _ in range(3)] == expected
    command = [sys.executable, "-P", "-m", "trainables.worker.kappa_min", json.dumps(asked)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert [json.loads(line) for line in process.stdout] == expected
        assert process.wait() == 0


def test_the_process_ends_with_the_one_that_asked(asked):
    config = json.loads(asked["config"])
    endless = {**asked, "config": json.dumps({**config, "epochs": 10_000})}
    command = [sys.executable, "-P", "-m", "trainables.worker.kappa_min", json.dumps(endless)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline()
        process.stdin.close()
        assert process.wait(timeout=60) == 1
