"""Jobs of a Ray cluster, through its Jobs API."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from trainables.config.paths import suggest
from trainables.errors import UserError
from trainables.object_storage import is_remote
from tuner.cluster.backend import STOP_SECONDS, JobInfo, JobRequest, TakenError, UnknownJobError, UnreachableError
from tuner.cluster.job_log import STATUS_LINES

SWEEP, STORAGE, FACTORIES = "vae_tuner.sweep", "vae_tuner.storage", "vae_tuner.factories"
SERVER_ADDRESS = "RAY_API_SERVER_ADDRESS"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
UPLOAD_SECONDS = 600.0
QUIET_SECONDS = 20.0
"""A log that tells nothing for so long: is the head still there?"""
START_SECONDS = 30.0
"""What a head that has just started is given until it takes jobs."""
START_PAUSE_SECONDS = 2.0
_CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env")


def entrypoint_of(request: JobRequest) -> str:
    """The shell command of a job on the head: nothing in it is secret, for Ray's dashboard shows it."""
    kept = [_kept(there, here) for there, here in request.kept.items()]
    return "; ".join(
        ["set -e", _command_is_there(), *kept, *_store(request), f"exec vae-tuner {shlex.join(request.arguments)}"]
    )


def _command_is_there() -> str:
    fault = (
        "the environment of this job has no vae-tuner; install it where Ray was started on the head, and on its PATH"
    )
    return f"command -v vae-tuner > /dev/null || {{ echo {shlex.quote(f'Error: {fault}')} >&2; exit 127; }}"


def _store(request: JobRequest) -> list[str]:
    """The head's own store comes first."""
    if request.tracking_default is None:
        return []
    named = '[ -n "$MLFLOW_TRACKING_URI" ]'
    if not request.tracking_default:
        fault = f"{request.storage} holds no database; set MLFLOW_TRACKING_URI on the head, or pass --tracking-uri"
        return [f"{named} || {{ echo {shlex.quote(f'Error: {fault}')} >&2; exit 2; }}"]
    folder, uri = shlex.quote(request.storage), shlex.quote(request.tracking_default)
    return [f"{named} || {{ mkdir -p {folder}; export MLFLOW_TRACKING_URI={uri}; }}"]


def _kept(there: str, here: str) -> str:
    """Put what was shipped where it stays, whole or not at all, unless it is there."""
    if is_remote(there):
        return f"vae-tuner jobs keep {shlex.quote(here)} {shlex.quote(there)}"
    target, part, source = shlex.quote(there), shlex.quote(f"{there}.part"), shlex.quote(here)
    parent = shlex.quote(there.rpartition("/")[0])
    return f"[ -e {target} ] || {{ mkdir -p {parent}; cp -R {source} {part}.$$; mv {part}.$$ {target}; }}"


class _StartingError(UnreachableError):
    """A head that is there, and does not accept jobs yet."""


@dataclass(frozen=True)
class RayJobs:
    """The jobs of a cluster. cluster: the URL of its dashboard; the token is Ray's own, from its own variables."""

    cluster: str

    def submit(self, request: JobRequest) -> None:
        end, told = time.monotonic() + START_SECONDS, False
        while True:
            try:
                return self._submit(request)
            except _StartingError:
                if time.monotonic() > end:
                    raise
            if not told:
                print(
                    f"The head at {self.cluster} has just started and does not accept jobs yet: waiting …",
                    file=sys.stderr,
                )
                told = True
            time.sleep(START_PAUSE_SECONDS)

    def _submit(self, request: JobRequest) -> None:
        with self._answering(), _free(request.id):
            self._client.submit_job(
                entrypoint=entrypoint_of(request),
                submission_id=request.id,
                metadata={SWEEP: request.sweep, STORAGE: request.storage, FACTORIES: " ".join(request.factories)},
                runtime_env={
                    "working_dir": str(request.folder),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), STATUS_LINES: "1"},
                },
            )

    def jobs(self) -> list[JobInfo]:
        with self._answering():
            found = [_info(job) for job in self._client.list_jobs() if _is_ours(job)]
        return sorted(found, key=lambda job: job.started or 0.0)

    def job(self, job_id: str) -> JobInfo:
        known = {job.id: job for job in self.jobs()}
        if job_id not in known:
            listed = suggest(job_id, sorted(known)) if known else "; there is none yet"
            raise UnknownJobError(f"no job {job_id!r} on {self.cluster}{listed}")
        return known[job_id]

    def log(self, job_id: str) -> str:
        self.job(job_id)
        with self._answering():
            return str(self._client.get_job_logs(job_id))

    def tail(self, job_id: str) -> Iterator[str]:
        self.job(job_id)
        with self._answering(), asyncio.Runner() as runner:
            chunks = self._client.tail_job_logs(job_id)
            while True:
                heard = runner.get_loop().create_task(_next(chunks))
                while not runner.run(_is_done(heard, QUIET_SECONDS)):
                    self.job(job_id)  # a job may be silent, its head may not
                if (chunk := heard.result()) is None:
                    return
                yield chunk

    def stop(self, job_id: str) -> None:
        self.job(job_id)
        with self._answering():
            self._client.stop_job(job_id)

    @cached_property
    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        class Client(JobSubmissionClient):  # type: ignore[misc]
            """Ray's own waits for ever."""

            def _do_request(self, *request: Any, **options: Any) -> Any:
                seconds = UPLOAD_SECONDS if options.get("data") else ANSWER_SECONDS
                return super()._do_request(*request, timeout=seconds, **options)

        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with _only_address(self.cluster):
            return Client(self.cluster)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Ray's and its libraries' errors as what a user can do; none of them waits for a host that is gone."""
        self._knock()
        import aiohttp
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError:
            raise UserError(
                f"{self.cluster} refused the token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's (or "
                "put it into ~/.ray/auth_token)"
            ) from None
        except (requests.exceptions.InvalidHeader, UnicodeError):
            raise UserError(
                "the token in RAY_AUTH_TOKEN, or in ~/.ray/auth_token, holds a line break or a sign that no token has; "
                "write it again, on one line"
            ) from None
        except requests.Timeout:
            raise self._away(TimeoutError("it gives no answer")) from None
        except (OSError, aiohttp.ClientError, requests.RequestException) as error:
            raise self._away(error) from None
        except RuntimeError as error:
            if "No available agent" in str(error):
                raise _StartingError(
                    f"the head at {self.cluster} does not accept jobs yet, as Ray's agent there has not started within "
                    f"{START_SECONDS:g} seconds; try again, or read dashboard_agent.log there, in "
                    "/tmp/ray/session_latest/logs"
                ) from None
            if re.search(r"WebSocket|status code 5\d\d", str(error)):
                raise self._away(error) from None
            raise UserError(f"{self.cluster}: {str(error).strip().splitlines()[-1]}") from None

    def _knock(self) -> None:
        parts = urlsplit(self.cluster)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> UnreachableError:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        return UnreachableError(
            f"no Ray dashboard answers at {self.cluster} ({reason}); open the way to the head with "
            "`ssh -L 8265:localhost:8265 HEAD` or `ray attach cluster.yaml -p 8265`, or name another with --cluster"
        )


@contextmanager
def _only_address(url: str) -> Iterator[None]:
    """Ray's client prefers the address of the environment to the one that it is given."""
    before = os.environ.get(SERVER_ADDRESS)
    os.environ[SERVER_ADDRESS] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[SERVER_ADDRESS]
        else:
            os.environ[SERVER_ADDRESS] = before


@contextmanager
def _free(job_id: str) -> Iterator[None]:
    """Ray's word for an id that is not."""
    try:
        yield
    except RuntimeError as error:
        if f"{job_id} already exists" in str(error):
            raise TakenError(f"another job of this cluster is called {job_id}; give it another --name") from None
        raise


async def _is_done(task: asyncio.Task[str | None], seconds: float) -> bool:
    return bool((await asyncio.wait({task}, timeout=seconds))[0])


async def _next(chunks: AsyncIterator[str]) -> str | None:
    return await anext(chunks, None)


def _is_ours(job: Any) -> bool:
    return bool(job.submission_id) and {SWEEP, STORAGE, FACTORIES} <= set(job.metadata or {})


def _info(job: Any) -> JobInfo:
    state = job.status.value.lower()
    return JobInfo(
        id=job.submission_id,
        sweep=job.metadata[SWEEP],
        storage=job.metadata[STORAGE],
        state=state,
        started=job.start_time and job.start_time / 1000,
        ended=job.end_time and job.end_time / 1000,
        message=(job.message or "").partition(", last available logs")[0] if state == "failed" else "",
        factories=tuple(job.metadata[FACTORIES].split()),
    )
