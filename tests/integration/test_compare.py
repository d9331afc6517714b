"""`vae-tuner compare` as a user runs it, cut short and gone on with, and as a function."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from drivers import all_runs
from html_pages import check_page
from lane_loop import TrainedLoop

import tuner
from trainables.data.dataset import load
from trainables.data.readers import data_dir
from trainables.files.checkpoint import read
from trainables.files.trial_files import FILE_NAME
from trainables.training.test_metrics import held_out_metrics
from trainables.training.trainer import Trainer
from tuner.comparison import design, request
from tuner.comparison.request import REACH_FILE
from tuner.running import search_loop
from tuner.tracking.mlflow_store import open_client

SMALL = {"data.n_train": 100, "batch_size": 16, "model.hidden": [16], "model.latent_dim": 2}
ASKED = ("--methods", "geco,beta", "--quick", "--seeds", "2", "--epochs", "2", "--concurrency", "1")
COMMAND = ("compare", *ASKED, *(f"--set={path}={value}" for path, value in SMALL.items()))
CONTRACT = {"name", "report", "levels", "path", "quality", "target", "verdict"}


def compared(**further):
    asked = {"methods": ["geco", "beta"], "quick": True, "seeds": 2, "epochs": 2, "settings": SMALL}
    return tuner.compare(**asked, **further, concurrency=1, offline=True)


def timeless(document):
    return {name: value for name, value in document.items() if name not in ("report", "run_id")}


POOL = 10


@pytest.fixture
def fewer_runs(monkeypatch, tmp_path, shared_ray, vae_data_root):
    """A comparison of fewer runs of each kind, in a folder with a store."""
    monkeypatch.setattr(design, "N_LEVELS", 3)
    monkeypatch.setattr(design, "RATE_FACTORS", (1.0,))
    monkeypatch.setattr(request, "QUICK_POOL", POOL)
    monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def undisturbed(fewer_runs, tmp_path, monkeypatch):
    """The same comparison by `tuner.compare` in another folder, from a pilot that ended before anything was cut."""
    pilot = Path("sweeps", "digits-mlp.pilot")

    def run(folder):
        (tmp_path / "undisturbed").mkdir()
        monkeypatch.chdir(tmp_path / "undisturbed")
        shutil.copytree(folder / pilot, pilot)
        Path("sweeps", "digits-mlp").mkdir()
        shutil.copy(folder / "sweeps" / "digits-mlp" / REACH_FILE, Path("sweeps", "digits-mlp"))
        return compared()

    return run


@pytest.mark.slow
@pytest.mark.cluster
def test_a_comparison_that_is_cut_short_ends_as_one_that_is_not(
    cli, undisturbed, tmp_path, migrated_database, monkeypatch
):
    """What is cut runs on Ray; it goes on, and is done once more, with trials that are trained in this process."""
    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    pool = tmp_path / "sweeps" / "digits-mlp.pool" / "journal.jsonl"
    cutting = threading.Thread(target=stop_when, args=(lambda: pool.exists() and pool.read_bytes().count(b"\n") > 10,))
    cutting.start()
    cut = cli(tmp_path, *COMMAND, "--format", "json")
    cutting.join()
    assert cut.code == 143, cut.err
    assert cut.err.splitlines()[-1] == "Stopped by SIGTERM; the same command goes on where it was."
    assert cut.out == ""
    before = pool.read_bytes()

    monkeypatch.setattr(search_loop, "run", lambda session, tracker: TrainedLoop(session).run())
    ended = cli(tmp_path, *COMMAND, "--format", "json")
    assert ended.code == 0, ended.err
    assert pool.read_bytes().startswith(before)
    document = json.loads(ended.out)
    check_answer(document)
    check_files(tmp_path / document["report"])
    check_record(f"sqlite:///{tmp_path}/mlflow.db", document)
    check_draws(tmp_path / "sweeps" / "digits-mlp.plain", 16)
    check_draws(tmp_path / "sweeps" / "digits-mlp.pool", 1)
    check_refusal(cli, tmp_path)
    found = undisturbed(tmp_path)
    assert timeless(document) == timeless(found.document())
    assert found.run_id is None
    assert found.page.read_text().count("<svg") > 0


def stop_when(comes):
    """Tell this process to stop, once that has come."""
    end = time.monotonic() + 300
    while not comes() and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.bench
@pytest.mark.cluster
def test_dials_are_taken_to_other_data_and_what_is_finished_is_not_trained_again(fewer_runs):
    compared()
    np.save("noise.npy", np.random.default_rng(0).random((200, 64)))
    compared(name="noise", dataset="noise.npy")
    before = {path: path.read_bytes() for path in Path("sweeps").glob("digits-mlp*/journal.jsonl")}
    found = compared(transfer="noise").comparison
    assert {path: path.read_bytes() for path in before} == before
    assert [len(found.trained[stage]) for stage in ("transfer", "transfer-back")] == [10, 10]
    assert [(each.origin, each.target, each.method, each.how) for each in found.transfer] == [
        ("noise.npy", "digits", "geco", "absolute"), ("noise.npy", "digits", "geco", "relative"),
        ("noise.npy", "digits", "beta", "unchanged"), ("digits", "noise.npy", "geco", "absolute"),
        ("digits", "noise.npy", "geco", "relative"), ("digits", "noise.npy", "beta", "unchanged"),
    ]  # fmt: skip
    assert all(each.loss and each.loss.lo < each.loss.mean < each.loss.hi for each in found.transfer)


def check_answer(document):
    """Two epochs are too few for GECO to settle, and the answer says so."""
    assert document.keys() >= CONTRACT
    assert document["exploratory"] is True
    assert [level["kappa"] for level in document["levels"]] == sorted(level["kappa"] for level in document["levels"])
    kept = [level for level in document["levels"] if level["outcome"] == "ok"]
    assert bool(document["path"]) == bool(kept)
    assert kept or "GECO settled on no level of κ" in document["verdict"]
    assert [len(values) for values in document["quality"].values()] == [POOL, POOL]
    assert document["target"]["hits"].keys() == {"geco", "beta"}


def check_files(page):
    check_page(page.read_text(encoding="utf-8"))
    assert {"answer.json", "runs.csv", "quality.png", "target.png"} <= {path.name for path in page.parent.iterdir()}


def check_draws(stage, draws):
    """What a stage says of the test set is the mean over so many draws of z."""
    said = next(stage.glob("trials/*/test.json"))
    checkpoint = read(said.parent / FILE_NAME)
    trainer = Trainer(checkpoint.config, load(checkpoint.config.data, data_dir(None), torch.device("cpu")))
    trainer.restore(checkpoint)
    taken = {n: held_out_metrics(trainer, n) for n in (1, 16)}
    kept = json.loads(said.read_text())
    assert kept["test/kl"] == pytest.approx(taken[draws]["test/kl"])
    assert kept["test/elbo"] == pytest.approx(taken[draws]["test/elbo"], rel=1e-6)
    assert taken[1]["test/elbo"] != pytest.approx(taken[16]["test/elbo"], rel=1e-5)


def check_record(uri, document):
    (run,) = [run for run in all_runs(uri) if run.data.tags["vae_tuner.kind"] == "comparison"]
    assert run.info.run_id == document["run_id"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["vae_tuner.verdict"] == document["verdict"]
    sweeps = {run.data.tags["vae_tuner.sweep_id"] for run in all_runs(uri)}
    assert set(json.loads(run.data.tags["vae_tuner.sweeps"])) == sweeps
    files = {file.path for file in open_client(uri).list_artifacts(run.info.run_id)}
    assert {"index.html", "answer.json", "runs.csv", "quality.png"} <= files


def check_refusal(cli, folder):
    other = cli(folder, *COMMAND, "--seeds", "3")
    assert other.code == 2
    assert other.err.count("\n") == 1
    assert "name: comparison digits-mlp was begun with another seeds (2); repeat its command to go on" in other.err


MISTAKES = {
    "--cpus-per-trial 0": "resources.cpus_per_trial: 0.0 is not allowed; allowed: greater than 0",
    "--concurrency 0": "resources.concurrency: 0 is not allowed; allowed: greater than or equal to 1 or 'auto'",
    "--model nope:make": "model.kind: nope:make: no module nope is installed or in {folder}; run this in the folder "
    "that holds it",
    "--gpus-per-trial nonsense": 'resources.gpus_per_trial: "nonsense" is not allowed; allowed: auto, none, a share of '
    "a GPU from 0.01 to 1, or a whole number of them",
    "--tracking-uri http://localhost:1": "tracking server http://localhost:1 cannot be reached ([Errno 111] Connection "
    "refused); start the server, or name another one with --tracking-uri, or begin with --offline and send the records "
    "later with `vae-tuner sync`",
    "--reports bits.npy": "reports: bits.npy/digits-mlp cannot be written: Not a directory; choose another with "
    "--reports",
    "--set seed=5": "seed: 5 is not allowed; a comparison chooses it for every run, leave it out",
    "--set objective.kappa=0.1": "objective.kappa: 0.1 is not allowed; a comparison chooses it for every run, leave it "
    "out",
    "--set beta.end=2.0": "beta.end: 2.0 is not allowed; a comparison chooses it for every run, leave it out",
    "--set data.name=mnist": "data.name: mnist is not allowed in --set; name it with --dataset",
    "--methods geco,cyclic": "methods: 'cyclic' cannot be compared; did you mean `cyclical`?",
    "--methods beta,linear": "methods: beta,linear is not allowed; name geco and its rivals, each once",
    "--methods geco,beta,beta": "methods: geco,beta,beta is not allowed; name geco and its rivals, each once",
    "--seeds 1": "seeds: 1 is not allowed; allowed: 2 to 20",
    "--seeds 21": "seeds: 21 is not allowed; allowed: 2 to 20",
    "--dataset bits.npy": "methods: gqn anneals sigma, which a Bernoulli likelihood does not have; leave it out",
    "--set model.learn_sigma=true": "model.learn_sigma: what GECO and β weigh is a fixed sigma; set it to false",
    "--set lr.kind=clr": "lr.kind: clr cannot be compared; methods share a grid of constant rates",
    "--storage s3://bucket/sweeps": "storage: s3://bucket/sweeps: a comparison reads its models' files; name a folder "
    "that every node sees",
    "--transfer nope": "transfer: there is no comparison nope in sweeps; run it first with --name nope",
    "--name a/b": "name: 'a/b' is not allowed; allowed: 1 to 48 letters, digits, '.', '_' or '-'",
    "--set epochs=0": "epochs: 0 is not allowed; allowed: greater than or equal to 1",
    "--dataset nope.npy": "data.name: {folder}/nope.npy does not exist; give the path of a .npy or .npz file, or "
    "of a folder of images",
}


SIDE_BY_SIDE = {
    "--methods geco,beta": "--methods",
    "--quick": "--quick",
    "--set lr.base=1e-3": "--set",
    "--dataset digits": "--dataset",
    "--tracking-uri x": "--tracking-uri",
}
MISTAKES |= {
    f"--sweeps a,b {line}": f"{option}: cannot be combined with --sweeps, which trains nothing; leave one of them out"
    for line, option in SIDE_BY_SIDE.items()
}
MISTAKES["--sweeps a"] = "sweeps: a is not allowed; name two or more finished sweeps, each once"
MISTAKES["--sweeps a,b"] = "name: no sweep 'a' in sweeps; there is none yet"


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(line, tmp_path, mistake):
    np.save(tmp_path / "bits.npy", np.random.default_rng(0).integers(0, 2, (300, 6)).astype(bool))
    assert mistake(tmp_path, "compare", *line.split()) == MISTAKES[line].format(folder=tmp_path)
