"""What runs jobs, and what is known of one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from trainables.credentials import shown
from trainables.errors import ConfigError, UserError

__all__ = [
    "LOCAL",
    "STOP_SECONDS",
    "Backend",
    "JobInfo",
    "Order",
    "TakenError",
    "UnknownJobError",
    "UnreachableError",
    "backend_of",
    "chosen",
]

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
class Order:
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

    def submit(self, order: Order) -> None:
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


def chosen(cluster: str | None) -> str:
    """The cluster asked for: the argument, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS where it is a URL, else this
    machine. Raises ConfigError for what is none."""
    found = cluster or os.environ.get("RAY_API_SERVER_ADDRESS") or _url_of_ray() or LOCAL
    if found != LOCAL and not _is_address(found):
        raise ConfigError(
            f"--cluster {shown(found)}: allowed: local, or the address of Ray's dashboard, as in http://127.0.0.1:8265"
        )
    return found.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        return bool(re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", url)) and parts.port != 0
    except ValueError:  # no port, no IPv6 address, or no name of a host
        return False


def _url_of_ray() -> str | None:
    address = os.environ.get("RAY_ADDRESS", "")
    return address if address.startswith(("http://", "https://")) else None


def backend_of(cluster: str | None) -> Backend:
    """The backend of a cluster: `local`, the URL of Ray's dashboard, or None for the default."""
    found = chosen(cluster)
    if found == LOCAL:
        from tuner.jobs.local_process import LocalProcesses

        return LocalProcesses()
    from tuner.jobs.ray_jobs import RayJobs

    return RayJobs(found)
