"""The store of a sweep that exists, also where its folder was moved or copied since it began."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.errors import StorageError, UserError
from trainables.object_storage import is_remote
from tuner.sweeps.state import Sweep
from tuner.sweeps.storage import open_storage
from tuner.sweeps.tracking_uri import resolve_uri, sqlite_path


def store_of(sweep: Sweep, place: str, uri: str | None) -> str:
    """The store of a sweep that is kept in `place` today: `uri`, else its own, which has moved with the sweep where it
    lies as before beside it.

    Raises UserError where its own was not written down, and for a copy of a sweep, which would write onto the runs of
    the original. A store that was not written down is on a server; a database file is another.
    """
    own = sweep.header["tracking_uri"]
    known = uri or _moved_along(sweep.header, place) or own or os.environ.get("MLFLOW_TRACKING_URI")
    if not known:
        raise UserError(
            f"the tracking URI of sweep {sweep.header['name']} held a password, which its journal does not keep; pass "
            "it again with --tracking-uri, or set MLFLOW_TRACKING_URI"
        )
    store = resolve_uri(known, Path.cwd())
    is_own = own == store or (own is None and sqlite_path(store) is None)
    if is_own and (original := _original(sweep, place)):
        raise UserError(
            f"sweep {sweep.header['name']} in {place} is a copy of the one in {original}, onto whose MLflow runs it "
            "would write; go on there, or name a store of its own: --tracking-uri sqlite:///mlflow.db"
        )
    return store


def _moved_along(header: Mapping[str, Any], place: str) -> str | None:
    """The SQLite store that lies to the sweep's place today as its own lay when it began, None where there is none."""
    database, began = sqlite_path(header["tracking_uri"] or ""), header.get("place")
    if database is None or began in (None, place) or is_remote(began) or is_remote(place):
        return None
    today = Path(os.path.normpath(Path(place, os.path.relpath(database, began))))
    return f"sqlite:///{today}" if today.is_file() else None


def _original(sweep: Sweep, place: str) -> str | None:
    """Where else the sweep was once and still is: there is what this is a copy of."""
    return next((other for other in reversed(sweep.places) if other != place and _holds(other, sweep, place)), None)


def _holds(other: str, sweep: Sweep, place: str) -> bool:
    """Whether a sweep of this id is in another place."""
    if _is_same_folder(other, place):
        return False
    path, query, parameters = other.partition("?") if is_remote(other) else (other, "", "")
    root, _, name = path.rpartition("/")
    try:
        events = open_storage(f"{root}{query}{parameters}").lines(name)
    except (StorageError, UserError, OSError):
        return False
    return bool(events) and events[0].get("sweep_id") == sweep.header["sweep_id"]


def _is_same_folder(one: str, other: str) -> bool:
    """Whether two paths are two names of a folder, as of a mount or a link."""
    return not (is_remote(one) or is_remote(other)) and Path(one).exists() and Path(one).samefile(other)
