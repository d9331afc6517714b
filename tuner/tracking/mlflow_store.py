"""MLflow as this project uses it: imported quietly, opened by URI, with the names of its tags.

MLflow is imported here first, because it reads its settings as it is imported. That takes a second or two:
modules that can do without it import this one inside functions.
"""

import os

# What the user set stays.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout carries results only
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # its seven block for minutes; the tracker retries itself

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Thread

from mlflow.entities import Metric, Param, Run, RunData, RunTag
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import LogBatch
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking import MlflowClient
from mlflow.tracking.request_header.databricks_request_header_provider import DatabricksRequestHeaderProvider
from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

from trainables.errors import UserError
from tuner.sweeps.tracking_uri import sqlite_path
from tuner.tracking.artifact_root import follow, located, new_root

__all__ = [
    "RANKED",
    "LocalArtifactRepository",
    "LogBatch",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Param",
    "RegisteredModel",
    "RestStore",
    "Run",
    "RunTag",
    "Tag",
    "artifact_repository",
    "as_ranked",
    "at_last_epoch",
    "ended_anyway",
    "ensure_experiment",
    "find_experiment",
    "find_runs",
    "has_tags",
    "is_missing",
    "knock",
    "number_in_filter",
    "open_client",
    "server_root",
    "status_of",
]

if "DATABRICKS_RUNTIME_VERSION" not in os.environ:
    # MLflow asks anew at each request whether it is on Databricks: eleven imports that fail, a third of its time.
    DatabricksRequestHeaderProvider.in_context = lambda provider: False

RANKED = "ranked/"
"""Before the metrics that a trial is ranked by, where that is not its last epoch: MLflow has the last value of each."""
END_SECONDS = 2.0
_PAGE = 1000


class Tag:
    """The names of our tags in MLflow."""

    SWEEP = "vae_tuner.sweep"
    SWEEP_ID = "vae_tuner.sweep_id"
    KIND = "vae_tuner.kind"
    TRIAL = "vae_tuner.trial"
    METHOD = "vae_tuner.method"
    DATASET = "vae_tuner.dataset"
    STOP_REASON = "vae_tuner.stop_reason"
    OUTCOME = "vae_tuner.outcome"
    CONFIG = "vae_tuner.config"
    DATA = "vae_tuner.data"
    CODE = "vae_tuner.code"
    VERSIONS = "vae_tuner.versions"
    # where a configuration has several seeds
    CONFIGURATION = "vae_tuner.configuration"
    REPEATS = "vae_tuner.repeats"
    # on the parent run only
    METRIC = "vae_tuner.metric"
    DIRECTION = "vae_tuner.direction"
    METRICS = "vae_tuner.metrics"
    RANKING = "vae_tuner.ranking"
    MEASURED = "vae_tuner.measured"
    METHODS = "vae_tuner.methods"
    STOP_REASONS = "vae_tuner.stop_reasons"
    BEST_RUN_ID = "vae_tuner.best_run_id"
    BEST_TRIAL = "vae_tuner.best_trial"
    BEST_VALUE = "vae_tuner.best_value"
    BEST_PARAMS = "vae_tuner.best_params"
    CHANGED = "vae_tuner.changed"
    SYNCED = "vae_tuner.synced"
    # on a model version only
    VALUE = "vae_tuner.value"
    # MLflow's own
    PARENT = "mlflow.parentRunId"


def open_client(uri: str) -> MlflowClient:
    """A client of the store at `uri`; creates a missing SQLite database (1.5–6 s)."""
    return MlflowClient(tracking_uri=uri)


def knock(uri: str) -> None:
    """Try a database once; raises what its driver does. MLflow tries ten times, for minutes."""
    from sqlalchemy import NullPool, create_engine

    if not uri.startswith(("http", "databricks", "sqlite")):
        create_engine(uri, poolclass=NullPool).connect().close()


def find_experiment(client: MlflowClient, name: str) -> str | None:
    """The id of an experiment, None where there is none; raises UserError where it was deleted."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise UserError(f"experiment {name!r} was deleted in MLflow; restore it there or choose another --experiment")
    return None if found is None else str(found.experiment_id)


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, created where missing; files of a SQLite store lie in `mlruns` beside it, and a store
    that was moved or copied is told so."""
    found, database = find_experiment(client, name), sqlite_path(client.tracking_uri)
    if found is None:
        return str(client.create_experiment(name, artifact_location=database and new_root(database, name)))
    if database is not None:
        follow(database)
    return found


def server_root(client: MlflowClient, name: str) -> str:
    """Where a server has the files of an experiment, or will most likely have those of a new one: beside those of its
    latest. It does not say before."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.artifact_location)
    latest = client.search_experiments(max_results=1, order_by=["creation_time DESC"])
    return str(latest[0].artifact_location).rpartition("/")[0] if latest else "mlflow-artifacts:"


def artifact_repository(client: MlflowClient, artifact_uri: str) -> ArtifactRepository:
    """The store of files at a run's artifact URI, or where its project folder was moved to. The client's own would ask
    for the run first, and remember by its id where a run's files lie, which is another place in a copy of the store."""
    place = located(client.tracking_uri, artifact_uri)
    uri = add_databricks_profile_info_to_artifact_uri(place, client.tracking_uri)
    return get_artifact_repository(uri, tracking_uri=client.tracking_uri)


def is_missing(error: MlflowException) -> bool:
    """Whether it says that what was asked for is not there; any other is a fault of the store, or of the way to it."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def has_tags(tags: Mapping[str, str]) -> str:
    """The filter of runs with all these tags."""
    return " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())


def number_in_filter(value: float) -> str:
    """A number as MLflow's filters take it: they do not know 1e+22."""
    return f"{value:.0f}" if "e+" in repr(value) else repr(value)


def find_runs(client: MlflowClient, experiment_id: str, filter_string: str, page: int = _PAGE) -> Iterator[Run]:
    """Runs that pass a filter, one request a page, made when the page is reached."""
    token = None
    while True:
        found = client.search_runs([experiment_id], filter_string, max_results=page, page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def at_last_epoch(run: Run) -> Run:
    """A trial's run with the metrics of its last epoch alone: of each name MLflow has the latest value, which may be of
    an epoch before, where the name is not reported every epoch."""
    data = run.data.to_proto()
    last = max((metric.step for metric in data.metrics), default=0)
    whole = [metric for metric in data.metrics if metric.step == last]
    if len(whole) == len(data.metrics):
        return run
    del data.metrics[:]
    data.metrics.extend(whole)
    return Run(run.info, RunData.from_proto(data))


def as_ranked(run: Run) -> Run:
    """A trial's run with the metrics that it is ranked by, where those are not the ones of its last epoch."""
    data = run.data.to_proto()
    ranked = [metric for metric in data.metrics if metric.key.startswith(RANKED)]
    if not ranked:
        return run
    for metric in ranked:
        metric.key = metric.key.removeprefix(RANKED)
    del data.metrics[:]
    data.metrics.extend(ranked)
    return Run(run.info, RunData.from_proto(data))


def status_of(stop_reason: str | None) -> str:
    """MLflow's status of a run that ended so; `None` has not ended."""
    return _STATUS[stop_reason]


_STATUS = {
    None: "RUNNING",
    "completed": "FINISHED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
    "budget": "KILLED",
    "diverged": "FAILED",
    "error": "FAILED",
}


@contextmanager
def ended_anyway(client: MlflowClient, run_id: str) -> Iterator[None]:
    """A run that is being written does not stay RUNNING where that fails (FAILED) or is interrupted (KILLED).

    A store that does not answer is waited for END_SECONDS at most.
    """
    try:
        yield
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        ending = Thread(target=_ended, args=(client, run_id, status), daemon=True)
        ending.start()
        ending.join(END_SECONDS)
        raise


def _ended(client: MlflowClient, run_id: str, status: str) -> None:
    with suppress(Exception):  # what is told is why the run could not be written
        client.set_terminated(run_id, status)
