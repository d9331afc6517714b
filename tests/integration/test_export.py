"""What a finished sweep hands on: its page, and a file that is of use to whoever unpacks it."""

import json
import subprocess
from zipfile import ZipFile

import pytest
import torch
from drivers import PATIENCE
from html_pages import check_page

import tuner
from tuner.sweeps.status import known_sweep, ranked_trials

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def unpacked(swept, command, environment, tmp_path_factory):
    """What `vae-tuner export` printed, and the folder that is in its file."""
    folder, name = swept[0], json.loads(swept[1])["name"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [command, "export", name, str(elsewhere / "a.zip"), "--format", "json"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
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
    assert torch.equal(model.sample(4, seed=0), tuner.load(own).sample(4, seed=0))


def test_the_journal_and_the_spec_are_a_sweep_to_go_on_from(unpacked, result):
    folder = unpacked[1]
    sweep = known_sweep(folder.parent, result["name"])
    assert ranked_trials(sweep)[0].id == result["best"]["trial"]
    assert tuner.plan(folder / "spec.yaml").metric == "val/elbo_cal"


def test_a_trials_configuration_is_one(unpacked, result):
    from tuner.running.single_run import read_config
    from tuner.tracking.origin import parted

    for trial in known_sweep(unpacked[1].parent, result["name"]).trials.values():
        config, origin = parted(read_config(unpacked[1] / "trials" / trial.id / "config.yaml"))
        assert config == trial.config
        assert (origin.sweep, origin.trial) == (result["name"], trial.id)


def test_a_page_of_a_real_sweep_has_the_best_trials_pictures(swept, result, cli, tmp_path):
    done = cli(swept[0], "report", result["name"], "--reports", tmp_path, "--format", "json")
    assert (done.code, done.err) == (0, "")
    printed = json.loads(done.out)
    assert printed == {"name": result["name"], "report": str(tmp_path / result["name"] / "index.html")}
    root = check_page((tmp_path / result["name"] / "index.html").read_text(encoding="utf-8"))
    assert {figure.attributes["id"] for figure in root.all("figure")} >= {"reconstructions", "samples"}
    page = tuner.report(result["name"], storage=swept[0] / "sweeps", reports=tmp_path)
    assert str(page) == printed["report"]


def test_packing_says_what_it_wrote(swept, result, cli, tmp_path):
    done = cli(swept[0], "export", result["name"], tmp_path / "b.zip")
    assert (done.code, done.err) == (0, "")
    n_files, best = _files(tmp_path / "b.zip"), result["best"]["trial"]
    assert " ".join(done.out.split()) == f"Wrote {tmp_path}/b.zip: {n_files} files, best trial {best}"
    again = cli(swept[0], "export", result["name"], tmp_path / "b.zip")
    assert (again.code, again.out) == (2, "")
    assert again.err == f"Error: {tmp_path}/b.zip exists; name another file, or remove it first\n"
    assert tuner.export(result["name"], tmp_path / "c.zip", storage=swept[0] / "sweeps").best == result["best"]["trial"]


def _files(path):
    with ZipFile(path) as zipped:
        return len(zipped.namelist())
