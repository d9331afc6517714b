"""What is kept of a job of this machine: all of it or nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tuner.cluster import local_process
from tuner.cluster.backend import JobRequest, TakenError
from tuner.cluster.job import known_job
from tuner.cluster.local_process import JobFolder, LocalProcesses


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """The backend, whose processes do not start; where it keeps its jobs; and a request."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(local_process, "_start", lambda folder, request: None)
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "spec.yaml").write_text("name: s")
    request = JobRequest("s", "s", "/shared", tmp_path / "sent", ("sweep", "spec.yaml"), factories=("nets:make",))
    return LocalProcesses(), local_process.jobs_folder(), request


def test_a_job_has_all_that_was_sent_and_remembers_its_models(jobs):
    backend, root, request = jobs
    backend.submit(request)
    assert (JobFolder(root / "s").work / "spec.yaml").read_text() == "name: s"
    assert known_job("s", "local").resume_command.endswith(" --storage /shared --model nets:make")
    assert [path.name for path in root.iterdir()] == ["s"]


def test_an_id_is_given_once(jobs):
    backend, root, request = jobs
    backend.submit(request)
    before = JobFolder(root / "s").job.read_text()
    with pytest.raises(TakenError, match=r"^another job of this machine is called s; give it another --name$"):
        backend.submit(request)
    assert JobFolder(root / "s").job.read_text() == before
    assert [path.name for path in root.iterdir()] == ["s"]


@pytest.mark.parametrize(
    "left", [None, "", '{"sweep": "s"', "{}", "[]", "3", json.dumps({"sweep": "s", "storage": "/"})]
)
def test_what_is_left_of_a_job_is_none_and_its_name_is_free(left, jobs):
    backend, root, request = jobs
    folder = JobFolder(root / "s")
    folder.work.mkdir(parents=True)
    folder.exit.write_text(json.dumps({"code": 0, "time": time.time()}))
    if left is not None:
        folder.job.write_text(left)
    assert backend.jobs() == []
    backend.submit(request)
    assert [(job.id, job.state) for job in backend.jobs()] == [("s", "failed")]


HOLD = """
import os, sys, time
from pathlib import Path
from filelock import FileLock
from tuner.cluster.local_process import JobFolder

folder = JobFolder(Path(sys.argv[1]))
with FileLock(folder.lock):
    folder.pid.write_text(str(os.getpid()))
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_job_whose_process_was_killed_has_failed_and_a_process_that_has_its_number_since_is_left_alone(jobs):
    backend, root, request = jobs
    backend.submit(request)
    command = [sys.executable, "-c", HOLD, str(root / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert backend.job("s").state == "running"
        os.kill(process.pid, signal.SIGKILL)
    assert (backend.job("s").state, backend.job("s").message) == ("failed", "its process is gone")
    with subprocess.Popen(["sleep", "60"]) as other:
        JobFolder(root / "s").pid.write_text(str(other.pid))
        backend.stop("s")
        other.kill()
        assert other.wait() == -signal.SIGKILL, "nothing else ended it"
