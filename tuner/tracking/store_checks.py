"""Whether a store answers, and takes what a sweep will write: asked before anything is trained."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.credentials import shown
from trainables.errors import UserError
from trainables.folder import LocalFolder
from tuner.sweeps.tracking_uri import cause_of, sqlite_path
from tuner.tracking.artifact_root import local_path, located, new_root, recorded_root
from tuner.tracking.database_file import check_undamaged, reading
from tuner.tracking.store_errors import answering

if TYPE_CHECKING:
    from tuner.tracking.mlflow_store import MlflowClient

READ_BYTES = 10**8
"""A database of so many bytes is read through in about a second."""
PROBE = "vae-tuner.probe"
"""A file beside those of runs, written and taken away; and the tag of an experiment, which stays."""


def check_store(uri: str, experiment: str) -> None:
    """Raises UserError where a store that is reachable cannot be opened, or refuses records or files of an experiment
    that is there. A database file that is missing is not made."""
    database = sqlite_path(uri)
    if database is not None and database.exists() and database.stat().st_size <= READ_BYTES:
        check_undamaged(uri)
    if database is None:
        _check_server(uri, experiment)
    elif database.exists() and not is_well(database, experiment):
        _check_experiment(uri, experiment)
    check_artifacts(uri, experiment)


def begin_experiment(uri: str, experiment: str) -> None:
    """Make an experiment that is missing on a server, and try to write there; raises UserError where it refuses."""
    if sqlite_path(uri) is not None:
        return
    from tuner.tracking.mlflow_store import ensure_experiment, find_experiment, open_client

    with answering(uri):
        client = open_client(uri)
        is_new = find_experiment(client, experiment) is None
    if is_new:
        with _taking(uri, experiment, "records"):
            ensure_experiment(client, experiment)
        _try_writes(client, uri, experiment)


def _check_server(uri: str, experiment: str) -> None:
    client = _check_experiment(uri, experiment)
    with answering(uri):
        known = client.get_experiment_by_name(experiment)
    if known:
        _try_writes(client, uri, experiment)


def _check_experiment(uri: str, experiment: str) -> MlflowClient:
    from tuner.tracking.mlflow_store import find_experiment, knock, open_client

    with answering(uri):
        knock(uri)
        client = open_client(uri)
        find_experiment(client, experiment)
        return client


def _try_writes(client: MlflowClient, uri: str, experiment: str) -> None:
    """A write of each kind: a tag of the experiment, which takes the right to write its runs, and a file beside theirs.

    A probe in a run would stay with those who may not delete it. Where files go to a folder, or to Databricks, which
    has no place beside its runs, they are not tried here.
    """
    from tuner.tracking.run_files import RunFiles

    with answering(uri):
        known = client.get_experiment_by_name(experiment)
    with _taking(uri, experiment, "records"):
        client.set_experiment_tag(known.experiment_id, PROBE, "written")
    if local_path(known.artifact_location) is None and not uri.startswith("databricks"):
        with _taking(uri, experiment, "files"):
            files = RunFiles(client, known.artifact_location)
            files.send_text(PROBE, "written")
        with suppress(Exception):  # who may write may not delete, and some stores cannot
            files.remove(PROBE)


@contextmanager
def _taking(uri: str, experiment: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # MLflow's, of its HTTP client, of a store of files or its missing package
        raise UserError(
            f"tracking {shown(uri)} does not accept {what} of experiment {experiment!r}: {cause_of(error)}; ask "
            "for the right to write there, or name another --experiment"
        ) from None


def is_well(database: Path, experiment: str) -> bool:
    """Whether a database is of the installed MLflow, by its last migration, and the experiment not deleted: MLflow
    itself takes seconds to say so."""
    package = find_spec("mlflow")
    folder = Path(package.origin or "").parent / "store" / "db_migrations" / "versions" if package else database
    steps = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    deleted = "SELECT count(*) FROM experiments WHERE name = ? AND lifecycle_stage = 'deleted'"
    try:
        with reading(database) as connection:
            ((last,),) = connection.execute("SELECT version_num FROM alembic_version")
            ((n_deleted,),) = connection.execute(deleted, (experiment,))
    except (sqlite3.Error, ValueError):
        return False
    return not n_deleted and f'\nrevision = "{last}"' in steps and f'\ndown_revision = "{last}"' not in steps


def artifact_root(uri: str, experiment: str) -> str:
    """Where the files of an experiment's next runs will be; raises UserError for a server that does not say."""
    database = sqlite_path(uri)
    if database is not None:
        recorded = recorded_root(database, experiment)
        return located(uri, recorded) if recorded else new_root(database, experiment)
    from tuner.tracking.mlflow_store import open_client, server_root

    with answering(uri):
        return server_root(open_client(uri), experiment)


def check_artifacts(uri: str, experiment: str) -> None:
    """Raises UserError where the files of runs go to a folder that this machine cannot write."""
    root = local_path(artifact_root(uri, experiment))
    if root is None:
        return
    try:
        LocalFolder(root).try_writing()
    except OSError as error:
        way_out = (
            "change its permissions, or name another --experiment"
            if sqlite_path(uri)
            else "let the server pass files on (mlflow server --serve-artifacts) and create the experiment there "
            f"(mlflow experiments create --experiment-name {shlex.quote(experiment)}), or name another server with "
            "--tracking-uri"
        )
        raise UserError(
            f"tracking {shown(uri)}: the files of experiment {experiment!r} go to {root}, which cannot be written from "
            f"here ({error.strerror}); {way_out}"
        ) from None
