"""What a job tells of its sweep fits its own state."""

import json
import shlex

import pytest

from trainables.errors import UserError
from tuner.cluster.backend import JobInfo
from tuner.cluster.job import Job, resume_command
from tuner.cluster.job_log import PREFIX

COUNTS = {"completed": 2, "starting": 1, "running": 1, "paused": 2, "interrupted": 1}


class Still:
    """A backend with one job, in one state."""

    cluster = "http://head:8265"

    def __init__(self, state, log=""):
        self.state, self.text, self.stopped = state, log, 0

    def job(self, job_id):
        return JobInfo(job_id, "s", "/shared", self.state, 1.0, None)

    def log(self, job_id):
        return self.text

    def stop(self, job_id):
        self.stopped += 1


@pytest.mark.parametrize("state", ["running", "failed", "stopped"])
def test_what_an_ended_job_left_was_cut_short(state):
    job = Job("s", "s", "/shared", Still(state, f"{PREFIX}{json.dumps({'stop_reasons': COUNTS})}\n"))
    ended = {"completed": 2, "interrupted": 5}
    assert job.status()["progress"]["stop_reasons"] == (COUNTS if state == "running" else ended)


def test_a_job_that_has_told_nothing_has_no_progress():
    job = Job("s", "s", "/shared", Still("pending", "Runtime env is setting up.\n"))
    assert (job.state, job.status()["progress"], job.result()) == ("pending", None, None)


def test_only_what_runs_is_stopped_and_a_stop_that_takes_too_long_is_told():
    ended, stuck = Still("succeeded"), Still("running")
    assert Job("s", "s", "/shared", ended).stop().state == "succeeded"
    with pytest.raises(UserError, match=r"^job s has not ended within 0 seconds; look again later$"):
        Job("s", "s", "/shared", stuck).stop(seconds=0.0)
    assert (ended.stopped, stuck.stopped) == (0, 1)


@pytest.mark.parametrize("storage", ["/shared/it's mine", "s3://bucket/s?region=eu&x=$HOME"])
def test_the_command_that_resumes_can_be_copied(storage):
    words = shlex.split(resume_command("s", "http://h:8265", storage, ("nets:make",)))
    assert words[:4] == ["vae-tuner", "jobs", "resume", "s"]
    assert words[4:] == ["--cluster", "http://h:8265", "--storage", storage, "--model", "nets:make"]
    assert shlex.quote(storage) in resume_command("s", "http://h:8265", storage, ())
