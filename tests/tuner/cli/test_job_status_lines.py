"""What a driver's log tells of its sweep is what its journal tells."""

import json

import pytest

from tuner.cli import job_status_lines
from tuner.cli.job_status_lines import PREFIX, StatusLines
from tuner.cli.progress import SweepProgress
from tuner.cluster.job_log import latest_status, readable
from tuner.running import driver
from tuner.sweeps.events import parse_event
from tuner.sweeps.state import fold
from tuner.sweeps.status import standing, sweep_statuses

SHARED = ("name", "planned", "n_trials", "stop_reasons", "epochs", "metric", "best_trial", "best_value")


@pytest.fixture
def told(sweeps, monkeypatch, capsys):
    """told(a function that runs a sweep) → its status lines, one an event."""
    monkeypatch.setenv(job_status_lines.STATUS_LINES, "1")
    monkeypatch.setattr(job_status_lines, "LINE_SECONDS", 0.0)

    def run(act):
        act()
        lines = capsys.readouterr().err.splitlines()
        return [json.loads(line.removeprefix(PREFIX)) for line in lines if line.startswith(PREFIX)]

    return run


def of_fold(sweep):
    document = standing(sweep, "s").document()
    return {name: document[name] for name in SHARED}


def shared(line):
    return {name: line[name] for name in SHARED}


def test_each_line_tells_the_fold_of_the_events_before(sweeps, told):
    lines = told(lambda: driver.run_sweep(sweeps.plan("s"), SweepProgress))
    events = sweeps.events("s")
    folds = [of_fold(fold(events[:n])) for n in range(1, len(events) + 1)]
    assert [shared(line) for line in lines] == folds
    assert lines[-1]["ends_at"] == pytest.approx(lines[-1]["t"])


def test_a_resumed_sweep_is_told_whole(sweeps, told):
    sweeps.run("s")
    sweeps.cut("s", 8)
    lines = told(
        lambda: driver.resume_sweep(
            sweeps.storage, "s", more_trials=2, offline=True, data_dir=sweeps.data_dir, progress=SweepProgress
        )
    )
    (status,) = sweep_statuses(sweeps.storage, "s")
    assert status.planned == 6
    assert shared(lines[-1]) == {name: getattr(status, name) for name in SHARED}
    assert lines[0]["epochs_per_second"] == 0.0
    assert lines[0]["ends_at"] is None


def test_the_rate_is_of_this_session_since_it_trains(sweeps, written_journal, monkeypatch, capsys):
    journal, now = written_journal(), [1000.0]
    journal.events[0]["spec"] = {"search": {"trials": 10}}
    journal.ask("0000")
    for epoch in range(1, 6):
        journal.report("0000", epoch, {"val/elbo_cal": 0.0})
    monkeypatch.setattr(job_status_lines, "SteadyClock", lambda: lambda: now[0])
    lines = StatusLines(sweeps.plan("s"), fold(journal.events))
    journal.report("0000", 6, {"val/elbo_cal": 0.0, "time/epoch_s": 2.0})
    now[0] = journal.events[-1]["t"] + 8.0
    lines.event(parse_event(journal.events[-1]))
    assert latest_status(capsys.readouterr().err)["epochs_per_second"] == pytest.approx(1 / 10)


def test_what_nothing_follows_is_told_all_the_same(sweeps, written_journal, monkeypatch, capsys):
    monkeypatch.setattr(job_status_lines, "LINE_SECONDS", 0.05)
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"trials": 10}}
    lines = StatusLines(sweeps.plan("s"), fold(journal.events))
    for trial in ("0000", "0001"):
        journal.ask(trial)
        lines.event(parse_event(journal.events[-1]))
    lines._timer.join(5.0)
    first, last = map(latest_status, capsys.readouterr().err.splitlines())
    assert (first["stop_reasons"], last["stop_reasons"]) == ({}, {"starting": 2})


def test_a_line_that_was_due_is_not_told_once_more_after_the_last(sweeps, written_journal, monkeypatch, capsys):
    monkeypatch.setattr(job_status_lines, "LINE_SECONDS", 0.05)
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"trials": 10}}
    lines = StatusLines(sweeps.plan("s"), fold(journal.events))
    journal.ask("0000")
    with lines._lock:
        lines.event(parse_event(journal.events[-1]))
        due = lines._timer
        due.join(0.2)  # it comes up, and finds the lock taken
        lines.tell()
    due.join(5.0)
    assert capsys.readouterr().err.count(PREFIX) == 2


def test_notes_are_told_until_an_epoch_has_ended(sweeps, told):
    lines = told(lambda: driver.run_sweep(sweeps.plan("s"), SweepProgress))
    assert {tuple(line["notes"]) for line in lines if not line["epochs"]} == {tuple(sweeps.plan("s").notes)} != {()}
    assert {tuple(line["notes"]) for line in lines if line["epochs"]} == {()}


def test_no_one_who_did_not_ask_is_told(sweeps, monkeypatch, capsys):
    monkeypatch.delenv(job_status_lines.STATUS_LINES, raising=False)
    driver.run_sweep(sweeps.plan("s"), SweepProgress)
    log = capsys.readouterr().err
    assert readable(log) == log != ""
    assert latest_status(log) is None


def test_the_drivers_own_state_is_left_alone(sweeps, written_journal):
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"trials": 10}}
    journal.ask("0000")
    sweep = fold(journal.events)
    journal.add("failure", trial="0000", error="lost")
    lines = StatusLines(sweeps.plan("s"), sweep)
    lines.event(parse_event(journal.events[-1]))
    lines.tell()
    assert sweep == fold(journal.events[:-1])


# --- the estimated end ------------------------------------------------------------------------------------------------


def left(sweeps, events, **paths):
    return StatusLines(sweeps.plan("s", **paths), fold(events)).epochs_left()


def test_what_is_left_falls_with_each_epoch_to_nothing(sweeps):
    sweeps.run("s", **{"scheduler.kind": "none"})
    events = sweeps.events("s")
    reports = [0]
    for event in events[1:]:
        reports.append(reports[-1] + (event["event"] == "report"))
    found = [left(sweeps, events[: n + 1], **{"scheduler.kind": "none"}) for n in range(len(events))]
    assert found == [12 - n for n in reports]


def test_trials_to_come_are_as_long_as_those_that_ended(sweeps, written_journal):
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"trials": 10}}
    for number, length in enumerate([1, 1, 1, 5]):
        journal.trial(f"000{number}", [0.0] * length, "pruned")
    assert left(sweeps, journal.events) == 6 * 2
    journal.ask("0004")
    journal.report("0004", 1, {"val/elbo_cal": 0.0})
    assert left(sweeps, journal.events) == 6 * 2 - 1
    for epoch in (2, 3, 4):
        journal.report("0004", epoch, {"val/elbo_cal": 0.0})
    assert left(sweeps, journal.events) == 5 * 2


def test_a_budget_of_time_bounds_the_end(sweeps, written_journal):
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"trials": 10}}
    journal.trial("0000", [0.0] * 10, "completed")
    lines = StatusLines(sweeps.plan("s", **{"budget.time": 30}), fold(journal.events))
    assert lines.seconds_left(1.0) == pytest.approx(30 - 11)
    assert lines.seconds_left(90.0) == pytest.approx(1.0)
