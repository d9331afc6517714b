"""MLflow as this project uses it: imported quietly, opened by URI, with the names of its tags.

MLflow is imported here and nowhere else, because it reads its settings as it is imported. That takes a second or two:
modules that can do without it import this one inside functions.
"""

import os

# What the user set stays.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout carries results only
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # its seven block for minutes; the tracker retries itself

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trainables.errors import UserError
from tuner.tracking_uri import sqlite_path

__all__ = [
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Run",
    "Tag",
    "ensure_experiment",
    "find_runs",
    "has_tags",
    "log_batches",
    "open_client",
    "status_of",
]

_PAGE = 1000
_METRICS_PER_CALL = 800  # with 100 params and 100 tags MLflow's limit of 1,000 entities a call


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
    # on the parent run only
    METRIC = "vae_tuner.metric"
    DIRECTION = "vae_tuner.direction"
    METHODS = "vae_tuner.methods"
    STOP_REASONS = "vae_tuner.stop_reasons"
    BEST_RUN_ID = "vae_tuner.best_run_id"
    BEST_TRIAL = "vae_tuner.best_trial"
    BEST_VALUE = "vae_tuner.best_value"
    BEST_PARAMS = "vae_tuner.best_params"
    SYNCED = "vae_tuner.synced"
    # MLflow's own
    PARENT = "mlflow.parentRunId"


def open_client(uri: str) -> MlflowClient:
    """A client of the store at `uri`; creates a missing SQLite database (1.5–6 s)."""
    return MlflowClient(tracking_uri=uri)


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, created where missing; artifacts of a SQLite store lie in `mlruns` beside it."""
    found = client.get_experiment_by_name(name)
    if found is None:
        database = sqlite_path(client.tracking_uri)
        location = database and str(database.parent / "mlruns" / quote(name, safe=""))
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage != "active":
        raise UserError(f"experiment {name!r} was deleted in MLflow; restore it there or choose another --experiment")
    return str(found.experiment_id)


def has_tags(tags: Mapping[str, str]) -> str:
    """The filter of runs with all these tags."""
    return " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())


def find_runs(client: MlflowClient, experiment_id: str, filter_string: str, page: int = _PAGE) -> Iterator[Run]:
    """Runs that pass a filter, one request a page, made when the page is reached."""
    token = None
    while True:
        found = client.search_runs([experiment_id], filter_string, max_results=page, page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def log_batches(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[Metric] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log in as few calls as MLflow's limits allow; tags go last, so a run that says `completed` has its metrics."""
    chunks = [metrics[start : start + _METRICS_PER_CALL] for start in range(0, len(metrics), _METRICS_PER_CALL)] or [[]]
    for chunk in chunks[:-1]:
        client.log_batch(run_id, metrics=chunk)
    client.log_batch(
        run_id,
        metrics=chunks[-1],
        params=[Param(key, value) for key, value in (params or {}).items()],
        tags=[RunTag(key, value) for key, value in (tags or {}).items()],
    )


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
