"""How the trials of a sweep stand, whose driver lives or does not."""

import pytest

from tuner.sweeps.state import fold
from tuner.sweeps.status import standing


@pytest.fixture
def states(written_journal):
    """states(unended) of four trials: one asked for, one that has reported, one that is paused, one that has ended."""
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"trials": 4}}
    journal.ask("0000")
    journal.ask("0001")
    journal.report("0001", 1, {journal.metric: 1.0})
    journal.ask("0002")
    journal.report("0002", 1, {journal.metric: 1.0})
    journal.events[-1]["decision"] = "pause"
    journal.trial("0003", [1.0], "pruned")
    return lambda unended: [trial.state for trial in standing(fold(journal.events), "s", unended).trials]


def test_a_trial_without_a_report_is_starting(states):
    assert states("running") == ["starting", "running", "paused", "pruned"]


def test_without_a_driver_nothing_starts_or_runs(states):
    assert states("interrupted") == ["interrupted", "interrupted", "interrupted", "pruned"]
