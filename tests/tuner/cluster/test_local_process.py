"""What is kept of a job of this machine: all of it or nothing."""

import json
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
