"""A job that was submitted: one shape, whatever runs it."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainables.errors import UserError
from tuner.cluster.backend import STOP_SECONDS, Backend, JobInfo
from tuner.cluster.backend_choice import backend_of
from tuner.cluster.job_log import latest_status, readable, result_in

POLL_SECONDS = 0.5
UNENDED = ("starting", "running", "paused")


@dataclass(frozen=True)
class Job:
    """A sweep that runs, or ran, as a job.

    id: of the job. sweep, storage: where its state is kept. factories: the user's own models that it was submitted
    with. notes: what the user should know of what was sent. tracking_uri: where its runs are recorded, empty where
    that is not known here.
    """

    id: str
    sweep: str
    storage: str
    backend: Backend
    factories: Sequence[str] = ()
    notes: Sequence[str] = ()
    tracking_uri: str = ""

    @property
    def state(self) -> str:
        """`pending`, `running`, `succeeded`, `failed` or `stopped`."""
        return self.info().state

    @property
    def resume_command(self) -> str:
        """What goes on with its sweep."""
        return resume_command(self.sweep, self.backend.cluster, self.storage, self.factories)

    def info(self) -> JobInfo:
        """What its backend knows."""
        return self.backend.job(self.id)

    def logs(self) -> str:
        """What it has printed."""
        return readable(self.backend.log(self.id))

    def result(self) -> dict[str, Any] | None:
        """What `vae-tuner sweep --format json` prints, None before its end and where it came to none."""
        return result_in(self.backend.log(self.id))

    def status(self) -> dict[str, Any]:
        """How it stands; `progress`: trials by state, the best so far, epochs a second, the estimated end, None before
        its sweep has begun."""
        info, progress = self.info(), latest_status(self.backend.log(self.id))
        if progress and info.has_ended:
            progress["stop_reasons"] = _ended(progress["stop_reasons"])
        return {**asdict(info), "cluster": self.backend.cluster, "progress": progress}

    def stop(self, seconds: float = STOP_SECONDS + 30.0) -> JobInfo:
        """Stop it in order and wait for that; what it has done is kept, and can be gone on with."""
        info = self.info()
        if info.has_ended:
            return info
        self.backend.stop(self.id)
        return self.wait(seconds)

    def wait(self, seconds: float) -> JobInfo:
        """Wait for its end; raises UserError where that does not come."""
        end = time.monotonic() + seconds
        while not (info := self.info()).has_ended:
            if time.monotonic() > end:
                raise UserError(f"job {self.id} has not ended within {seconds:.0f} seconds; look again later")
            time.sleep(POLL_SECONDS)
        return info


def _ended(counts: Mapping[str, int]) -> dict[str, int]:
    """Trials by state once their job has ended: what it left was cut short."""
    found = Counter[str]()
    for state, count in counts.items():
        found["interrupted" if state in UNENDED else state] += count
    return dict(found)


def known_job(job_id: str, cluster: str | None = None) -> Job:
    """A job by its id; raises UserError for one that its cluster does not know."""
    backend = backend_of(cluster)
    info = backend.job(job_id)
    return Job(info.id, info.sweep, info.storage, backend, info.factories)


def resume_command(sweep: str, cluster: str, storage: str, factories: Sequence[str] = ()) -> str:
    """The command that goes on with a sweep from its storage, in a new job."""
    models = [word for kind in factories for word in ("--model", kind)]
    return shlex.join(["vae-tuner", "jobs", "resume", sweep, "--cluster", cluster, "--storage", storage, *models])
