"""What a sweep keeps in object storage, where its storage is a URI: its trials' checkpoints and results."""

from __future__ import annotations

from pathlib import Path

from trainables.files.trial_files import TrialFiles, trial_files
from trainables.object_storage import RemoteFolder, is_remote

TRIALS = "trials"


def objects_of(storage: str | Path, name: str) -> RemoteFolder | None:
    """A sweep's folder in object storage, None where the storage is a folder of a disk."""
    return RemoteFolder(str(storage)) / name if is_remote(str(storage)) else None


def trials_of(storage: str | Path, folder: Path) -> str:
    """Where a sweep's trials keep their files, for every node: a path, or a URI. folder: the sweep's own here."""
    objects = objects_of(storage, folder.name)
    return str(objects / TRIALS) if objects else str((folder / TRIALS).resolve())


def files_of(storage: str | Path, name: str, trial: str) -> TrialFiles:
    """A trial's files, wherever its sweep is kept."""
    objects = objects_of(storage, name)
    return trial_files(str(objects / TRIALS) if objects else Path(storage) / name / TRIALS, trial)


def remove_objects(objects: RemoteFolder, but: str) -> int:
    """Delete the files of all trials but one; returns the bytes freed."""
    trials = objects / TRIALS
    others = {path: size for path, size in trials.sizes().items() if path.partition("/")[0] != but}
    for trial in {path.partition("/")[0] for path in others}:
        (trials / trial).clear()
    return sum(others.values())
