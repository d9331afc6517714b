"""What events add to the runs of a sweep, and how MLflow is told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tuner.tracking.mlflow_store import LogBatch, Metric, MlflowClient, Param, RestStore, RunTag

_METRICS_PER_CALL = 800  # with 100 params and 100 tags MLflow's limit of 1,000 entities a call


class Point(NamedTuple):
    """A metric at a step. timestamp: in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class NewRun:
    """A run to make. started: in milliseconds since 1970."""

    name: str
    started: int
    tags: Mapping[str, str]


class Made(NamedTuple):
    """A run that was made, and where its files go."""

    run_id: str
    artifact_uri: str


@dataclass(frozen=True)
class Change:
    """What is new of a run. end: of a run that has ended, in milliseconds since 1970."""

    run_id: str
    points: Sequence[Point] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    end: int | None = None


class Records(Protocol):
    """Where the records of runs go. What MLflow refuses raises MlflowException."""

    def create(self, experiment_id: str, runs: Sequence[NewRun]) -> list[Made]:
        """Make runs of an experiment."""

    def write(self, changes: Sequence[Change]) -> None:
        """Write changes, in their order; what is there already may come again."""


def records_of(client: MlflowClient) -> Records:
    """The records of a client's store: in its database, on its server, or by the client alone, which takes longest."""
    store = client._tracking_client.store
    if type(store) is RestStore:
        return ServerRecords(client)
    if not client.tracking_uri.startswith(("http", "databricks")):
        from tuner.tracking.database_records import DatabaseRecords, is_known

        if is_known(store):
            return DatabaseRecords(store)
    return ClientRecords(client)


class ClientRecords:
    """Records by MLflow's client, in as few calls as its limits allow."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def create(self, experiment_id: str, runs: Sequence[NewRun]) -> list[Made]:
        made = [self._client.create_run(experiment_id, run.started, dict(run.tags), run.name).info for run in runs]
        return [Made(info.run_id, info.artifact_uri) for info in made]

    def write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._log(change)
            if change.status is not None:
                self._set_status(change.run_id, change.status, change.end)

    def _log(self, change: Change) -> None:
        """Tags go last, so a run that says `completed` has its metrics."""
        points = change.points
        while len(points) > _METRICS_PER_CALL:
            self._log_batch(Change(change.run_id, points[:_METRICS_PER_CALL]))
            points = points[_METRICS_PER_CALL:]
        if points or change.params or change.tags:
            self._log_batch(Change(change.run_id, points, change.params, change.tags))

    def _log_batch(self, change: Change) -> None:
        self._client.log_batch(
            change.run_id,
            metrics=[Metric(*point) for point in change.points],
            params=[Param(*param) for param in change.params.items()],
            tags=[RunTag(*tag) for tag in change.tags.items()],
        )

    def _set_status(self, run_id: str, status: str, end: int | None) -> None:
        if end is None:
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, end)


class ServerRecords(ClientRecords):
    """Records on a server, of which MLflow's client would make messages, and of these an indented text, in Python."""

    def _log_batch(self, change: Change) -> None:
        parts = {
            "metrics": [point._asdict() for point in change.points],
            "params": [{"key": key, "value": value} for key, value in change.params.items()],
            "tags": [{"key": key, "value": value} for key, value in change.tags.items()],
        }
        body = json.dumps({"run_id": change.run_id, **{name: part for name, part in parts.items() if part}})
        self._client._tracking_client.store._call_endpoint(LogBatch, body)
