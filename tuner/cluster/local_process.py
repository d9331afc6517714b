"""Jobs as processes of this machine that outlive the shell: the same as on a cluster, without one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from trainables.config.paths import suggest
from tuner.cluster.backend import LOCAL, JobInfo, JobRequest, TakenError, UnknownJobError
from tuner.cluster.job_log import STATUS_LINES
from tuner.cluster.signals import STOPS

POLL_SECONDS = 0.2
STOPPED = tuple(128 + number for number in STOPS)


@dataclass(frozen=True)
class JobFolder:
    """Every file a job of this machine has.

    job.json is written by who submits; lock is held, and pid and exit.json are written, by the process that runs it.
    """

    path: Path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def work(self) -> Path:
        """Its working directory: the spec and a user's code as they were when it was submitted."""
        return self.path / "work"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def pid(self) -> Path:
        return self.path / "pid"

    @property
    def exit(self) -> Path:
        return self.path / "exit.json"

    @property
    def is_held(self) -> bool:
        """Whether its process lives: a number alone may be another's by now."""
        try:
            with FileLock(self.lock, timeout=0):
                return False
        except Timeout:
            return True


def jobs_folder() -> Path:
    """The jobs of this user on this machine; a home may be shared by several."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "vae-tuner" / "jobs" / socket.gethostname()


class LocalProcesses:
    """Jobs of this machine; they are known from every shell of their user."""

    cluster = LOCAL

    def submit(self, request: JobRequest) -> None:
        folder = JobFolder(jobs_folder() / request.id)
        jobs_folder().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=jobs_folder()) as part:
            _fill(JobFolder(Path(part) / request.id), request)
            if folder.path.exists() and not _is_job(folder):  # what is left of one, for a job appears whole
                shutil.rmtree(folder.path, ignore_errors=True)
            try:
                (Path(part) / request.id).rename(folder.path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                raise TakenError(
                    f"another job of this machine is called {request.id}; give it another --name"
                ) from None
        _start(folder, request)

    def jobs(self) -> list[JobInfo]:
        return sorted(map(_info, _folders()), key=lambda job: job.started or 0.0)

    def job(self, job_id: str) -> JobInfo:
        return _info(self._folder(job_id))

    def log(self, job_id: str) -> str:
        return self._folder(job_id).log.read_text(encoding="utf-8", errors="replace")

    def tail(self, job_id: str) -> Iterator[str]:
        folder = self._folder(job_id)
        with folder.log.open(encoding="utf-8", errors="replace") as log:
            while True:
                lives = folder.is_held
                if text := log.read():
                    yield text
                if not lives:
                    return
                time.sleep(POLL_SECONDS)

    def stop(self, job_id: str) -> None:
        folder = self._folder(job_id)
        if folder.is_held:
            with suppress(ProcessLookupError):
                os.kill(int(folder.pid.read_text()), signal.SIGTERM)

    @staticmethod
    def _folder(job_id: str) -> JobFolder:
        names = sorted(folder.path.name for folder in _folders())
        if job_id not in names:
            listed = suggest(job_id, names) if names else "; there is none yet"
            raise UnknownJobError(f"no job {job_id!r} on this machine{listed}")
        return JobFolder(jobs_folder() / job_id)


def _folders() -> list[JobFolder]:
    """The folders of all jobs; what is left of a job that did not start is passed over."""
    found = [JobFolder(path) for path in jobs_folder().glob("*") if not path.name.startswith(".")]
    return [folder for folder in found if _is_job(folder)]


def _is_job(folder: JobFolder) -> bool:
    try:
        job = json.loads(folder.job.read_text(encoding="utf-8"))
        return {"sweep", "storage", "factories", "started"} <= set(job) and folder.log.exists()
    except (OSError, ValueError, TypeError):
        return False


def _fill(folder: JobFolder, request: JobRequest) -> None:
    """All that a job has before it starts."""
    shutil.copytree(request.folder, folder.work)
    folder.log.touch()
    job = {
        "sweep": request.sweep,
        "storage": request.storage,
        "factories": request.factories,
        "arguments": request.arguments,
        "started": time.time(),
    }
    folder.job.write_text(json.dumps(job), encoding="utf-8")


def _start(folder: JobFolder, request: JobRequest) -> None:
    """Returns once its process has taken its lock."""
    given = {"RAY_ADDRESS": LOCAL}  # a Ray of its own, whatever cluster this shell is set up for
    if request.tracking_default:
        given["MLFLOW_TRACKING_URI"] = request.tracking_default
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tuner.cli.local_job", str(folder.path)],
            cwd=folder.work,
            env={**os.environ, **given, STATUS_LINES: "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # reaped, while this process is there
    while not folder.pid.exists() and process.poll() is None:
        time.sleep(POLL_SECONDS / 10)


def _info(folder: JobFolder) -> JobInfo:
    job = json.loads(folder.job.read_text(encoding="utf-8"))
    lives = folder.is_held
    ended = json.loads(folder.exit.read_text(encoding="utf-8")) if folder.exit.exists() else {}
    state, message = "running" if lives else "failed", "" if lives else "its process is gone"
    if not lives and ended:
        state = {0: "succeeded"}.get(ended["code"], "stopped" if ended["code"] in STOPPED else "failed")
        message = f"exit code {ended['code']}" if state == "failed" else ""
    return JobInfo(
        folder.path.name,
        job["sweep"],
        job["storage"],
        state,
        job["started"],
        ended.get("time"),
        message,
        tuple(job["factories"]),
    )
