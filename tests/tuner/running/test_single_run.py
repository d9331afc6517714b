"""What `train` tells of its data before it trains."""

import json
import shutil
import signal
import time
from pathlib import Path
from threading import Event

import pytest

from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts
from trainables.errors import UserError
from trainables.training.range_test import ramped
from trainables.training.trainer import Trainer
from trainables.worker.kappa_min import ReachRun, reach_config
from tuner import lr_range
from tuner.api import load
from tuner.cluster.signals import StoppedError
from tuner.running.single_run import make_ready, read_config, retrain
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.ranked_epoch import RankedEpoch
from tuner.tracking.run_files import RunFiles

SOFT = "data.binarize soft: gray values under a Bernoulli likelihood are never ranked with bits"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_notes_are_told_before_the_first_epoch(uri, vae_data_root, capsys):
    told = []
    config = parse_config({"data": {"binarize": "soft"}, "epochs": 1, "threads": 1})
    retrain(config, uri, "vae-tuner", vae_data_root, told.append, told.append)
    notes, report = told
    assert report.epoch == 1
    assert "likelihood bernoulli (gray values taken as they are)" in notes[0]
    assert {"data.name: digits is the built-in set; the folder here is ./digits", SOFT} <= set(notes)
    assert not [note for note in notes if note.startswith("learning rate")]
    assert capsys.readouterr() == ("", "")


def test_a_signal_keeps_the_finished_epochs_as_a_run_that_was_killed(uri, vae_data_root):
    def stop_at_two(report):
        reports.append(report)
        if report.epoch == 2:
            signal.raise_signal(signal.SIGTERM)

    reports = []
    with pytest.raises(StoppedError, match=r"^Stopped by SIGTERM; what was trained is run ") as stopped:
        retrain(parse_config({"epochs": 4, "threads": 1}), uri, "vae-tuner", vae_data_root, stop_at_two)
    found = stopped.value.result
    assert (found.stop_reason, found.metrics, stopped.value.exit_code) == ("interrupted", reports[1].metrics, 143)
    run = open_client(uri).get_run(found.run_id)
    assert run.info.status == "KILLED"
    assert run.data.metrics["val/elbo"] == reports[1].metrics["val/elbo"]
    assert not any(name.startswith("test/") for name in run.data.metrics)


def test_a_signal_in_the_first_epoch_leaves_no_run(uri, vae_data_root, monkeypatch):
    def stopped_amid(trainer):
        signal.raise_signal(signal.SIGHUP)
        for _ in range(10_000):  # Python calls a handler between two steps, not always the next two
            time.sleep(0.001)

    monkeypatch.setattr(Trainer, "train_epoch", stopped_amid)
    with pytest.raises(StoppedError, match=r"^Stopped by SIGHUP; no epoch was finished, and nothing is logged$"):
        retrain(parse_config({"epochs": 4, "threads": 1}), uri, "vae-tuner", vae_data_root)
    client = open_client(uri)
    assert client.search_runs([each.experiment_id for each in client.search_experiments()]) == []


def stopped_while(uri, root):
    """What the caller is told, and the run that MLflow has."""
    with pytest.raises(StoppedError) as stopped:
        retrain(parse_config({"epochs": 1, "threads": 1}), uri, "vae-tuner", root)
    client = open_client(uri)
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return stopped.value, run, {file.path for file in client.list_artifacts(run.info.run_id)}


def test_a_signal_while_the_run_is_logged_is_acted_on_after_it(uri, vae_data_root, monkeypatch):
    send = RunFiles.send_text
    monkeypatch.setattr(RunFiles, "send_text", lambda *given: signal.raise_signal(signal.SIGINT) or send(*given))
    stopped, run, files = stopped_while(uri, vae_data_root)
    assert (stopped.number, stopped.result.run_id, stopped.result.stop_reason) == (2, run.info.run_id, "completed")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/elbo"] == stopped.result.metrics["test/elbo"]
    assert "checkpoint.safetensors" in files


def test_a_signal_in_the_tests_leaves_the_model_that_was_trained(uri, vae_data_root, monkeypatch):
    monkeypatch.setattr(Trainer, "test_metrics", lambda trainer: signal.raise_signal(signal.SIGTERM))
    stopped, run, files = stopped_while(uri, vae_data_root)
    assert (stopped.number, stopped.result.stop_reason, run.info.status) == (15, "interrupted", "KILLED")
    assert "checkpoint.safetensors" in files


def test_what_mlflow_does_not_take_in_time_after_a_signal_is_kept_and_its_run_is_ended(uri, vae_data_root, monkeypatch):
    monkeypatch.setattr("tuner.running.single_run.LOG_SECONDS", 0.1)
    monkeypatch.setattr("tuner.cluster.signals.OVERDUE_SECONDS", 0.05)
    hang = Event()
    monkeypatch.setattr(RunFiles, "send_text", lambda *given: signal.raise_signal(signal.SIGINT) or hang.wait(60))
    stopped, run, files = stopped_while(uri, vae_data_root)
    assert (stopped.result.run_id, stopped.result.stop_reason) == (None, "completed")
    assert (run.info.status, files) == ("KILLED", set())
    folder = Path(
        str(stopped).partition("Stopped by SIGINT; MLflow did not accept the run in time; what was trained is in ")[2]
    )
    assert load(folder / "checkpoint.safetensors").config == stopped.result.config
    assert [report["epoch"] for report in json.loads((folder / "metrics.json").read_text())] == [1, 1]
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        ({}, "0.017 = lr.base 0.006 × 2.83 (square-root scaling, batch 256 over base batch 32)"),
        ({"scaling": "linear"}, "0.048 = lr.base 0.006 × 8 (linear scaling, batch 256 over base batch 32)"),
    ],
)
def test_the_learning_rate_that_is_used_is_told(lr, said, uri, vae_data_root):
    """And is the one of the first report."""
    told = []
    config = parse_config({"batch_size": 256, "epochs": 1, "threads": 1, "lr": lr})
    retrained = retrain(config, uri, "vae-tuner", vae_data_root, told.append, told.append)
    notes, report = told
    assert f"learning rate {said}" in notes
    assert report.metrics["schedule/lr"] == pytest.approx(float(said.split()[0]), rel=2e-3)
    assert retrained.config.lr.scaling == ("linear" if lr else "sqrt")


@pytest.mark.parametrize("epochs", [1, 6])
def test_kappa_auto_is_a_number_that_follows_what_this_configuration_reaches(epochs, vae_data_root):
    tree = {"objective": {"kind": "geco"}, "epochs": epochs, "threads": 1}
    ready = make_ready(parse_config(tree), vae_data_root)
    config = ready.trainer.config
    facts = data_facts(config.data, vae_data_root)
    run = ReachRun(
        {
            "config": json.dumps(plain(reach_config(config))),
            "data_dir": str(vae_data_root),
            "working_dir": str(Path.cwd()),
        }
    )
    reach = min(run.epoch()["re"] for _ in range(epochs))
    limit = facts.kappa_max["re"]
    assert config.objective.kappa == pytest.approx(min(max(0.6 * limit, 1.05 * reach), 0.95 * limit))
    assert f"κ_min re {reach:.4g}: the error that the largest model reached at β → 0" in ready.notes
    fixed = make_ready(config, vae_data_root)
    assert fixed.trainer.config == config
    assert not [note for note in fixed.notes if "κ_min" in note]


def test_a_range_test_takes_kappa_auto_as_the_configuration_it_is_for_would(vae_data_root):
    config = parse_config({"objective": {"kind": "geco"}, "epochs": 6, "threads": 1})
    expected = make_ready(config, vae_data_root).trainer.config.objective
    test = lr_range(config, epochs=2, data_dir=vae_data_root)
    assert make_ready(ramped(config, 1e-6, 1.0, 2), vae_data_root, config).trainer.config.objective == expected
    assert any(note.startswith("κ_min re ") for note in test.notes)


# --- the epoch that counts --------------------------------------------------------------------------------------------

TINY = {"data": {"n_train": 64}, "batch_size": 32, "model": {"hidden": [8], "latent_dim": 2}, "epochs": 4, "threads": 1}
TINY |= {"lr": {"kind": "one-cycle"}, "beta": {"kind": "linear", "warmup": 0.5}, "device": "cpu"}


@pytest.fixture
def trained(uri, vae_data_root):
    """trained(ranked) → what TINY gives, and the reports and notes on the way."""

    def train(ranked=None, **changes):
        reports, notes = [], []
        config = parse_config({**TINY, **changes})
        found = retrain(config, uri, "vae-tuner", vae_data_root, reports.append, notes.extend, ranked=ranked)
        return found, [numbers(report.metrics) for report in reports], notes

    return train


def numbers(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith(("time/", "test/"))}


def test_training_again_gives_the_numbers_of_the_epoch_that_counts(trained, uri):
    """In the schedules of the whole budget: those of the same epoch of a full training, to the last bit."""
    _, whole, _ = trained()
    found, reports, _ = trained(RankedEpoch("best", "val/elbo_cal", 3, 4))
    assert reports == whole[:3]
    assert numbers(found.metrics) == whole[2]
    assert (found.stop_reason, found.says) == ("completed", "epoch 3 of 4, its best by val/elbo_cal")
    assert load(found.run_id, tracking_uri=uri).config.epochs == 4


def test_under_a_mean_the_last_model_is_taken_with_the_means(trained):
    found, reports, _ = trained(RankedEpoch("mean-2", "val/elbo_cal", 4, 4))
    assert len(reports) == 4
    assert found.metrics["val/elbo_cal"] == sum(report["val/elbo_cal"] for report in reports[2:]) / 2
    assert found.metrics["epoch"] == 4


def test_the_best_epoch_of_one_budget_is_none_of_another(trained):
    found, reports, notes = trained(RankedEpoch("best", "val/elbo_cal", 2, 4), epochs=3)
    assert (len(reports), found.metrics["epoch"], found.says) == (3, 3, "its last epoch")
    assert "epoch 2 was the best of 4 epochs and need not be of 3: trained to the end" in notes


def test_a_sweeps_file_names_a_command_that_can_be_copied(tmp_path):
    file = tmp_path / "my sweep.yaml"
    file.write_text("space: lr")
    with pytest.raises(UserError, match=f"run it with `vae-tuner sweep '{file}'`"):
        read_config(file)
