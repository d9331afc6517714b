"""Where the files of runs lie.

MLflow writes down absolute paths. For a SQLite store, whose files lie in `mlruns` beside it, they are read as relative
to the database: a project folder may be moved or copied.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tuner.sweeps.tracking_uri import sqlite_path
from tuner.tracking.database_file import reading

_FOLDER = "mlruns"
_DERIVED = (("runs", "artifact_uri"), ("model_versions", "source"), ("model_versions", "storage_location"))


def new_root(database: Path, experiment: str) -> str:
    """Where the files of a new experiment of a SQLite store go."""
    return str(database.parent / _FOLDER / quote(experiment, safe=""))


def located(tracking_uri: str, location: str) -> str:
    """Where files are today that a store says to be at `location`: P/mlruns/REST is mlruns/REST beside the database
    where that exists, and where P does not."""
    database, recorded = sqlite_path(tracking_uri), local_path(location)
    if database is None or recorded is None or _FOLDER not in recorded.parts:
        return location
    if recorded.is_relative_to(database.parent):
        return location
    at = len(recorded.parts) - 1 - recorded.parts[::-1].index(_FOLDER)
    root, today = Path(*recorded.parts[:at]), database.parent.joinpath(*recorded.parts[at:])
    if root.is_dir() and (root.samefile(database.parent) or not today.exists()):
        return location
    return str(today)


def local_path(location: str) -> Path | None:
    """The path that an artifact location means on this machine, None for one that is elsewhere."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if re.match(r"[\w+.-]+:", location) else Path(location)


def follow(database: Path) -> None:
    """Write into a SQLite store that was moved or copied where its files are today: those of its experiments, runs and
    registered models, in one transaction."""
    uri = f"sqlite:///{database}"
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for key, recorded in list(connection.execute("SELECT experiment_id, artifact_location FROM experiments")):
            today = located(uri, recorded or "")
            if not recorded or today == recorded:
                continue
            for table, column in _DERIVED:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (today, len(recorded) + 1, len(recorded) + 1, f"{recorded}/"),
                )
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (today, key))


def recorded_root(database: Path, experiment: str) -> str | None:
    """Where a SQLite store says that an experiment's files lie; None where it does not know the experiment."""
    if not database.is_file():
        return None
    try:
        with reading(database) as connection:
            found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,))
            return next((str(location) for (location,) in found), None)
    except sqlite3.Error:
        return None
