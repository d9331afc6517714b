"""What a dashboard answers, or does not, is what a user is told: a server that speaks as much of Ray's Jobs API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainables.errors import UserError
from tuner.cluster import ray_jobs
from tuner.cluster.backend import JobRequest, TakenError, UnreachableError
from tuner.cluster.job import known_job
from tuner.cluster.ray_jobs import RayJobs
from tuner.cluster.submission import submit_resume

OURS = {"vae_tuner.sweep": "s", "vae_tuner.storage": "/shared", "vae_tuner.factories": "nets:make"}


class Head(BaseHTTPRequestHandler):
    """Answers with the jobs that its server has, and does not where that is stopped, as a stopped process would."""

    def do_GET(self):
        if self.path.endswith("/logs/tail") or self.server.is_stopped.is_set():
            self.server.is_stopped.set()
            self.server.is_over.wait()
        elif self.path == "/api/version":
            self.answer({"ray_version": "2.60.0", "version": "4", "ray_commit": "x", "session_name": "s"})
        else:
            self.answer(self.server.jobs)

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.starting:
            self.server.starting -= 1
            self.answer("No available agent to submit job, please try again later.", 500)
        elif given["submission_id"] in [job["submission_id"] for job in self.server.jobs]:
            self.answer(f"Traceback …\nValueError: Job with submission_id {given['submission_id']} already exists. "
                        "Please use a different submission_id.", 500)  # fmt: skip
        else:
            self.server.jobs.append(job(given["submission_id"], given["metadata"]))
            self.answer({"job_id": given["submission_id"], "submission_id": given["submission_id"]})

    def answer(self, document, code=200):
        text = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(code)
        self.send_header("Content-Length", len(text))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        """Nothing."""


def job(name, metadata, status="SUCCEEDED"):
    return {"type": "SUBMISSION", "submission_id": name, "status": status, "entrypoint": "x", "metadata": metadata}


@pytest.fixture
def head():
    with ThreadingHTTPServer(("127.0.0.1", 0), Head) as server:
        server.jobs, server.is_stopped, server.is_over = [], threading.Event(), threading.Event()
        server.starting = 0
        server.daemon_threads = True
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.is_over.set()
        server.shutdown()


def test_only_jobs_with_all_that_is_ours_are_sweeps(head):
    head.jobs += [job("half", {"vae_tuner.sweep": "half"}), job("other", {}), job("none", None), job("s", OURS)]
    assert [found.id for found in RayJobs(head.url).jobs()] == ["s"]


def test_a_job_remembers_the_models_that_its_sweep_needs_again(head):
    head.jobs.append(job("s", OURS))
    assert known_job("s", head.url).resume_command.endswith(" --storage /shared --model nets:make")


def test_an_id_of_a_foreign_job_is_passed_over(head, tmp_path):
    head.jobs += [job("s", {}), job("s-2", OURS), job("s-3", None)]
    assert submit_resume("s", RayJobs(head.url), tmp_path, model="nets:make").id == "s-4"
    with pytest.raises(TakenError, match=r"^another job of this cluster is called s-4; give it another --name$"):
        RayJobs(head.url).submit(JobRequest("s-4", "s", "/shared", tmp_path, ("resume", "s")))


def test_a_head_that_has_just_started_is_waited_for(head, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_jobs, "START_PAUSE_SECONDS", 0.01)
    head.starting = 3
    request = JobRequest("s", "s", "/shared", tmp_path, ("resume", "s"))
    RayJobs(head.url).submit(request)
    assert ([job["submission_id"] for job in head.jobs], head.starting) == (["s"], 0)
    told = f"The head at {head.url} has just started and does not accept jobs yet: waiting …\n"
    assert capsys.readouterr().err == told
    monkeypatch.setattr(ray_jobs, "START_SECONDS", 0.0)
    head.starting = 10**9
    with pytest.raises(
        UserError, match=rf"^the head at {head.url} does not accept jobs yet, as Ray's agent there has not"
    ):
        RayJobs(head.url).submit(request)


def test_a_token_that_cannot_be_sent_is_not_shown(head, monkeypatch):
    for token in ("hush\nhush", "hüsh…"):
        monkeypatch.setattr(
            "ray.dashboard.modules.dashboard_sdk.get_auth_headers_if_auth_enabled",
            lambda headers, token=token: {"Authorization": f"Bearer {token}"},
        )
        with pytest.raises(UserError, match=r"^the token in RAY_AUTH_TOKEN, .*; write it again, on one line$"):
            RayJobs(head.url).jobs()


# --- a head that is there, and answers nothing ------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(ray_jobs, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(ray_jobs, "QUIET_SECONDS", 0.1)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_head_that_stopped_is_told(is_known, head, impatient):
    backend = RayJobs(head.url)
    if is_known:
        backend.jobs()
    head.is_stopped.set()
    with pytest.raises(UnreachableError, match=r"^no Ray dashboard answers at .* \(it gives no answer\); open the way"):
        backend.jobs()


def test_a_head_that_stops_under_a_log_is_told(head, impatient):
    head.jobs.append(job("s", OURS, "RUNNING"))
    with pytest.raises(UnreachableError, match=r"\(it gives no answer\)"):
        list(RayJobs(head.url).tail("s"))
    assert head.is_stopped.is_set()
