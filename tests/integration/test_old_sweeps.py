"""Sweeps that earlier versions wrote are read, loaded, trained again and gone on with.

Each archive in `tests/old_sweeps` is a project's folder as it was left: journals, checkpoints, configurations,
MLflow's store and artifacts, a user's model; the last sweep of each had its driver killed. The records of 2026-11-29
have neither repeats nor digests of data and code; those of 2026-11-30 have both, and decisions of Hyperband.
"""

import sys
import tarfile
from contextlib import nullcontext
from pathlib import Path

import pytest

import tuner
from tuner.sweeps.journal import read_journal

OLD = Path(__file__).parents[1] / "old_sweeps"

SHOWN = {
    "2026-11-29": {
        "geco": {
            "0000": ("completed", 4, -11.012),
            "0001": ("completed", 4, -11.007),
            "0002": ("pruned", 1, -25.199),
            "0003": ("pruned", 1, -25.224),
        },
        "own": {"0000": ("completed", 2, -20.914), "0001": ("completed", 2, -29.37)},
        "killed": {"0000": ("completed", 6, -10.098), "0001": ("interrupted", 1, -25.189)},
    },
    "2026-11-30": {
        "repeats": {
            "0000-0": ("completed", 3, -9.8913),
            "0000-1": ("completed", 3, -9.3571),
            "0001-0": ("pruned", 1, -31.815),
            "0001-1": ("pruned", 1, -31.072),
            "0002-0": ("completed", 3, -6.9177),
            "0002-1": ("completed", 3, -7.0426),
        },
        "halving": {
            "0000": ("pruned", 1, -17.189),
            "0001": ("pruned", 1, -31.815),
            "0002": ("pruned", 1, -17.428),
            "0003": ("completed", 4, -8.3037),
        },
        "own": {"0000": ("completed", 6, -12.216), "0001": ("interrupted", 2, -36.96)},
    },
}
"""By archive, sweep and trial: its state, its epochs and its metric, as the version that wrote it showed them."""

TRAINED_AGAIN = [("2026-11-29", "geco"), ("2026-11-30", "halving")]
CUT_SHORT = [("2026-11-29", "killed", None, 4), ("2026-11-30", "own", "nets:Net", 3)]

TOLD = {
    "2026-11-29": nullcontext,
    "2026-11-30": lambda: pytest.warns(UserWarning, match="train step is 2 here and was 1 there"),
}
"""What is said where a model is loaded: only of versions that were recorded."""


@pytest.fixture
def project(tmp_path, monkeypatch, vae_data_root):
    """project(archive) → the working directory, as it was left and has been moved since."""

    def unpacked(archive):
        with tarfile.open(OLD / f"{archive}.tar.xz") as old:
            old.extractall(tmp_path, filter="data")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return tmp_path

    yield unpacked
    sys.modules.pop("nets", None)


def test_every_archive_is_looked_at():
    assert {archive.name.removesuffix(".tar.xz") for archive in OLD.iterdir()} == set(SHOWN)


@pytest.mark.parametrize("archive", SHOWN)
def test_status_shows_what_it_showed(project, archive):
    project(archive)
    shown = {
        sweep.name: {
            each.trial: (each.state, each.epochs, pytest.approx(each.value, rel=1e-4)) for each in sweep.trials
        }
        for sweep in tuner.status()
    }
    assert shown == SHOWN[archive]


@pytest.mark.parametrize("archive", SHOWN)
def test_they_are_tables_and_studies_too(project, archive):
    project(archive)
    for sweep, trials in SHOWN[archive].items():
        history = tuner.history(sweep)
        assert "epoch" not in history.columns, "it is of the index"
        assert history.groupby("trial").size().to_dict() == {trial: epochs for trial, (_, epochs, _) in trials.items()}
        assert tuner.trials(sweep)["state"].to_dict() == {trial: state for trial, (state, _, _) in trials.items()}
        assert len(tuner.study(sweep).trials) == len({trial.split("-")[0] for trial in trials})


@pytest.mark.parametrize("archive", SHOWN)
def test_the_store_names_the_same_best_trial(project, archive):
    project(archive)
    for sweep, trials in SHOWN[archive].items():
        tuner.sync(sweep, tracking_uri="sqlite:///mlflow.db")
        completed = {trial: value for trial, (state, _, value) in trials.items() if state == "completed"}
        (best,) = tuner.best(sweep=[sweep], tracking_uri="sqlite:///mlflow.db")
        assert best.trial == max(completed, key=completed.get).replace("-1", "-0"), "of two seeds the first names it"
        seeds = [value for trial, value in completed.items() if trial.split("-")[0] == best.trial.split("-")[0]]
        assert best.metrics["val/elbo_cal"] == pytest.approx(sum(seeds) / len(seeds), rel=1e-4)


@pytest.mark.parametrize(("archive", "sweep"), TRAINED_AGAIN)
def test_the_best_trains_again_to_the_same_numbers_and_loads(project, archive, sweep):
    project(archive)
    (best,) = tuner.best(sweep=[sweep], tracking_uri="sqlite:///mlflow.db")
    again = tuner.train(best.require_config(), tracking_uri="sqlite:///mlflow.db")
    same = {
        name: pytest.approx(value, rel=1e-3)
        for name, value in best.metrics.items()
        if name in ("val/elbo", "val/mse", "val/kl")
    }
    assert {name: again.metrics[name] for name in same} == same
    for source in (best.run_id, f"sweeps/{sweep}/trials/{best.trial}/checkpoint.safetensors"):
        with TOLD[archive]():
            assert tuner.load(source, tracking_uri="sqlite:///mlflow.db").sample(3).shape == (3, 8, 8)


@pytest.mark.cluster
@pytest.mark.parametrize(("archive", "sweep", "model", "n_trials"), CUT_SHORT)
def test_what_was_cut_short_goes_on(project, shared_ray, archive, sweep, model, n_trials):
    journal = project(archive) / "sweeps" / sweep / "journal.jsonl"
    before = read_journal(journal)
    result = tuner.resume(sweep, model=model, tracking_uri="sqlite:///mlflow.db")
    assert (result.exit_code, sum(result.stop_reasons.values()), result.unsent) == (0, n_trials, 0)
    events = read_journal(journal)
    assert events[: len(before)] == before
    epochs = {}
    for event in (event for event in events if event["event"] == "report"):
        epochs.setdefault(event["trial"], []).append(event["epoch"])
    assert all(each == list(range(1, len(each) + 1)) for each in epochs.values()), "no epoch is missing or doubled"
    (best,) = tuner.best(sweep=[sweep], tracking_uri="sqlite:///mlflow.db")
    assert best.metrics["val/elbo_cal"] == result.best.metrics["val/elbo_cal"]
