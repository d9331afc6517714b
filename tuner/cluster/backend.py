"""What runs jobs, and what is known of one. Its implementations are chosen in backend_choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trainables.errors import UserError

LOCAL = "local"
STOP_SECONDS = 60
"""What a job that is stopped has to end its epochs' records; then Ray kills it."""


class UnreachableError(UserError):
    """A cluster that gives no answer."""


class UnknownJobError(UserError):
    """A job that its cluster does not know."""


class TakenError(UserError):
    """An id that another job has."""


@dataclass(frozen=True)
class JobRequest:
    """A job to run. folder: the working directory it is given, copied. arguments: of `vae-tuner`.

    tracking_default: MLflow's store where the environment of the job names none; empty where it must, None where the
    spec or the journal does.
    kept: what of the folder is to stay in the storage, name there → name here. factories: the user's own models in it.
    """

    id: str
    sweep: str
    storage: str
    folder: Path
    arguments: tuple[str, ...]
    tracking_default: str | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    factories: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobInfo:
    """A job as its backend knows it. state: `pending`, `running`, `succeeded`, `failed` or `stopped`.

    started, ended: seconds since 1970. message: why it failed, where that is known. factories: the user's own models
    that it was submitted with.
    """

    id: str
    sweep: str
    storage: str
    state: str
    started: float | None
    ended: float | None
    message: str = ""
    factories: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.state not in ("pending", "running")


class Backend(Protocol):
    """Runs jobs. What it cannot reach raises UnreachableError, an id it does not know UnknownJobError, and one that is
    not free TakenError."""

    @property
    def cluster(self) -> str:
        """What `--cluster` is given to mean it."""

    def submit(self, request: JobRequest) -> None:
        """Start a job; returns at once."""

    def jobs(self) -> list[JobInfo]:
        """The sweeps' jobs it knows, the latest last."""

    def job(self, job_id: str) -> JobInfo:
        """How one of them stands."""

    def log(self, job_id: str) -> str:
        """All it has printed so far."""

    def tail(self, job_id: str) -> Iterator[str]:
        """What it prints, from the first line on, until it has ended."""

    def stop(self, job_id: str) -> None:
        """Ask it to stop in order; returns at once."""
