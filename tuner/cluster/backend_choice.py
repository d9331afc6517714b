"""Which backend runs the jobs of a cluster."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from trainables.credentials import shown
from trainables.errors import ConfigError
from tuner.cluster.backend import LOCAL, Backend


def cluster_address(cluster: str | None) -> str:
    """The address of the cluster: the argument, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS where it is a URL, else
    this machine. Raises ConfigError where it is not an address."""
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
    found = cluster_address(cluster)
    if found == LOCAL:
        from tuner.cluster.local_process import LocalProcesses

        return LocalProcesses()
    from tuner.cluster.ray_jobs import RayJobs

    return RayJobs(found)
