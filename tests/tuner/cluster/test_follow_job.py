"""A followed job is heard once and whole, however often the connection breaks."""

import json

import pytest

from tuner.cli.job_tables import Watched, show_followed, show_job
from tuner.cluster.backend import JobInfo, UnknownJobError, UnreachableError
from tuner.cluster.follow_job import follow
from tuner.cluster.job import Job
from tuner.cluster.job_log import PREFIX

RESULT = {"name": "s", "n_trials": 1, "stop_reasons": {"completed": 1}, "epochs": 2, "best": None}
STATUSES = [
    {"planned": 1, "n_trials": 1, "stop_reasons": {"running": 1}, "epochs": n, "metric": "val/elbo",
     "best_trial": None, "best_value": None, "epochs_per_second": 1.0, "ends_at": None}
    for n in range(4)
]  # fmt: skip
LINES = [f"{PREFIX}{json.dumps(status)}\n" for status in STATUSES]
LOG = "".join(LINES) + json.dumps(RESULT, indent=2) + "\n"


class Wire:
    """A backend whose connection breaks as it is told: each turn gives a part of the log, then an error, or ends."""

    cluster = "http://head:8265"

    def __init__(self, *turns, state="succeeded", log=LOG):
        self.turns, self.state, self.log = list(turns), state, log

    def tail(self, job_id):
        length, error = self.turns.pop(0)
        for start in range(0, length, 7):
            yield self.log[start : min(start + 7, length)]
        if error:
            raise error

    def job(self, job_id):
        return JobInfo(job_id, "s", "/shared", self.state, 1.0, 2.0, "exit code 1" if self.state == "failed" else "")


AWAY = UnreachableError("no Ray dashboard answers")


def followed(wire, retries=2):
    heard = []
    job = Job("s-2", "s", "/shared", wire, ["nets:make"])
    return follow(job, lambda status: heard.append(status["epochs"]), retries=retries, retry_seconds=0.0), heard, job


def test_what_was_heard_before_a_break_is_not_told_again():
    n = len(LINES[0])
    ended, heard, _ = followed(Wire((n, AWAY), (0, AWAY), (3 * n, AWAY), (0, AWAY), (len(LOG), None)))
    assert heard == [0, 1, 2, 3]
    assert (ended.result, ended.status, ended.info.state) == (RESULT, STATUSES[3], "succeeded")


@pytest.mark.parametrize(
    "turns",
    [
        [(len(LINES[0]), AWAY), (5, AWAY), (0, AWAY), (0, AWAY)],
        [(len(LINES[0]), AWAY), (5, UnknownJobError("no job 's-2'"))],
    ],
    ids=["gone", "forgotten"],
)
def test_a_cluster_that_stays_away_or_has_forgotten_is_lost(turns, capsys):
    wire = Wire(*turns, (len(LOG), None))
    ended, _, job = followed(wire)
    assert len(wire.turns) == 1
    assert (ended.status, ended.result) == (STATUSES[0], None)
    assert show_followed(job, ended, "table") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"Lost job s-2: {turns[-1][1]}\n")
    assert "jobs resume s --cluster http://head:8265 --storage /shared --model nets:make\n" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("stopped", 1)])
def test_the_exit_code_is_the_jobs_and_the_result_is_shown_as_far_as_there_is_one(state, code, capsys):
    ended, _, job = followed(Wire((len(LOG), None), state=state))
    assert show_followed(job, ended, "json") == code
    printed = capsys.readouterr()
    assert json.loads(printed.out) == RESULT
    assert ("Go on with: " in printed.err) == (state != "succeeded")
    assert ("jobs logs s-2 --cluster http://head:8265\n" in printed.err) == (state == "failed")


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("Starting\nError: data.name: nothing there\n", "Error: data.name: nothing there\n"),
        ("Starting\nRuntimeError: oh\n", "Starting\nRuntimeError: oh\nexit code 1\n"),
    ],
)
def test_a_failure_before_the_sweep_shows_the_refusal_or_its_log_and_no_way_on(log, shown, capsys):
    ended, _, job = followed(Wire((len(log), None), state="failed", log=log))
    assert show_followed(job, ended, "table") == 1
    printed = capsys.readouterr()
    assert printed.err == f"Job s-2: failed\n{shown}"
    assert printed.out == ""


@pytest.mark.parametrize(
    ("reasons", "says"), [({"interrupted": 1}, "No trial completed"), ({"completed": 1}, "It failed")]
)
def test_a_job_whose_storage_failed_is_not_said_to_have_completed_nothing(reasons, says, capsys):
    log = json.dumps({**RESULT, "stop_reasons": reasons}, indent=2) + "\n"
    ended, _, job = followed(Wire((len(log), None), state="failed", log=log))
    show_followed(job, ended, "json")
    assert f"{says}; read why with: " in capsys.readouterr().err


@pytest.mark.parametrize("ended", [None, 2.0])
def test_a_job_that_runs_shows_why_trials_wait(ended, monkeypatch, capsys):
    wire = Wire(log=f"{PREFIX}{json.dumps({**STATUSES[0], 'notes': ['trials wait']})}\n")
    info = JobInfo("s", "s", "/shared", "running" if ended is None else "succeeded", 1.0, ended)
    monkeypatch.setattr(wire, "job", lambda job_id: info)
    monkeypatch.setattr(wire, "log", lambda job_id, text=wire.log: text)
    show_job(Job("s", "s", "/shared", wire), "table")
    assert ("· trials wait\n" in capsys.readouterr().err) is (ended is None)


def test_why_trials_wait_is_said_once(capsys):
    watched = Watched(None)
    for status in STATUSES:
        watched.status({**status, "notes": ["trials wait"]})
    assert capsys.readouterr().err.count("· trials wait\n") == 1
