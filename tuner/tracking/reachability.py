"""Whether MLflow's store can be reached, and is MLflow's.

MLflow itself is imported only where a server asks who we are.
"""

from __future__ import annotations

import http.client
import os
import sqlite3
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from trainables.credentials import shown
from trainables.errors import UserError
from tuner.sweeps.tracking_uri import sqlite_path
from tuner.tracking.database_file import MEND, check_opens, reading
from tuner.tracking.store_errors import answering

if TYPE_CHECKING:
    from tuner.tracking.mlflow_store import MlflowClient

_WAY_OUT = "start the server, or name another one with --tracking-uri"


def check_reachable(uri: str, seconds: float = 5.0) -> None:
    """Try the store once; raises UserError with the URI and the way out. Creates nothing."""
    path = sqlite_path(uri)
    if path is not None:
        _check_database(uri, path)
    elif uri.startswith(("http://", "https://")):
        _check_server(uri, seconds)


def open_existing(uri: str) -> MlflowClient:
    """A client of a store that is there, to read from; raises UserError for any other, and changes no file.

    MLflow itself would create a missing database, and add its tables to a foreign one.
    """
    path = sqlite_path(uri)
    if path is not None and not Path(path).is_file():
        raise UserError(
            f"no MLflow database at {path}; run this in the folder of the sweep, or pass its store as --tracking-uri"
        )
    check_reachable(uri)
    if path is not None and not _is_mlflows(path):
        raise UserError(f"{path} is not an MLflow database; pass the store of the sweep as --tracking-uri")
    from tuner.tracking.mlflow_store import knock, open_client

    with answering(uri):
        knock(uri)
        return open_client(uri)


def _is_mlflows(path: Path) -> bool:
    """Whether a SQLite file has MLflow's tables; one that is locked just now is left to MLflow, which waits longer."""
    try:
        with reading(path, timeout=0) as database:
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError:
        return True
    return {"alembic_version", "experiments"} <= names


def _check_database(uri: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"tracking URI {uri}: folder {path.parent} does not exist; create it, or pass --tracking-uri")
    if path.is_dir():
        raise UserError(f"tracking URI {uri}: {path} is a folder; name a file in it: sqlite:///{path}/mlflow.db")
    if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
        raise UserError(f"tracking URI {uri} cannot be written; change its permissions, or pass --tracking-uri")
    if path.exists() and not _is_sqlite(path):
        raise UserError(
            f"tracking URI {uri}: {path} is not an SQLite database; pass another --tracking-uri or, if it "
            f"was one, {MEND}"
        )
    check_opens(path)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) in (b"", b"SQLite format 3\0")


class _Refused(str):
    """Why a server, or the way to it, lets in nobody without credentials or certificates."""


def _check_server(uri: str, seconds: float) -> None:
    """A server that refuses is asked again through MLflow, whose import takes seconds that are not the server's."""
    fault = _in_time(lambda: _fault_of(uri, seconds), seconds)
    if isinstance(fault, _Refused):
        import tuner.tracking.mlflow_store  # noqa: F401

        refused = fault
        fault = _in_time(lambda: _refusal(uri, refused), seconds)
    if fault:
        raise UserError(f"tracking server {shown(uri)} {fault}")


def _in_time(ask: Callable[[], str | None], seconds: float) -> str | None:
    """In a thread, because neither name resolution nor a slow answer obeys a socket's timeout."""
    outcome: list[str | None] = []
    attempt = threading.Thread(target=lambda: outcome.append(ask()), daemon=True)
    attempt.start()
    attempt.join(seconds)
    return outcome[0] if outcome else f"gave no answer within {seconds:g} seconds"


def _fault_of(uri: str, seconds: float) -> str | None:
    """What is wrong with the server at `uri`, None if nothing."""
    parts = urlsplit(uri)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # urllib takes a name for the host
    request = f"{bare.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            is_mlflow = "json" in answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        return _Refused(error.code) if error.code in (401, 403) else f"answered {error.code}; {_WAY_OUT}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return _Refused(reason) if isinstance(reason, ssl.SSLError) else f"cannot be reached ({reason}); {_WAY_OUT}"
    return None if is_mlflow else f"answers, but is not an MLflow server; {_WAY_OUT}"


def _refusal(uri: str, reason: str) -> str | None:
    """Asked again through MLflow, which knows the user's credentials and certificates; None if it is let in."""
    from tuner.tracking.mlflow_store import MlflowException, open_client

    try:
        open_client(uri).search_experiments(max_results=1)
    except MlflowException:
        return (
            f"refused access ({reason}); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or "
            "MLFLOW_TRACKING_TOKEN, or let the server accept this host (--allowed-hosts)"
        )
    return None
