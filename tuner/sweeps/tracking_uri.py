"""Where MLflow's store is."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from trainables.credentials import holds_secret, shown
from trainables.errors import UserError

_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


def resolve_uri(uri: str | None, base: Path) -> str:
    """The store's absolute URI: `uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` in `base`.

    Raises UserError for a URI that is not a server, a database or Databricks.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme = re.match(r"([a-z]+)(\+\w+)?(:|$)", uri)
    if not scheme or scheme[1] not in _SCHEMES or not _is_url(uri):
        raise UserError(
            f"tracking URI {shown(uri)!r} cannot be used; give a server as http://host:5000 or a database "
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


def sqlite_path(uri: str) -> Path | None:
    """The database file of a SQLite URI, None for any other."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(.+?)(\?.*)?", uri)
    return Path(found[1]) if found else None
