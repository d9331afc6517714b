"""HyperBand's brackets are the paper's, and fill at any concurrency; the stock one prunes nothing at a low one."""

import hashlib
import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from events import new_event
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import HyperBandScheduler, TrialScheduler

from tuner.running.lost_workers import why
from tuner.search.asha import rungs_for
from tuner.search.hyperband import HyperBand

EPOCHS, FACTOR = 12, 3
RUNGS = (1, 3, 9)


def worth(number, epoch):
    """A value that depends on neither order nor concurrency; trials cross each other as they train."""
    digest = hashlib.blake2b(f"{number}/{epoch // 4}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") / 2**32


def hyperband(trials, epochs=EPOCHS, grace=1, factor=FACTOR, direction="max"):
    return HyperBand(rungs_for(epochs, grace, factor), factor, direction, epochs, trials)


# --- brackets ---------------------------------------------------------------------------------------------------------


def test_the_papers_table():
    """Li et al. 2018, table 1: R = 81, η = 3; n_i trials up to r_i epochs for each s."""
    rule = hyperband(81 + 34 + 15 + 8 + 5, epochs=81)
    assert [bracket.rounds(81, 3) for bracket in rule.brackets] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


@given(trials=st.integers(1, 200), epochs=st.integers(1, 100), grace=st.integers(1, 100), factor=st.integers(2, 5))
def test_brackets_part_the_trials_and_no_rung_comes_before_the_grace(trials, epochs, grace, factor):
    rule = hyperband(trials, epochs, grace, factor)
    assert [number for bracket in rule.brackets for number in bracket.numbers] == list(range(trials))
    for bracket in rule.brackets:
        assert all(grace <= rung < epochs for rung in bracket.rungs)
        rounds = bracket.rounds(epochs, factor)
        assert [epoch for _, epoch in rounds] == sorted({epoch for _, epoch in rounds})
        assert all(after == max(1, before // factor) for (before, _), (after, _) in pairwise(rounds))


def test_no_bracket_costs_more_than_its_share():
    """Li et al. 2018, §3: each bracket of a full cycle spends about B = (s_max + 1)·R."""
    rule = hyperband(143, epochs=81)
    for bracket in rule.brackets:
        rounds = bracket.rounds(81, 3)
        spent = sum(n * epoch for n, epoch in rounds)
        assert spent <= 5 * 81 * 1.1


def test_a_plan_names_the_rounds_of_each_bracket():
    assert hyperband(14, epochs=9).summary == (
        "brackets in turn: 9 to epoch 1 → 3 to epoch 3 → 1 to epoch 9; 5 to epoch 3 → 1 to epoch 9"
    )


# --- a sweep ----------------------------------------------------------------------------------------------------------


def survivors(rule, bracket):
    """Number → (reason, last epoch), computed from the values alone."""
    ends, left = {}, list(bracket.numbers)
    for rung in bracket.rungs:
        left.sort(key=lambda number: -worth(number, rung))
        kept = max(1, len(left) // rule.reduction_factor)
        ends |= dict.fromkeys(left[kept:], ("pruned", rung))
        left = left[:kept]
    return ends | dict.fromkeys(left, ("completed", rule.epochs))


ORDERS = {"first": lambda n: 0, "last": lambda n: n - 1}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("concurrency", [1, 2, 7])
@pytest.mark.parametrize("n_trials", [1, 2, 12, 14, 30])
def test_at_any_concurrency_the_same_trials_survive(tmp_path, tune_loop, n_trials, concurrency, order):
    rule = hyperband(n_trials)
    loop = tune_loop(
        tmp_path / "journal.jsonl", rule, worth, n_trials=n_trials, epochs=EPOCHS, concurrency=concurrency
    ).run(ORDERS[order])
    expected = {}
    for bracket in rule.brackets:
        expected |= survivors(rule, bracket)
    assert loop.ends() == expected
    assert loop.n_told == loop.journal.sweep.epochs == rule.expected_epochs(n_trials, EPOCHS)
    assert loop.peak == min(concurrency, n_trials)


def test_every_decision_has_its_rung_and_the_value_of_the_last_to_go_on(tmp_path, tune_loop):
    loop = tune_loop(tmp_path / "j", hyperband(4, grace=9), lambda n, e: float(n), n_trials=3, epochs=EPOCHS).run()
    told = [event for event in loop.told() if event["event"] == "decision"]
    decided = {"event": "decision", "rung": 9, "cutoff": 2.0}
    assert told == [
        {**decided, "trial": "0002", "decision": "continue", "reason": None},
        {**decided, "trial": "0001", "decision": "stop", "reason": "pruned"},
        {**decided, "trial": "0000", "decision": "stop", "reason": "pruned"},
    ]
    pauses = [event for event in loop.told() if event.get("decision") == "pause"]
    assert [(event["trial"], event["rung"], event["reason"]) for event in pauses] == [
        (f"{number:04}", 9, None) for number in range(3)
    ]


def test_what_can_go_on_comes_before_what_is_new(tmp_path, tune_loop):
    loop = tune_loop(tmp_path / "j", hyperband(20), worth, n_trials=20, epochs=EPOCHS).run()
    released = set()
    for event in loop.told():
        assert event["event"] != "ask" or not released
        if event["event"] == "decision" and event["decision"] == "continue":
            released.add(event["trial"])
        if event["event"] == "report":
            released.discard(event["trial"])


def test_of_equals_the_earlier_go_on(tmp_path, tune_loop):
    loop = tune_loop(tmp_path / "j", hyperband(9, epochs=9), lambda n, e: 0.0, n_trials=9, epochs=9, concurrency=3)
    ends = loop.run(ORDERS["last"]).ends()
    assert [number for number, (reason, epoch) in ends.items() if epoch > 1] == [0, 1, 2]
    assert ends[0] == ("completed", 9)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_diverges_or_fails_leaves_its_cohort(tmp_path, tune_loop, concurrency):
    """Of nine, three diverge at once, and two of the three that pass the first rung fail after it."""

    def curve(number, epoch):
        return math.nan if number < 3 else float(number)

    loop = tune_loop(tmp_path / "j", hyperband(9, epochs=9), curve, n_trials=9, epochs=9, concurrency=concurrency)
    n_failed = 0
    while (said := loop.fill()) != "FINISHED" or loop.running:
        assert loop.running, said
        trial, epoch = loop.running.pop(0)
        if trial == "0008" and epoch == 2:
            loop.decisions.lose([trial], why(""))
            n_failed += 1
        elif loop.tell(trial, epoch):
            loop.running.append((trial, epoch + 1))
    assert n_failed == 1
    ends = loop.ends()
    assert {number: ends[number] for number in (0, 1, 2, 8)} == {
        0: ("diverged", 1), 1: ("diverged", 1), 2: ("diverged", 1), 8: ("error", 1),
    }  # fmt: skip
    assert ends[7] == ("completed", 9), "two of six passed the first rung, and one of them is left"
    assert {ends[number] for number in (3, 4, 5, 6)} == {("pruned", 1)}


@dataclass(frozen=True)
class WithRisers(HyperBand):
    """Where some trials' warm-ups rise until the end: they pass every rung, and run while others wait."""

    risers: tuple[int, ...] = ()

    def decide(self, sweep, trial, epoch, value):
        return super().decide(sweep, trial, epoch, None if sweep.trials[trial].number in self.risers else value)


@pytest.mark.parametrize("risers", [(), (8,), (0, 8, 10)], ids=str)
def test_a_sweep_that_dies_at_any_event_ends_as_the_undisturbed_one(tmp_path, tune_loop, risers):
    """The driver is gone after any line, decisions of one cohort included."""
    rule = WithRisers(**vars(hyperband(11, epochs=9)), risers=risers)

    def loop_at(path):
        return tune_loop(path, rule, worth, n_trials=11, epochs=9)

    whole = loop_at(tmp_path / "whole").run()
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for n_lines in range(1, len(lines) + 1):
        path = tmp_path / f"{n_lines}"
        path.write_bytes(b"".join(lines[:n_lines]))
        resumed = loop_at(path).run()
        assert resumed.told() == whole.told()
        resumed.journal.close()


def test_a_trial_that_tells_its_last_epoch_again_goes_on_as_decided(tmp_path, tune_loop):
    loop = tune_loop(tmp_path / "j", hyperband(3, grace=9), worth, n_trials=3, epochs=EPOCHS)
    loop.fill()
    ((trial, _),) = loop.running
    for epoch in range(1, 9):
        assert loop.tell(trial, epoch)
    n_lines = [len(loop.journal.events)]
    assert [loop.tell(trial, 9), loop.tell(trial, 9), loop.tell(trial, 10)] == [False] * 3
    loop.journal.append(new_event("decision", trial=trial, decision="continue", reason=None, rung=9, cutoff=0.0))
    assert loop.tell(trial, 9)
    assert len(loop.journal.events) == n_lines[0] + 2


def test_a_worker_that_dies_after_its_trial_has_paused_takes_nothing_with_it(tmp_path, tune_loop):
    loop = tune_loop(tmp_path / "j", hyperband(3, grace=9), worth, n_trials=3, epochs=EPOCHS).run(n_results=9)
    (paused,) = loop.journal.sweep.trials.values()
    loop.decisions.lose([paused.id], why(""))
    assert paused.paused
    assert sorted(epoch for _, epoch in loop.run().ends().values()) == [9, 9, EPOCHS]


# --- the trap ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class TuneTrial:
    number: int
    status: str = "PENDING"
    epoch: int = 0
    is_saving = False
    trial_id = "t"


class StockLoop:
    """Tune's loop around its own scheduler, where paused trials count against the limit, as in ConcurrencyLimiter."""

    def __init__(self, n_trials, limit):
        self.scheduler = HyperBandScheduler("epoch", "value", "max", max_t=EPOCHS, reduction_factor=FACTOR)
        self.trials, self.n_trials, self.limit = [], n_trials, limit

    def stop_trial(self, trial):
        trial.status = "TERMINATED"
        self.scheduler.on_trial_remove(self, trial)

    def step(self):
        live = [trial for trial in self.trials if trial.status != "TERMINATED"]
        if len(live) < self.limit and len(self.trials) < self.n_trials:
            self.trials.append(TuneTrial(len(self.trials)))
            self.scheduler.on_trial_add(self, self.trials[-1])
        chosen = self.scheduler.choose_trial_to_run(self)
        if chosen:
            chosen.status = "RUNNING"
        for trial in self.trials:
            if trial.status == "RUNNING":
                self.report(trial)

    def report(self, trial):
        trial.epoch += 1
        result = {"epoch": trial.epoch, "value": worth(trial.number, trial.epoch)}
        decision = self.scheduler.on_trial_result(self, trial, result)
        if decision == TrialScheduler.PAUSE:
            trial.status = "PAUSED"
        elif decision == TrialScheduler.STOP:
            self.stop_trial(trial)

    def epochs(self):
        for _ in range(500):
            self.step()
        return [trial.epoch for trial in self.trials]


def test_trap_with_a_low_concurrency_limit_stock_hyperband_prunes_nothing(tmp_path, tune_loop):
    assert StockLoop(12, limit=2).epochs() == [EPOCHS] * 12
    assert min(StockLoop(12, limit=12).epochs()) < EPOCHS
    loop = tune_loop(tmp_path / "j", hyperband(12), worth, n_trials=12, epochs=EPOCHS, concurrency=2).run()
    assert loop.peak == 2
    assert sorted(epoch for _, epoch in loop.ends().values()) == [1] * 8 + [3] * 3 + [12]
