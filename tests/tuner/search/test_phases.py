"""Trials that stand at other phases of their cycles are compared as if they did not."""

import random

import pytest
from events import new_event

from trainables.config.paths import parse_config, plain
from tuner.running.decisions import Decisions
from tuner.search.asha import Asha
from tuner.search.hyperband import HyperBand
from tuner.search.median import MedianRule
from tuner.sweeps.journal import Journal, read_journal
from tuner.sweeps.state import fold

METRIC, EPOCHS, RUNGS = "val/elbo", 40, (4, 12, 36)
STEP_SIZES = (0.25, 0.125, 0.1, 0.05)
SWING = 100.0


def cyclical(step_size):
    tree = {"lr": {"kind": "clr", "step_size": step_size}, "epochs": EPOCHS, "data": {"n_train": 320}}
    return plain(parse_config(tree))


def value(quality, step_size, epoch):
    """What a trial is worth, less what the phase of its cycle costs; nothing at the end of a cycle."""
    position = epoch / (2 * step_size * EPOCHS) % 1
    return quality - SWING * (0.5 - abs(position - 0.5))


class Sweep:
    """Trials that report one after the other, each to its end or to where it is stopped."""

    def __init__(self, path, rule):
        self.journal = Journal.create(path)
        self.journal.append(
            new_event("header", format=1, metric=METRIC, direction="max", epochs=EPOCHS, rungs=list(RUNGS))
        )
        self.decisions = Decisions(self.journal, METRIC, EPOCHS, rule)

    def ask(self, number, step_size):
        fields = {"number": number, "assignment": {}, "config": cyclical(step_size), "method": "elbo"}
        self.journal.append(new_event("ask", trial=f"{number:04}", **fields))

    def run(self, number, quality, step_size):
        """The epoch at which the trial ended or paused."""
        trial = f"{number:04}"
        for epoch in range(self.journal.sweep.trials[trial].epochs + 1, EPOCHS + 1):
            report = {"trial": trial, "epoch": epoch, "metrics": {METRIC: value(quality, step_size, epoch)}}
            report |= {"diverged": False, "outcome": None, "checkpoint": None}
            self.decisions.hear(report)
            if not self.journal.sweep.trials[trial].unfinished or self.journal.sweep.trials[trial].paused:
                break
        return epoch


@pytest.fixture
def sweep(tmp_path):
    return lambda rule: Sweep(tmp_path / "journal.jsonl", rule)


def test_asha_stops_by_worth_and_never_by_phase(sweep):
    """A trial is stopped where, and only where, a third of those compared at the rung are worth more."""
    draw, found = random.Random(0), sweep(Asha(RUNGS, 3, "max"))
    compared = {rung: [] for rung in RUNGS}
    for number in range(60):
        quality, step_size = draw.gauss(0, 1), draw.choice(STEP_SIZES)
        found.ask(number, step_size)
        end = found.run(number, quality, step_size)
        for rung in (rung for rung in RUNGS if rung <= end):
            if 2 * step_size * EPOCHS > rung:
                assert found.journal.sweep.rungs[rung][f"{number:04}"] is None
                continue
            cutoff = Asha(RUNGS, 3, "max").cutoff(compared[rung])
            compared[rung].append(quality)
            assert (cutoff is not None and quality < cutoff) is (end == rung)
    assert sum(trial.stop_reason == "pruned" for trial in found.journal.sweep.trials.values()) > 20


def test_what_was_compared_is_in_the_journal_and_a_replay_files_the_same(sweep, tmp_path):
    found = sweep(Asha(RUNGS, 3, "max"))
    for number, step_size in enumerate(STEP_SIZES):
        found.ask(number, step_size)
        found.run(number, float(-number), step_size)
    reports = [event for event in found.journal.events if event.name == "report"]
    at_12 = {report.trial: report.compared for report in reports if report.rung == 12}
    assert at_12 == {"0000": None, "0001": 10, "0002": 8, "0003": 12}
    found.journal.close()
    assert fold(read_journal(tmp_path / "journal.jsonl")).rungs == found.journal.sweep.rungs


def test_a_report_from_before_says_nothing_of_it_and_was_compared_itself(sweep):
    found = sweep(None)
    found.ask(0, 0.25)
    report = {"epoch": 4, "metrics": {METRIC: -3.0}, "decision": "continue", "reason": None, "rung": 4}
    found.journal.append(new_event("report", trial="0000", **report, cutoff=None, outcome=None, checkpoint=None))
    assert found.journal.sweep.rungs == {4: {"0000": -3.0}}


def test_hyperbands_cohorts_wait_for_no_value_of_those_without_a_cycle(sweep):
    rule = HyperBand(RUNGS, 3, "max", EPOCHS, 9)
    found, sizes = sweep(rule), [0.25, 0.05, 0.05] * 3
    for number, step_size in enumerate(sizes):
        found.ask(number, step_size)
    for _ in range(len(RUNGS) + 1):
        for number, step_size in enumerate(sizes):
            trial = found.journal.sweep.trials[f"{number:04}"]
            if trial.unfinished and not trial.paused:
                found.run(number, float(number), step_size)
        found.decisions.settle()
    assert not [trial.id for trial in found.journal.sweep.trials.values() if trial.unfinished]
    assert found.journal.sweep.trials["0008"].stop_reason == "completed"


def test_the_median_is_of_the_ends_of_cycles(sweep):
    """Three peers have an end of a cycle by epoch 10, and the next of the worst is at 16."""
    found = sweep(MedianRule(1, "max"))
    for number, (quality, step_size) in enumerate([(0, 0.05), (0, 0.1), (0, 0.125), (0.1, 0.25), (-0.1, 0.1)]):
        found.ask(number, step_size)
        end = found.run(number, quality, step_size)
        assert end == (16 if quality < 0 else EPOCHS)


def test_between_the_ends_of_its_cycles_a_trial_is_judged_by_the_last_of_them(sweep):
    """As one is that waits at a rung for its other seeds; its value in mid-cycle says nothing."""
    rule = MedianRule(1, "max")
    found = sweep(rule)
    for number in range(3):
        found.ask(number, 0.1)
        found.run(number, 0.0, 0.1)
    found.ask(3, 0.1)
    state = found.journal.sweep
    decided = [rule.decide(state, "0003", epoch, worth).decision for epoch in (8, 12, 15) for worth in (-1.0, 1.0)]
    assert decided == ["stop", "continue"] * 3


def test_a_cycle_that_ends_within_an_epoch_counts_from_the_next_on(sweep):
    """Of 2.5 epochs: 2 is its last whole one, which shows at 3."""
    found = sweep(MedianRule(1, "max"))
    for number, quality in enumerate((0.0, 0.0, 0.0, -1.0)):
        found.ask(number, 0.03125)
        assert found.run(number, quality, 0.03125) == (EPOCHS if quality == 0 else 3)
