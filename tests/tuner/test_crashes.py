"""A sweep whose driver is killed at every k-th write, hundreds of times, ends as the undisturbed one.

The driver of `mortal_driver` is the real one with a model in Ray's place: real plan, searcher, scheduler, journal,
checkpoints, resume, sync and MLflow store.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tuner.sweeps.journal import JOURNAL
from tuner.sweeps.state import fold
from tuner.sweeps.storage import open_storage
from tuner.tracking.mlflow_store import Tag, ensure_experiment, find_runs, open_client, status_of
from tuner.tracking.params import to_params

pytestmark = pytest.mark.faults

EPOCHS, TRIALS = 9, 7
PLACES = [(place, where) for place in ("journal", "mlflow", "checkpoint") for where in ("before", "within", "after")]
PLACES.remove(("checkpoint", "within"))  # a rename has no middle
PLACES.remove(("mlflow", "within"))  # before a commit is within its transaction
HARD = [("journal", "within"), ("mlflow", "before"), ("checkpoint", "after")]
REMOTE = [
    ("segment", "before"),
    ("segment", "after"),
    ("journal", "after"),
    ("checkpoint", "after"),
    ("mlflow", "before"),
]
LEAST = {"journal": 7, "mlflow": 7, "checkpoint": 3, "segment": 5}
"""Where to die first; an earlier death would leave a life no time to get anywhere."""


@pytest.fixture(scope="module")
def lives(tmp_path_factory, vae_data_root, migrated_database):
    """lives(case) → (folder of the sweep, URI of its store, deaths); the undisturbed one is kept."""
    script = Path(__file__).with_name("mortal_driver.py")
    known = [str(script.parents[2]), str(script.parents[1] / "support"), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(filter(None, known))
    cache = str(tmp_path_factory.mktemp("cache"))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "VAE_TUNER_CACHE": cache}
    command = [sys.executable, "-W", "ignore", str(script)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.__stderr__, env=environment, text=True
    )

    def lived(place=None, k=0, where="before", remote=False, **parts):
        root = tmp_path_factory.mktemp("lives")
        shutil.copy(migrated_database, root / "mlflow.db")
        uri = f"sqlite:///{root}/mlflow.db"
        storage = f"file://{root}" if remote else str(root)
        spec = {"name": "s", "storage": storage, "tracking": {"uri": uri, "offline": True}, **parts}
        case = {"spec": spec, "root": str(root), "place": place, "k": k, "where": where, "data_dir": str(vae_data_root)}
        process.stdin.write(json.dumps(case) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert answer["status"] == 0
        return root / "s", uri, answer if where == "paused" else answer["deaths"]

    yield lived
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


def spec(scheduler="asha", sampler="tpe", concurrency=1, trials=TRIALS, **parts):
    return {
        "space": "geco-vs-annealing",
        "config": {"epochs": EPOCHS},
        "search": {"trials": trials, "sampler": sampler},
        "scheduler": {"kind": scheduler, "grace": 1},
        "resources": {"concurrency": concurrency, "retries": 3},
        **parts,
    }


def story(folder):
    """What happened, in order, but for who wrote it, when and in how many sessions."""
    who = ("seq", "session", "t", "sweep_id", "tracking_uri", "place")
    events = [event for event in events_in(folder) if event["event"] != "resume"]
    told = [{key: event[key] for key in event if key not in who} for event in events]
    told[0].pop("spec")
    return told


def stored(folder, uri):
    """What MLflow shows of the sweep by trial: status, stop reason, parameters, points, artifacts."""
    client = open_client(uri)
    runs = list(find_runs(client, ensure_experiment(client, "vae-tuner"), ""))
    names = [run.data.tags.get(Tag.TRIAL, "sweep") for run in runs]
    assert len(names) == len(set(names)), "a run is doubled"
    assert {run.data.tags[Tag.SWEEP_ID] for run in runs} == {header(folder)["sweep_id"]}
    return {
        name: {
            "status": run.info.status,
            "reason": run.data.tags[Tag.STOP_REASON],
            "params": run.data.params,
            "points": sorted(
                (key, point.step, point.value)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
            "artifacts": [file.path for file in client.list_artifacts(run.info.run_id)],
        }
        for name, run in zip(names, runs, strict=True)
    }


def without_artifacts(runs):
    """The driver's half of a run: a trial's files reach object storage by themselves."""
    return {name: {**run, "artifacts": None} for name, run in runs.items()}


def events_in(folder):
    """What the journal holds, on object storage too."""
    storage = str(folder.parent) if (folder / JOURNAL).exists() else f"file://{folder.parent}"
    return open_storage(storage).lines(folder.name)


def header(folder):
    return events_in(folder)[0]


@pytest.fixture(scope="module")
def undisturbed(lives):
    """undisturbed(spec) → (story, store) of a sweep that nothing disturbed; made once."""
    kept = {}

    def make(parts):
        key = json.dumps(parts)
        if key not in kept:
            folder, uri, deaths = lives(**parts)
            assert deaths == 0
            kept[key] = story(folder), stored(folder, uri)
        return kept[key]

    return make


def test_the_undisturbed_sweep_has_all_that_can_happen(undisturbed):
    told, _ = undisturbed(spec())
    assert {event.get("reason") for event in told} >= {"completed", "pruned", "diverged", "error"}
    assert Counter(event["event"] for event in told)["failure"] >= 3 + 2, "one ends in error, two are saved"


def each_with_one_in_ci(whats, cases):
    """All pairs of the two: of each `what` another case runs in CI, and all run in `make faults`."""
    return [
        pytest.param(*what, *case, marks=[] if m == n % len(cases) else pytest.mark.bench)
        for n, what in enumerate(whats)
        for m, case in enumerate(cases)
    ]


OTHERS = [("asha", "random"), ("asha", "grid"), ("hyperband", "tpe"), ("median", "tpe")]
"""Pairs of scheduler and sampler beside ASHA and TPE, which die in all places."""


@pytest.mark.parametrize(
    ("scheduler", "sampler", "place", "where"),
    [*(("asha", "tpe", *place) for place in PLACES), *each_with_one_in_ci(OTHERS, HARD)],
)
def test_killed_again_and_again_a_sweep_ends_as_the_undisturbed_one(
    scheduler, sampler, place, where, lives, undisturbed
):
    parts = spec(scheduler, sampler)
    told, kept = undisturbed(parts)
    folder, uri, deaths = lives(place, LEAST[place], where, **parts)
    assert deaths >= 4
    assert story(folder) == told
    assert stored(folder, uri) == kept
    trained = Counter((folder / "trained").read_text().splitlines())
    again = sum(trained.values()) - len(trained)
    assert again <= (deaths if (place, where) == ("checkpoint", "before") else 0), "an epoch is trained twice"


@pytest.mark.parametrize(("scheduler", "place", "where"), each_with_one_in_ci([("asha",), ("hyperband",)], HARD))
def test_at_concurrency_two_no_epoch_is_missing_or_doubled_and_no_decision_revised(
    scheduler, place, where, lives, undisturbed
):
    """Random draws do not depend on the order of arrivals: each trial has what it has in a sweep without pruning."""
    unpruned = [event for event in undisturbed(spec("none", "random"))[0] if event["event"] == "report"]
    metrics = {(event["trial"], event["epoch"]): event["metrics"] for event in unpruned}
    folder, uri, deaths = lives(place, LEAST[place], where, **spec(scheduler, "random", concurrency=2))
    assert deaths >= 4
    events = events_in(folder)
    sweep = fold(events)
    reports = [(event["trial"], event["epoch"]) for event in events if event["event"] == "report"]
    assert len(reports) == len(set(reports)) == sweep.epochs
    assert (len(sweep.trials), sweep.finished) == (TRIALS, "completed")
    for trial in sweep.trials.values():
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1))
        assert not trial.unfinished
        assert all(report.reason is None for report in trial.reports[:-1])
        assert all(report.metrics == metrics[trial.id, report.epoch] for report in trial.reports)
    _agree(folder, uri)


def _agree(folder, uri):
    """MLflow shows what the journal holds, once."""
    events = events_in(folder)
    runs, sweep = stored(folder, uri), fold(events)
    parent = runs.pop("sweep")
    assert (parent["status"], parent["reason"]) == (status_of(sweep.finished), sweep.finished)
    assert runs.keys() == sweep.trials.keys()
    for name, trial in sweep.trials.items():
        points = [(key, r.epoch, value) for r in trial.reports for key, value in r.metrics.items()]
        assert runs[name]["points"] == sorted(points)
        assert (runs[name]["status"], runs[name]["reason"]) == (status_of(trial.stop_reason), trial.stop_reason)
        assert runs[name]["params"] == to_params(trial.config)


@pytest.mark.parametrize(("place", "where"), each_with_one_in_ci([()], HARD))
def test_a_spent_budget_ends_the_same_sweep(place, where, lives, undisturbed):
    parts = spec("hyperband", budget={"epochs": 11})
    told, kept = undisturbed(parts)
    assert told[-1]["reason"] == "budget"
    folder, uri, deaths = lives(place, LEAST[place], where, **parts)
    assert deaths
    assert story(folder) == told
    assert stored(folder, uri) == kept


@pytest.mark.parametrize(
    ("scheduler", "place", "where"), [*(("asha", *place) for place in REMOTE), ("hyperband", "segment", "before")]
)
def test_on_object_storage_a_sweep_outlives_machine_after_machine(scheduler, place, where, lives, undisturbed):
    """Each finds what was sealed alone; a trial loses no epoch but the one it was in."""
    parts = spec(scheduler)
    told, kept = undisturbed(parts)
    folder, uri, deaths = lives(place, LEAST[place], where, remote=True, **parts)
    assert deaths >= 4
    assert story(folder) == told
    assert without_artifacts(stored(folder, uri)) == without_artifacts(kept)
    trained = Counter((folder / "trained").read_text().splitlines())
    assert sum(trained.values()) - len(trained) <= deaths, "more than the epoch in flight is trained twice"


@pytest.mark.parametrize("k", [4, 15])
@pytest.mark.parametrize(("place", "remote"), [("journal", False), ("journal", True), ("segment", True)])
def test_an_orphan_that_wakes_with_a_line_in_hand_changes_nothing_and_says_so(place, remote, k, lives, undisturbed):
    parts = spec()
    told, kept = undisturbed(parts)
    folder, uri, answer = lives(place, k, "paused", remote=remote, **parts)
    assert story(folder) == told
    assert stored(folder, uri) == kept
    assert answer["unchanged"]
    assert answer["orphan"] == 1
    assert re.fullmatch(
        r"sweep s was taken over by process \d+ on .*; this driver has stopped, and the sweep goes on there",
        answer["said"],
    )
