"""Lanes behind Tune's interfaces: what it is told, and nothing at a trial's end."""

import json
import pickle
from types import SimpleNamespace

import pytest
from lane_loop import Bench
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils import flatten_dict

from trainables.errors import RESULT_KEY
from tuner.running.tune_scheduler import LaneScheduler, LaneStarts, SearchIsOver
from tuner.running.tune_searcher import LaneSearcher


class Tune:
    """What Tune asks and tells, as far as lanes are concerned."""

    def __init__(self, bench):
        self.bench, own = bench, bench.dispatcher
        self.scheduler, self.searcher = LaneScheduler(own), LaneSearcher(own)
        self.starts, self.over = LaneStarts(own), SearchIsOver(own)

    def start(self):
        trial = SimpleNamespace(config=self.searcher.suggest("tune's id"), error_file=None)
        self.starts.on_trial_start(0, [trial], trial)
        return trial

    def told(self, trial, worker):
        """A step of a worker; results are flattened before a scheduler sees them."""
        orders = self.bench.orders[trial.config["lane"]].popleft()
        told = worker.step(orders)
        return {"done": orders.end} if told is None else flatten_dict({RESULT_KEY: json.dumps(told), "node_ip": "ip"})


@pytest.fixture
def own(tmp_path):
    return Tune(Bench(tmp_path / "journal.jsonl", members=2, n_trials=2))


def test_a_lane_goes_from_its_start_to_its_end(own):
    trial, worker = own.start(), own.bench._worker()
    assert own.searcher.suggest("tune's id") is None
    while RESULT_KEY in (result := own.told(trial, worker)):
        assert own.scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE
        assert own.bench.dispatcher.lanes.get(0).ip == "ip"
    assert result == {"done": True}
    assert not own.over.stop_all()
    n = len(own.bench.journal.events)
    own.scheduler.on_trial_complete(None, trial, result)
    own.scheduler.on_trial_remove(None, trial)
    assert own.over.stop_all()
    assert own.searcher.suggest("tune's id") == tune.search.Searcher.FINISHED
    assert len(own.bench.journal.events) == n, "Tune's own end files nothing; stock ASHA its last result twice"
    assert {each.stop_reason for each in own.bench.trials.values()} == {"completed"}


def test_a_lane_that_is_lost_is_not_heard_any_more(own):
    trial, worker = own.start(), own.bench._worker()
    result = own.told(trial, worker)
    own.scheduler.on_trial_error(None, trial)
    assert {each.lost for each in own.bench.trials.values()} == {1}
    assert own.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP
    assert own.searcher.suggest("tune's id") == {"lane": 1, "alone": None}


def test_tune_can_pickle_what_holds_an_open_journal(own, tmp_path):
    own.bench.dispatcher.unpicklable = (line for line in ())
    for each in (own.scheduler, own.searcher, own.starts, own.over):
        pickle.loads(pickle.dumps(each))
    own.searcher.save_to_dir(str(tmp_path))


def test_no_lane_is_chosen_for_a_place_that_another_comes_up_for(own):
    assert own.scheduler.choose_trial_to_run(None) is None
