"""The whole way once, as a user goes it: sweep, best, export, train, load, status."""

import json
import re
import subprocess
import sys

import pytest
import torch

import tuner
from trainables.config import TrialConfig
from trainables.config.paths import parse_config, plain
from tuner.sweeps.journal import read_journal
from tuner.sweeps.state import fold

pytestmark = pytest.mark.cluster


def test_help_imports_nothing_heavy():
    heavy = {"torch", "ray", "mlflow", "optuna", "pydantic", "numpy", "sklearn"}
    code = f"import sys, tuner.cli; tuner.cli.run(); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_verb_has_help_with_an_example(cli, tmp_path):
    listed = cli(tmp_path, "--help").out
    verbs = [
        line.split()[0]
        for line in listed.partition("Commands:")[2].splitlines()
        if line.startswith("  ") and line.strip()
    ]
    verbs = verbs[: verbs.index("First")]
    assert verbs == [
        "sweep",
        "best",
        "train",
        "compare",
        "report",
        "export",
        "lr-range",
        "spaces",
        "init",
        "resume",
        "sync",
        "rm",
        "doctor",
        "status",
        "submit",
        "jobs",
    ]
    verbs += [f"jobs {verb}" for verb in ("list", "status", "logs", "stop", "resume")]
    for verb in verbs:
        assert re.search(rf"Examples?: vae-tuner {verb}\b", cli(tmp_path, *verb.split(), "--help").out)


def test_the_result_document_is_all_there_is_on_stdout(swept, result):
    assert set(result) == {
        "name", "experiment", "sweep_id", "parent_run_id", "n_trials", "stop_reasons", "epochs", "wall_s", "best",
        "ranking", "past_best",
    }  # fmt: skip
    best = {"run_id", "trial", "method", "stop_reason", "outcome", "metrics", "config", "stderr", "seeds", "run_ids"}
    assert set(result["best"]) == best
    assert result["name"] == "geco-vs-annealing-digits-1"
    assert result["n_trials"] == sum(result["stop_reasons"].values()) == 6
    parse_config(result["best"]["config"])


def test_the_journal_accounts_for_every_epoch(swept, result):
    sweep = fold(read_journal(swept[0] / "sweeps" / result["name"] / "journal.jsonl"))
    assert sweep.finished == "completed"
    assert sum(trial.epochs for trial in sweep.trials.values()) == result["epochs"]
    for trial in sweep.trials.values():
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1))
        assert trial.stop_reason in ("completed", "pruned")
        assert trial.stop_reason != "completed" or trial.epochs == 9


def test_every_metric_of_the_contract_is_reported_each_epoch(swept, result):
    sweep = fold(read_journal(swept[0] / "sweeps" / result["name"] / "journal.jsonl"))
    every_epoch = {
        "val/elbo", "val/elbo_cal", "val/recon_nll", "val/kl", "val/mse", "val/mse_mean_z", "val/active_units",
        "train/loss", "train/recon_nll", "train/kl", "train/grad_norm", "schedule/beta", "schedule/lr",
        "schedule/sigma_eq", "time/epoch_s", "time/samples_per_s", "epoch",
    }  # fmt: skip
    at_the_end = {"val/agg_kl_gauss", "val/mutual_info", "val/mi_cap", "val/marginal_kl", "train_eval/elbo"}
    for trial in sweep.trials.values():
        geco = (
            {"geco/lambda", "geco/lambda_median", "geco/constraint", "geco/val_violation"}
            if trial.method == "geco"
            else set()
        )
        for report in trial.reports:
            assert every_epoch | geco <= report.metrics.keys()
            assert report.metrics["val/elbo"] == pytest.approx(
                -report.metrics["val/recon_nll"] - report.metrics["val/kl"]
            )
        assert trial.stop_reason != "completed" or at_the_end <= trial.last.keys()


def test_mlflow_holds_one_parent_and_a_finished_run_a_trial(swept, result):
    from tuner.tracking.mlflow_store import open_client

    client = open_client(f"sqlite:///{swept[0]}/mlflow.db")
    experiment = client.get_experiment_by_name("vae-tuner")
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if run.data.tags["vae_tuner.kind"] == "trial"]
    assert len(runs) == 7
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {result["parent_run_id"]}
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    best = client.get_run(result["best"]["run_id"])
    assert best.data.metrics["val/elbo_cal"] == result["best"]["metrics"]["val/elbo_cal"]
    files = {file.path for file in client.list_artifacts(best.info.run_id)}
    assert files == {"config.yaml", "checkpoint.safetensors", "samples.png", "reconstructions.png"}


def test_best_is_the_sweeps_best_and_trains_again_to_the_same_numbers(swept, result, cli):
    folder = swept[0]
    best = json.loads(cli(folder, "best", "--export", "best.yaml", "--format", "json").out)
    assert best[0]["run_id"] == result["best"]["run_id"]
    assert best[0]["config"] == result["best"]["config"]
    retrained = json.loads(cli(folder, "train", "best.yaml", "--format", "json").out)
    assert retrained["config"] == result["best"]["config"]
    for name, value in best[0]["metrics"].items():
        if not name.startswith("time/"):
            assert retrained["metrics"][name] == pytest.approx(value, rel=1e-6), name
    assert "test/elbo_cal" in retrained["metrics"]


def test_the_best_table_names_metric_and_method(swept, cli):
    shown = cli(swept[0], "best").out
    assert "val/elbo_cal rewards" in shown
    assert "best by val/elbo_cal" in shown


def test_load_gives_a_model_to_sample_from(swept, result, monkeypatch):
    monkeypatch.chdir(swept[0])
    model = tuner.load(result["best"]["run_id"])
    assert isinstance(model.config, TrialConfig)
    assert plain(model.config) == result["best"]["config"]
    images = model.sample(5, seed=0)
    assert images.shape == (5, 8, 8)
    assert torch.equal(images, model.sample(5, seed=0))
    assert model.reconstruct(images).shape == images.shape


def test_status_counts_what_the_sweep_did(swept, result, cli):
    status = json.loads(cli(swept[0], "status", "--format", "json").out)
    assert [sweep["name"] for sweep in status] == [result["name"]]
    assert status[0]["stop_reasons"] == result["stop_reasons"]
    assert status[0]["best_trial"] == result["best"]["trial"]
    assert cli(swept[0], "status", result["name"]).code == 0


def test_a_name_that_exists_is_refused(swept, result, cli):
    done = cli(swept[0], "sweep", "--name", result["name"])
    assert done.code == 2
    assert f"`vae-tuner best --sweep {result['name']}`" in done.err
    assert "geco-vs-annealing-digits-2" in done.err


def test_a_plan_starts_nothing(tmp_path, cli):
    shown = json.loads(cli(tmp_path, "sweep", "--plan", "--trials", "9", "--epochs", "20", "--format", "json").out)
    assert shown["rungs"] == [10]
    assert shown["most_epochs"] == 180
    assert shown["expected_epochs"] == 9 * 10 + 3 * 10
    assert list(tmp_path.iterdir()) == []


def test_the_starter_file_parses_and_plans(tmp_path, cli):
    assert cli(tmp_path, "init").code == 0
    assert cli(tmp_path, "sweep", "sweep.yaml", "--plan").code == 0


@pytest.mark.usefixtures("swept")
def test_nothing_of_ray_is_left(rays_base):
    assert [*rays_base.iterdir()] == []
