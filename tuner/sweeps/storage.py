"""Where sweeps keep their state: a folder, or object storage."""

from __future__ import annotations

from pathlib import Path

from trainables.object_storage import is_remote
from tuner.sweeps.folder import LocalStorage, Storage


def open_storage(storage: str | Path) -> Storage:
    """The sweeps in a folder, or below a URI such as `s3://bucket/sweeps`."""
    if not is_remote(str(storage)):
        return LocalStorage(Path(storage))
    from tuner.sweeps.object_storage import RemoteStorage

    return RemoteStorage(str(storage).rstrip("/"))
