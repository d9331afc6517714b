"""Where MLflow's store is, and whether it can be reached.

MLflow itself is imported only where a server asks who we are.
"""

import http.client
import os
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from trainables.credentials import holds_secret, shown
from trainables.errors import UserError
from tuner.tracking.database_file import MEND, check_opens, check_whole

__all__ = ["cause_at", "cause_of", "check_reachable", "check_undamaged", "resolve_uri", "sqlite_path", "without_secret"]

_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
_WAY_OUT = "start the server, or name another one with --tracking-uri"


def resolve_uri(uri: str | None, base: Path) -> str:
    """The store's absolute URI: `uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` in `base`.

    Raises UserError for a URI that is not a server, a database or Databricks.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme = re.match(r"([a-z]+)(\+\w+)?(:|$)", uri)
    if not scheme or scheme[1] not in _SCHEMES or not _is_url(uri):
        raise UserError(
            f"tracking URI {shown(uri)!r} is not one that can be used; give a server as http://host:5000 or a database "
            "as sqlite:///mlflow.db"
        )
    path = sqlite_path(uri)
    if scheme[1] == "sqlite" and (path is None or path.name == ":memory:"):
        raise UserError(
            f"tracking URI {shown(uri)!r} is a database in memory, which ends with its process; give a file as "
            "sqlite:///mlflow.db"
        )
    return uri if path is None else f"sqlite:///{(base / path).resolve()}"


def _is_url(uri: str) -> bool:
    try:
        return "\0" not in uri and urlsplit(uri) is not None
    except ValueError:
        return False


def without_secret(uri: str | None) -> str | None:
    """A URI that may be written down, None for one with a user's name or a secret in it."""
    return None if uri and holds_secret(uri) else uri


def cause_of(error: BaseException) -> str:
    """What an error of MLflow's says, on one line; it may quote the URI with its password."""
    return shown((str(error).strip() or type(error).__name__).splitlines()[0])


def cause_at(uri: str, error: BaseException) -> str:
    """The same of an error of the store at `uri`; where its file is damaged, that, and what to do."""
    try:
        check_undamaged(uri)
    except UserError as damage:
        return str(damage)
    return cause_of(error)


def sqlite_path(uri: str) -> Path | None:
    """The database file of a SQLite URI, None for any other."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(.+?)(\?.*)?", uri)
    return Path(found[1]) if found else None


def check_reachable(uri: str, seconds: float = 5.0) -> None:
    """Try the store once; raises UserError with the URI and the way out. Creates nothing."""
    path = sqlite_path(uri)
    if path is not None:
        _check_database(uri, path)
    elif uri.startswith(("http://", "https://")):
        _check_server(uri, seconds)


def _check_database(uri: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"tracking URI {uri}: folder {path.parent} does not exist; create it, or pass --tracking-uri")
    if path.is_dir():
        raise UserError(f"tracking URI {uri}: {path} is a folder; name a file in it: sqlite:///{path}/mlflow.db")
    if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
        raise UserError(f"tracking URI {uri} cannot be written; change its permissions, or pass --tracking-uri")
    if path.exists() and not _is_sqlite(path):
        raise UserError(
            f"tracking URI {uri}: {path} is no SQLite database; pass another --tracking-uri or, if it was one, {MEND}"
        )
    check_opens(path)


def check_undamaged(uri: str) -> None:
    """Raises UserError where the store is a file that is damaged anywhere; reads all of it, for whoever has got an
    error from it, or is about to train."""
    path = sqlite_path(uri)
    if path is not None:
        check_whole(path)


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
    return None if is_mlflow else f"answers, but is no MLflow server; {_WAY_OUT}"


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
