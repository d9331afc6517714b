"""What a sweep keeps on disk, taken away."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tuner.journal import Sweep, check_begun, fold, read_journal
from tuner.sweep_folder import bytes_in, known_folder, locked
from tuner.sweep_objects import objects_of, remove_objects
from tuner.sweep_status import JOURNAL, ranked_trials
from tuner.tracking_uri import store_of

__all__ = ["Removed", "remove_sweep"]


@dataclass(frozen=True)
class Removed:
    """What is gone. kept: the trial whose folder was left; runs: how many MLflow runs were deleted."""

    name: str
    bytes_freed: int
    kept: str | None
    runs: int


def remove_sweep(
    storage: Path | str, name: str, *, keep_best: bool = False, with_runs: bool = False, uri: str | None = None
) -> Removed:
    """Delete a sweep's folder; with `keep_best` only the other trials' folders, so that journal and winner stay.

    with_runs: delete its MLflow runs too, in the store `uri`, by default the sweep's own. Raises UserError while a
    driver runs it.
    """
    folder = known_folder(storage, name)
    with locked(folder):
        sweep = fold(read_journal(folder / JOURNAL))
        if keep_best or with_runs:
            check_begun(sweep)
        runs = _delete_runs(store_of(sweep.header, uri), sweep) if with_runs else 0
        best = next((trial.id for trial in ranked_trials(sweep)), None) if keep_best else None
        freed = _remove_remote(storage, name, best, keep_best)
        before = bytes_in(folder)
        for trial in folder.glob("trials/*"):
            if trial.name != best:
                shutil.rmtree(trial)
        if not keep_best:
            shutil.rmtree(folder)
    return Removed(name, freed + before - bytes_in(folder), best, runs)


def _remove_remote(storage: Path | str, name: str, best: str | None, keep_best: bool) -> int:
    """The same in object storage, where it is kept there; returns the bytes freed."""
    objects = objects_of(storage, name)
    if objects is None:
        return 0
    if keep_best:
        return remove_objects(objects, best or "")
    freed = sum(objects.sizes().values())
    objects.clear()
    return freed


def _delete_runs(uri: str, sweep: Sweep) -> int:
    from tuner.mlflow_store import Tag, find_runs, has_tags, open_existing

    client = open_existing(uri)
    found = client.get_experiment_by_name(sweep.header["spec"]["tracking"]["experiment"])
    identity = has_tags({Tag.SWEEP_ID: sweep.header["sweep_id"]})
    runs = list(find_runs(client, found.experiment_id, identity)) if found else []
    for run in runs:
        client.delete_run(run.info.run_id)
    return len(runs)
