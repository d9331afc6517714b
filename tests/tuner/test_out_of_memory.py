"""Which failures count, and a trial that ran out of memory: handed out once more with nothing beside it."""

from types import SimpleNamespace

import pytest
from events import lines_of
from hypothesis import given
from hypothesis import strategies as st
from tune_loop import TuneLoop

from tuner.cluster.capacity import Capacity, Node
from tuner.running import search_loop
from tuner.sweeps.events import parse_event
from tuner.sweeps.state import Sweep, Trial, fold

KINDS = ("raised", "worker", "node", "memory", None)
RETRIES = 2


def failed(kinds):
    """A trial after these failures, one after the other. None: of a journal that knew no kinds."""
    sweep = Sweep(trials={"0000": Trial("0000", 0, {}, {}, "elbo")})
    for seq, kind in enumerate(kinds):
        event = {"seq": seq, "session": "s", "t": 0.0, "event": "failure", "trial": "0000", "error": "it failed"}
        sweep.apply(parse_event(event | ({"kind": kind} if kind else {})))
    return sweep.trials["0000"]


@given(st.lists(st.sampled_from(KINDS)))
def test_all_failures_count_but_those_of_a_node_and_the_first_of_memory(kinds):
    trial = failed(kinds)
    assert trial.lost == len(kinds)
    assert trial.alone == ("memory" in kinds)
    assert trial.failures == len(kinds) - kinds.count("node") - ("memory" in kinds)


class Bench(TuneLoop):
    """The loop by hand: trials of two epochs, live or opened again."""

    def __init__(self, path, n_trials=3, concurrency=2, retries=RETRIES):
        options = {"n_trials": n_trials, "concurrency": concurrency, "retries": retries}
        super().__init__(path, None, lambda number, epoch: 1.0, epochs=2, **options)

    def next(self):
        """What the searcher hands out: (trial, whether alone), or what it says."""
        given = self.handing_out.next_trial()
        return (given["trial"], given["alone"]) if isinstance(given, dict) else given

    def runs_out(self, trial):
        return self.hear(trial, error="CUDA out of memory", kind="memory")

    def finish(self, trial):
        self.tell(trial, 1)
        self.tell(trial, 2)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "journal.jsonl")


def test_it_runs_alone_after_all_that_others_would_take_its_place_for(bench):
    assert [bench.next(), bench.next(), bench.next()] == [("0000", False), ("0001", False), None]
    assert not bench.runs_out("0000")
    assert bench.next() == ("0002", False)
    bench.hear("0001", error="raised", kind="raised")
    assert bench.next() == ("0001", False), "what failed for another cause goes on at once"
    assert bench.next() is None
    bench.finish("0001")
    assert bench.next() == ("0000", True)
    bench.finish("0002")
    assert bench.next() is None
    bench.finish("0000")
    assert bench.next() == "FINISHED"
    assert {trial.stop_reason for trial in bench.journal.sweep.trials.values()} == {"completed"}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_alone_it_is_tried_as_often_as_any_other(tmp_path, retries):
    bench = Bench(tmp_path / "journal.jsonl", n_trials=1, retries=retries)
    tries = []
    while isinstance(given := bench.next(), tuple):
        tries.append(given[1])
        bench.runs_out("0000")
    assert tries == [False, *[True] * (retries + 1)]
    trial = bench.journal.sweep.trials["0000"]
    assert (trial.stop_reason, trial.error) == ("error", "CUDA out of memory")


def test_alone_is_as_much_as_the_nodes_have_when_it_is_handed_out(monkeypatch):
    nodes = [Node(2), Node(16)]
    monkeypatch.setattr(search_loop, "cluster_now", lambda: Capacity(tuple(nodes)))
    resources = SimpleNamespace(cpus_per_trial=1.0)
    places = search_loop.places(SimpleNamespace(spec=SimpleNamespace(resources=resources), gpus_per_trial=0.0))

    def cpus():
        return [places({"alone": alone}).required_resources["CPU"] for alone in (None, "0000")]

    assert cpus() == [1, 16]
    nodes.pop()
    assert cpus() == [1, 2]
    nodes.clear()
    assert cpus() == [1, 1], "what every node has: a cluster that scales up brings one"


def test_a_later_session_knows_that_it_shall_run_alone(bench, tmp_path):
    bench.next()
    bench.runs_out("0000")
    again = Bench(tmp_path / "journal.jsonl")
    assert again.journal.sweep.trials == bench.journal.sweep.trials == fold(lines_of(bench.journal.events)).trials
    assert [again.next(), again.next()] == [("0001", False), ("0002", False)]
    again.finish("0001")
    assert again.next() == ("0000", True)


def test_a_trial_whose_nodes_are_lost_again_and_again_never_ends_for_it(bench):
    for _ in range(5 * RETRIES):
        assert bench.next() == ("0000", False)
        bench.decisions.fail(bench.journal.sweep.trials["0000"], "its node is gone", "node")
    assert bench.journal.sweep.trials["0000"].unfinished


def test_those_that_ran_are_those_handed_out_and_not_lost_since(bench):
    def running():
        return [trial.id for trial in bench.handing_out.running()]

    bench.next()
    bench.next()
    assert running() == ["0000", "0001"]
    bench.runs_out("0000")
    assert running() == ["0001"]
    bench.finish("0001")
    assert running() == []


def test_the_trials_at_once_may_change(tmp_path):
    at_once = [1]
    bench = Bench(tmp_path / "journal.jsonl", n_trials=5, concurrency=lambda: at_once[0])
    assert [bench.next(), bench.next()] == [("0000", False), None]
    at_once[0] = 3
    assert [bench.next(), bench.next(), bench.next()] == [("0001", False), ("0002", False), None]
