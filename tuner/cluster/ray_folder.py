"""The folder of a Ray that is started here: short enough for its sockets, nobody else's, and removed with its end."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainables.errors import UserError

PREFIX = "vae-ray-"
LOCK = "driver.lock"
SOCKET = "/vae-ray-00000000/session_0000-00-00_00-00-00_000000_0000000/sockets/plasma_store"
MOST_BYTES = (103 if sys.platform == "darwin" else 107) - len(SOCKET)
"""Of a base folder: the path of a socket holds no more."""
REMOVE_SECONDS = 3.0


def base_folder() -> Path:
    """Where Ray's folder is made: RAY_TMPDIR, else the folder for temporary files, else a shorter one.

    Raises UserError where RAY_TMPDIR cannot be used, or nothing can.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    if chosen:
        if fault := _fault(Path(chosen)):
            raise UserError(f"RAY_TMPDIR: {chosen} {fault}; set a shorter one that can be written, or leave it out")
        return Path(chosen)
    usual = Path(tempfile.gettempdir())
    for folder in (usual, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        if not _fault(folder):
            return folder
    raise UserError(
        f"TMPDIR: {usual} {_fault(usual)}, and so it is with /tmp; set RAY_TMPDIR to a short folder for Ray"
    )


def _fault(folder: Path) -> str | None:
    if len(os.fsencode(folder.absolute())) > MOST_BYTES:
        return f"is longer than the {MOST_BYTES} bytes that leave room for the names of Ray's sockets"
    return (
        None if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) else "is not a folder that can be written to"
    )


class RayFolder:
    """A new folder, which its lock tells from those that drivers who died have left behind; they are removed."""

    def __init__(self) -> None:
        base = base_folder().absolute()
        for left in base.glob(f"{PREFIX}*"):
            _remove_where_left(left)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        part = self.path / f"{LOCK}.part"
        self._lock = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.rename(self.path / LOCK)  # held from the first moment that others see it

    def remove(self) -> None:
        """Remove it; processes that are just ending may still write into it."""
        end = time.monotonic() + REMOVE_SECONDS
        while self.path.exists() and time.monotonic() < end:
            shutil.rmtree(self.path, ignore_errors=True)
            if self.path.exists():
                time.sleep(0.1)
        os.close(self._lock)


def _remove_where_left(folder: Path) -> None:
    """Remove a folder of this user's that nobody holds. One that is just being made has no lock yet, and stays."""
    with suppress(OSError), _held(folder / LOCK):
        if folder.stat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    file = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)
