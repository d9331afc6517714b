"""HyperBand and budgets on a real Ray with two places: trials pause, leave Tune and come back."""

import pytest
import torch

import tuner
from trainables.config.paths import parse_config
from trainables.data.dataset import load
from trainables.training.trainer import Trainer
from tuner.running.driver import run_sweep
from tuner.sweeps.journal import read_journal
from tuner.sweeps.state import fold

pytestmark = pytest.mark.cluster

TINY = {"epochs": 4, "data": {"n_train": 64}, "batch_size": 32, "model": {"hidden": [8], "latent_dim": 2}}


def spec(name, trials, **parts):
    own = {
        "config": TINY,
        "space": "lr",
        "search": {"trials": trials, "sampler": "random"},
        "resources": {"concurrency": 2},
    }
    return {**own, "name": name, **parts}


def swept(folder, name):
    return fold(read_journal(folder / "sweeps" / name / "journal.jsonl"))


def test_hyperband_prunes_and_a_trial_that_paused_has_the_numbers_of_an_undisturbed_one(workplace, vae_data_root):
    plan = tuner.plan(spec("paused", 5, scheduler={"kind": "hyperband", "grace": 2, "reduction_factor": 3}))
    result = run_sweep(plan)
    sweep = swept(workplace, "paused")
    assert (result.stop_reasons, sweep.finished) == ({"completed": 3, "pruned": 2}, "completed")
    assert result.epochs == plan.expected_epochs == 3 * 2 + 2 + 2 * 4
    (resumed,) = [trial for trial in sweep.trials.values() if trial.pauses and trial.stop_reason == "completed"]
    assert [report.epoch for report in resumed.reports] == [1, 2, 3, 4]

    config = parse_config(resumed.config)
    trainer = Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))
    for report in resumed.reports:
        undisturbed = trainer.train_epoch().metrics
        for name in undisturbed.keys() - {"time/epoch_s", "time/samples_per_s"}:
            assert report.metrics[name] == undisturbed[name], (report.epoch, name)
    runs = tuner.best(["paused"], top=5)
    assert [row.trial for row in runs] == [row.trial for row in result.ranked]


def test_a_sweep_stopped_by_its_budget_ends_in_order(workplace):
    result = tuner.sweep(
        spec("spent", 6, scheduler={"kind": "none"}, budget={"epochs": 6}, resources={"concurrency": 1})
    )
    assert (result.spent, result.exit_code, result.planned) == ("epochs", 0, 6)
    assert (result.epochs, result.stop_reasons) == (6, {"completed": 1, "budget": 1})
    assert swept(workplace, "spent").finished == "budget"
    (status,) = tuner.status(name="spent")
    assert (status.state, status.stop_reasons) == ("budget", result.stop_reasons)
    assert tuner.best(["spent"])[0].trial == result.best.trial


def test_no_trial_completed_within_the_budget_is_a_failure_in_order(workplace):
    result = tuner.sweep(spec("short", 3, budget={"time": 0.001}))
    assert (result.stop_reasons, result.exit_code, result.spent) == ({}, 1, "time")
    assert swept(workplace, "short").finished == "budget"
