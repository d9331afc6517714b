"""What a sweep keeps on disk, taken away."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trainables.errors import UserError
from trainables.paths import suggest
from tuner.journal import fold, read_journal
from tuner.spec import NAME
from tuner.sweep_status import JOURNAL, ranked_trials

__all__ = ["Removed", "bytes_in", "remove_sweep", "sweep_folder"]


@dataclass(frozen=True)
class Removed:
    """What is gone. kept: the trial whose folder was left; runs: how many MLflow runs were deleted."""

    name: str
    bytes_freed: int
    kept: str | None
    runs: int


def sweep_folder(storage: Path, name: str) -> Path:
    """The folder of a sweep that exists; raises UserError for any other name, so that none leads out of `storage`."""
    if not NAME.fullmatch(name) or not (storage / name / JOURNAL).is_file():
        names = sorted(path.parent.name for path in storage.glob(f"*/{JOURNAL}"))
        known = suggest(name, names) if names else "; there is none yet"
        raise UserError(f"name: no sweep {name!r} in {storage}{known}")
    return storage / name


def remove_sweep(storage: Path, name: str, *, keep_best: bool = False, uri: str | None = None) -> Removed:
    """Delete a sweep's folder; with `keep_best` only the other trials' folders, so that journal and winner stay.

    uri: where MLflow's runs of the sweep are deleted too; None leaves them. Raises UserError while a driver runs it.
    """
    folder = sweep_folder(storage, name)
    try:
        with FileLock(folder / "lock", timeout=0):
            sweep = fold(read_journal(folder / JOURNAL))
            runs = _delete_runs(uri, sweep.header["spec"]["tracking"]["experiment"], sweep.header["sweep_id"])
            best = next((trial.id for trial in ranked_trials(sweep)), None) if keep_best else None
            before = bytes_in(folder)
            for trial in folder.glob("trials/*"):
                if trial.name != best:
                    shutil.rmtree(trial)
            if not keep_best:
                shutil.rmtree(folder)
    except Timeout:
        raise UserError(f"sweep {name} is being run; stop it first (Ctrl-C in its terminal)") from None
    return Removed(name, before - bytes_in(folder), best, runs)


def _delete_runs(uri: str | None, experiment: str, sweep_id: str) -> int:
    if uri is None:
        return 0
    from tuner.mlflow_store import Tag, find_runs, has_tags, open_client

    client = open_client(uri)
    found = client.get_experiment_by_name(experiment)
    runs = list(find_runs(client, found.experiment_id, has_tags({Tag.SWEEP_ID: sweep_id}))) if found else []
    for run in runs:
        client.delete_run(run.info.run_id)
    return len(runs)


def bytes_in(folder: Path) -> int:
    """What the files below a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
