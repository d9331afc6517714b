"""What a store of MLflow holds of a sweep."""

from contextlib import closing
from sqlite3 import connect

from events import parsed

from tuner.tracking.mlflow_store import Tag, ensure_experiment, find_runs, open_client
from tuner.tracking.projection import Projection

GECO = {"objective": {"kind": "geco", "kappa": 0.1 + 0.2}}
"""What a trial under GECO has that is not by default; κ is a number that no decimal is."""


def project(uri, *journals, experiment="vae-tuner", **options):
    """Send whole journals."""
    for journal in journals:
        Projection(open_client(uri), experiment, **options).project(parsed(journal.events))


def runs_of(uri):
    """By trial; the sweep's own as `sweep`."""
    client = open_client(uri)
    return {
        run.data.tags.get(Tag.TRIAL, "sweep"): run
        for run in find_runs(client, ensure_experiment(client, "vae-tuner"), "")
    }


def snapshot(uri):
    """Everything in the store, with runs named by trial instead of by id."""
    client, runs = open_client(uri), runs_of(uri)
    names = {run.info.run_id: name for name, run in runs.items()}
    return {
        name: {
            "tags": {tag: names.get(value, value) for tag, value in run.data.tags.items()},
            "params": run.data.params,
            "status": run.info.status,
            "start": run.info.start_time,
            "end": run.info.end_time,
            "points": sorted(
                (key, point.step, point.timestamp, point.value)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
            "files": [file.path for file in client.list_artifacts(run.info.run_id)],
        }
        for name, run in runs.items()
    }


def execute(uri, *statements):
    """Change a SQLite store behind MLflow's back."""
    with closing(connect(uri.removeprefix("sqlite:///"))) as database, database:
        for statement, values in statements:
            database.execute(statement, values)
