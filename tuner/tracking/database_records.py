"""Records of runs in a database of MLflow's, by a few statements a batch.

MLflow's own `log_batch` makes an object of each point, which takes .2 ms. These leave in its tables what it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.tracking.dbmodels.models import (
    SqlExperiment,
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.uri import append_to_uri_path
from mlflow.utils.validation import _validate_batch_log_data, _validate_metric
from sqlalchemy import Connection, Table, bindparam, func, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from tuner.tracking.records import Made

if TYPE_CHECKING:
    from tuner.tracking.records import Change, NewRun, Point

SCHEMA = "dc11669786a5"
"""The revision of MLflow's tables that is known here."""
_EXPERIMENTS, _RUNS = SqlExperiment.__table__, SqlRun.__table__
_PARAMS, _TAGS = SqlParam.__table__, SqlTag.__table__
_POINTS, _LATEST = SqlMetric.__table__, SqlLatestMetric.__table__
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_AGE = ("step", "timestamp", "value")
"""By what MLflow takes the latest of a metric's points."""
_age = itemgetter(*_AGE)

Row = dict[str, Any]


def is_known(store: SqlAlchemyStore) -> bool:
    """Whether a database is of a kind and of a schema that are known here."""
    if type(store) is not SqlAlchemyStore or store.engine.dialect.name not in _INSERT:
        return False
    with store.engine.connect() as connection:
        return list(connection.scalars(text("SELECT version_num FROM alembic_version"))) == [SCHEMA]


class DatabaseRecords:
    """Records in the database of a store, a transaction a batch."""

    def __init__(self, store: SqlAlchemyStore) -> None:
        self._store = store
        self._insert = _INSERT[store.engine.dialect.name]
        self._names: set[str] = set()

    def create(self, experiment_id: str, runs: Sequence[NewRun]) -> list[Made]:
        with self._store.ManagedSessionMaker(read_only=False) as session:
            connection = session.connection()
            root = _artifact_root(connection, experiment_id)
            ids = [uuid4().hex for _ in runs]
            made = [Made(run_id, append_to_uri_path(root, run_id, self._store.ARTIFACTS_FOLDER_NAME)) for run_id in ids]
            tags = [{MLFLOW_RUN_NAME: run.name, **run.tags} for run in runs]
            self._add(connection, _RUNS, [_new_row(experiment_id, *pair) for pair in zip(made, runs, strict=True)])
            self._add(connection, _TAGS, [row for pair in zip(ids, tags, strict=True) for row in _rows(*pair)])
        return made

    def write(self, changes: Sequence[Change]) -> None:
        points = [self._point(change.run_id, point) for change in changes for point in change.points]
        params, tags = [], []
        for change in changes:
            _, own_params, own_tags = _validate_batch_log_data(
                [], [Param(*item) for item in change.params.items()], [RunTag(*item) for item in change.tags.items()]
            )
            params += _rows(change.run_id, {param.key: param.value for param in own_params})
            tags += _rows(change.run_id, {tag.key: tag.value for tag in own_tags})
        with self._store.ManagedSessionMaker(read_only=False) as session:
            connection = session.connection()
            _check_active(connection, {change.run_id for change in changes})
            self._add(connection, _PARAMS, params)
            self._add(connection, _POINTS, points)
            self._put(connection, _LATEST, _latest(points), _AGE)
            self._put(connection, _TAGS, tags)
            _set_statuses(connection, changes)

    def _point(self, run_id: str, point: Point) -> Row:
        if point.key not in self._names:
            _validate_metric(*point)
            self._names.add(point.key)
        is_nan, value = self._store.sanitize_metric_value(point.value)
        return {
            "run_uuid": run_id,
            "key": point.key,
            "value": value,
            "timestamp": point.timestamp,
            "step": point.step,
            "is_nan": is_nan,
        }

    def _add(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Add the rows that are not there."""
        if rows:
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _put(self, connection: Connection, table: Table, rows: Sequence[Row], age: Sequence[str] = ()) -> None:
        """Put rows in place of those of their keys, or of those alone that are older."""
        if not rows:
            return
        new = self._insert(table)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=table.primary_key.columns,
                set_={column.name: new.excluded[column.name] for column in table.columns if not column.primary_key},
                where=tuple_(*(new.excluded[name] for name in age)) > tuple_(*(table.c[name] for name in age))
                if age
                else None,
            ),
            rows,
        )


def _rows(run_id: str, values: Mapping[str, str]) -> list[Row]:
    return [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]


def _artifact_root(connection: Connection, experiment_id: str) -> str:
    """Where the files of an experiment's runs go."""
    known = select(_EXPERIMENTS.c.artifact_location).where(
        _EXPERIMENTS.c.experiment_id == int(experiment_id), _EXPERIMENTS.c.lifecycle_stage == "active"
    )
    root = connection.scalar(known)
    if root is None:
        raise MlflowException(f"experiment {experiment_id} is not there, or was deleted", INVALID_PARAMETER_VALUE)
    return str(root)


def _new_row(experiment_id: str, made: Made, run: NewRun) -> Row:
    return {
        "run_uuid": made.run_id,
        "experiment_id": int(experiment_id),
        "name": run.name,
        "artifact_uri": made.artifact_uri,
        "start_time": run.started,
        "status": "RUNNING",
        "lifecycle_stage": "active",
        "user_id": run.tags.get(MLFLOW_USER, "unknown"),
        "source_type": "UNKNOWN",
        "source_name": "",
        "source_version": "",
        "entry_point_name": "",
    }


def _latest(points: Iterable[Row]) -> list[Row]:
    """The latest point of each metric of each run, the first of several; in one order, so that no two writers wait for
    each other."""
    found: dict[tuple[str, str], Row] = {}
    for row in points:
        known = found.setdefault((row["run_uuid"], row["key"]), row)
        if _age(row) > _age(known):
            found[row["run_uuid"], row["key"]] = row
    return [found[key] for key in sorted(found)]


def _check_active(connection: Connection, run_ids: set[str]) -> None:
    active = select(_RUNS.c.run_uuid).where(_RUNS.c.run_uuid.in_(run_ids), _RUNS.c.lifecycle_stage == "active")
    for run_id in run_ids.difference(connection.scalars(active)):
        raise MlflowException(f"run {run_id} is not there, or was deleted", INVALID_PARAMETER_VALUE)


def _set_statuses(connection: Connection, changes: Iterable[Change]) -> None:
    ended = bindparam("ended", type_=_RUNS.c.end_time.type)
    rows = [
        {"run": change.run_id, "now": change.status, "ended": change.end}
        for change in changes
        if change.status is not None
    ]
    if rows:
        connection.execute(
            update(_RUNS)
            .where(_RUNS.c.run_uuid == bindparam("run"))
            .values(status=bindparam("now"), end_time=func.coalesce(ended, _RUNS.c.end_time)),
            rows,
        )
