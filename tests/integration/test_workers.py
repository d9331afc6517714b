"""The workers that a sweep starts: as many as run at once, none in vain, and none that is waited for in vain."""

from pathlib import Path

import pytest
from ray.air.execution._internal import RayActorManager
from ray.tune.schedulers import FIFOScheduler

import tuner
from tuner.running import tune_scheduler as schedulers
from tuner.running.tune_scheduler import JournalScheduler
from tuner.sweeps.journal import read_journal

pytestmark = pytest.mark.cluster

TRIALS = 6


@pytest.fixture
def asked_for(workplace, monkeypatch):
    """asked_for(name) → the workers that Tune asks for in a sweep of two trials at once, of which one fits: the second
    worker is always still to come when the first has done its trial."""
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


def test_trap_10_a_worker_that_comes_up_is_not_killed_for_a_place_that_is_free(asked_for, monkeypatch):
    with monkeypatch.context() as stock:
        stock.setattr(JournalScheduler, "choose_trial_to_run", FIFOScheduler.choose_trial_to_run)
        assert asked_for("stock") == TRIALS
    assert asked_for("ours") == 2


def test_a_trial_for_which_no_worker_comes_is_not_left_to_the_end_of_the_search(asked_for, monkeypatch):
    monkeypatch.setattr(schedulers, "WAIT_SECONDS", 0.0)
    asked_for("s")
    ended = [event["trial"] for event in read_journal(Path("sweeps/s/journal.jsonl")) if event["event"] == "report"]
    assert ended == sorted(ended)
