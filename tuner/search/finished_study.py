"""A sweep as an Optuna study for people: what Optuna's visualisation and dashboard show."""

from __future__ import annotations

import errno
import warnings
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from search_spaces.compile import distributions, parameters
from search_spaces.space import Space
from tuner.search.optuna_study import DIRECTIONS
from tuner.sweeps.atomic_files import new_file
from tuner.sweeps.metrics import is_result
from tuner.sweeps.state import Trial
from tuner.sweeps.status import known_sweep

STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "budget": TrialState.PRUNED}
"""By stop reason. What has none yet, or was interrupted, is RUNNING; everything else is FAIL."""

SUFFIXES = (".db", ".sqlite", ".sqlite3")


def finished_study(storage: str | Path, name: str) -> optuna.Study:
    """A sweep as a study in Optuna's memory.

    A configuration of several seeds is one trial with their means.

    Parameters
    ----------
    storage
        Folder, or URI of object storage, that holds the sweeps.
    name
        Of the sweep.

    Returns
    -------
    optuna.Study
        A trial for each configuration, with the metric by epoch and its final values.

    Raises
    ------
    UserError
        There is no such sweep.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep = known_sweep(storage, name).by_configuration()
    directions = [DIRECTIONS[direction] for direction in sweep.metrics.values()]
    study = optuna.create_study(study_name=sweep.header["name"], directions=directions)
    _name_metrics(study, list(sweep.metrics))
    study.set_user_attr("sweep_id", sweep.header["sweep_id"])
    space = Space.parse(sweep.header["space"])
    study.add_trials([_trial(trial, space, list(sweep.metrics)) for trial in sweep.trials.values()])
    return study


def write_study(study: optuna.Study, file: Path) -> None:
    """Write a new SQLite file that Optuna opens as `sqlite:///FILE`; it appears whole or not at all.

    Parameters
    ----------
    study
        Any study.
    file
        It ends in .db, .sqlite or .sqlite3.

    Raises
    ------
    UserError
        The file exists, has another ending or cannot be written.
    """
    with new_file(file, *SUFFIXES) as part:
        try:
            _copy(study, part)
        except (optuna.exceptions.StorageInternalError, DBAPIError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error.__cause__
            raise OSError(errno.EIO, f"SQLite: {cause or error}") from None


def _copy(study: optuna.Study, file: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    try:
        copied = optuna.create_study(study_name=study.study_name, storage=storage, directions=study.directions)
        _name_metrics(copied, study.metric_names or [])
        for name, value in study.user_attrs.items():
            copied.set_user_attr(name, value)
        copied.add_trials(study.get_trials(deepcopy=False))
    finally:
        storage.engine.dispose()


def _name_metrics(study: optuna.Study, metrics: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(metrics)


def _trial(trial: Trial, space: Space, metrics: list[str]) -> FrozenTrial:
    state = TrialState.RUNNING if trial.unfinished else STATES.get(trial.stop_reason or "", TrialState.FAIL)
    if state == TrialState.COMPLETE and not all(is_result(trial.ranked, metric) for metric in metrics):
        state = TrialState.FAIL
    found = optuna.trial.create_trial(
        state=state,
        values=[trial.ranked[metric] for metric in metrics] if state == TrialState.COMPLETE else None,
        params=parameters(space, trial.assignment),
        distributions=distributions(space, trial.assignment),
        intermediate_values=_by_epoch(trial, metrics),
        user_attrs=_attributes(trial),
    )
    found.datetime_start = datetime.fromtimestamp(trial.begun)
    found.datetime_complete = None if trial.unfinished else datetime.fromtimestamp(trial.heard)
    return found


def _attributes(trial: Trial) -> dict[str, Any]:
    runs = [run.id for run in trial.runs or (trial,)]
    said = {"outcome": trial.outcome, "stop_reason": trial.stop_reason, "error": trial.error}
    known = {name: value for name, value in said.items() if value is not None}
    metrics = {name: value for name, value in trial.ranked.items() if isfinite(value)}
    return {"trial": trial.id, "trials": runs, "seeds": trial.seeds, "method": trial.method, **known, **metrics}


def _by_epoch(trial: Trial, metrics: list[str]) -> dict[int, float]:
    """The metric at each epoch; Optuna has no place for those of several metrics."""
    if len(metrics) > 1:
        return {}
    (metric,) = metrics
    return {report.epoch: report.metrics[metric] for report in trial.reports if metric in report.metrics}
