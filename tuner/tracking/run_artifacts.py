"""The files that a run of MLflow keeps: its checkpoint, its configuration."""

from __future__ import annotations

from pathlib import Path

from trainables.config import TrialConfig
from trainables.credentials import shown
from trainables.errors import UserError
from trainables.files.trial_files import BEST_NAME, FILE_NAME
from tuner.sweeps.tracking_uri import cause_of
from tuner.tracking.configurations import config_of
from tuner.tracking.mlflow_store import MlflowClient, MlflowException, Run, Tag, is_missing
from tuner.tracking.reachability import open_existing
from tuner.tracking.run_files import RunFiles
from tuner.tracking.store_errors import in_a_sentence


@in_a_sentence
def artifact(uri: str, run_id: str, name: str, folder: Path) -> Path:
    """Download a run's file into `folder`; raises UserError for a run, or a file of it, that is not there."""
    client = open_existing(uri)
    return require_artifact(client, _known_run(client, run_id), name).fetch(name, folder)


@in_a_sentence
def checkpoint(uri: str, run_id: str, folder: Path) -> Path:
    """Download a run's checkpoint into `folder`: of its best epoch where it was ranked by that, else of the last."""
    client = open_existing(uri)
    files = require_artifact(client, _known_run(client, run_id), FILE_NAME)
    return files.fetch(BEST_NAME if BEST_NAME in files.names() else FILE_NAME, folder)


def require_artifact(client: MlflowClient, run: Run, name: str) -> RunFiles:
    """The files of a run, where this one is among them; raises UserError where it is not."""
    run_id, files = run.info.run_id, RunFiles(client, run.info.artifact_uri)
    try:
        there = files.names()
    except Exception as error:  # whatever the store of artifacts raises
        raise UserError(f"the files of run {run_id!r} cannot be listed: {cause_of(error)}") from None
    if name not in there:
        raise UserError(f"run {run_id!r} has no {name}; only trials that completed keep theirs")
    return files


@in_a_sentence
def config_beside(uri: str, run_id: str) -> TrialConfig | None:
    """What a run's checkpoint has to agree with: its configuration, None for a run of an earlier version.

    Raises UserError where the run's own file is not what the run was trained with.
    """
    client = open_existing(uri)
    run = _known_run(client, run_id)
    return config_of(client, run) if Tag.CONFIG in run.data.tags else None


def _known_run(client: MlflowClient, run_id: str) -> Run:
    """A run by its id; raises UserError where there is none, and where it was deleted."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if not is_missing(error):
            raise
        raise UserError(
            f"run {run_id!r} is not in {shown(client.tracking_uri)}; `vae-tuner best` prints the ids of runs"
        ) from None
    if run.info.lifecycle_stage == "deleted":
        raise UserError(f"run {run_id!r} was deleted in MLflow; restore it there, or ask `vae-tuner best` for another")
    return run
