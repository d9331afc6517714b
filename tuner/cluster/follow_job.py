"""A job watched until it ends, also through a connection that breaks now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner.cluster.backend import JobInfo, UnknownJobError, UnreachableError
from tuner.cluster.job import Job
from tuner.cluster.job_log import latest_status, readable, result_in

RETRIES = 5
RETRY_SECONDS = 4.0


@dataclass(frozen=True)
class Followed:
    """How a watched job ended. info: None where its cluster was lost, for the reason `lost`.

    status: the last that was heard of its sweep. result: the document at its end, if it came to that.
    """

    info: JobInfo | None
    status: dict[str, Any] | None
    result: dict[str, Any] | None
    log: str
    lost: str = ""


def follow(
    job: Job,
    on_status: Callable[[dict[str, Any]], None],
    *,
    retries: int = RETRIES,
    retry_seconds: float = RETRY_SECONDS,
) -> Followed:
    """Watch a job to its end; on_status: called with each status line.

    A connection that breaks is tried again, `retries` times in a row; then the cluster counts as lost, and so it does
    when it answers and has forgotten the job.
    """
    log, told, failures = "", 0, 0
    while True:
        try:
            heard = ""
            for chunk in job.backend.tail(job.id):
                heard, failures = heard + chunk, 0
                log = max(log, heard, key=len)
                told = _tell(log, told, on_status)
            info = job.info()
        except (UnreachableError, UnknownJobError) as error:
            failures += 1
            if failures > retries or isinstance(error, UnknownJobError):
                return Followed(None, latest_status(log), None, readable(log), str(error))
            time.sleep(retry_seconds)
            continue
        if info.has_ended:
            return Followed(info, latest_status(log), result_in(log), readable(log))


def _tell(log: str, told: int, on_status: Callable[[dict[str, Any]], None]) -> int:
    """Tell what is new among the log's whole lines; returns how much of it has been told."""
    whole = log.rfind("\n") + 1
    if whole > told and (status := latest_status(log[told:whole])):
        on_status(status)
    return max(told, whole)
