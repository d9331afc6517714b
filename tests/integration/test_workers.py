"""The workers that a sweep starts: as many as run at once, none in vain, and none that is waited for in vain."""

from pathlib import Path

import pytest
from ray.air.execution._internal import RayActorManager

import tuner
from tuner.running import dispatcher
from tuner.sweeps.journal import read_journal

pytestmark = pytest.mark.cluster

TRIALS = 6


@pytest.fixture
def asked_for(workplace, monkeypatch):
    """asked_for(name) → the workers that Tune asks for in a sweep of two lanes of a trial each, of which one fits."""
    workers, add = [], RayActorManager.add_actor

    def counted(self, *arguments, **options):
        workers.append(add(self, *arguments, **options))
        return workers[-1]

    monkeypatch.setattr(RayActorManager, "add_actor", counted)

    def sweep(name):
        workers.clear()
        result = tuner.sweep({
            "name": name,
            "config": {"epochs": 1, "data": {"n_train": 128}},
            "space": "lr",
            "search": {"trials": TRIALS, "sampler": "random"},
            "resources": {"concurrency": 2, "cpus_per_trial": 2},
            "tracking": {"offline": True},
        })  # fmt: skip
        assert result.stop_reasons == {"completed": TRIALS}
        return len(workers)

    return sweep


def test_a_lane_for_which_there_is_no_place_costs_no_worker_and_its_trial_is_trained(asked_for):
    """The worker of the lane that has ended serves it, or its place does."""
    assert asked_for("s") == 2


def test_a_lane_for_which_no_worker_comes_leaves_its_trials_to_others(asked_for, monkeypatch):
    monkeypatch.setattr(dispatcher, "WAIT_SECONDS", 0.0)
    asked_for("s")
    ended = [event["trial"] for event in read_journal(Path("sweeps/s/journal.jsonl")) if event["event"] == "report"]
    assert ended == sorted(ended)
