"""The folder a sweep keeps its state in, and the lock that only one process holds."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trainables.errors import UserError
from trainables.paths import suggest
from trainables.remote import is_remote
from trainables.sources import data_dir
from tuner.journal import fold, read_journal
from tuner.planning import Plan
from tuner.spec import NAME
from tuner.sweep_status import JOURNAL

__all__ = ["bytes_in", "known_folder", "local_root", "locked", "new_folder"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a sweep; raises UserError that names the process that holds it already."""
    owner = folder / "owner"
    try:
        with FileLock(folder / "lock", timeout=0):
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            yield
    except Timeout:
        holder = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
        raise UserError(
            f"sweep {folder.name} is held by {holder}; wait for its end, or stop it with Ctrl-C there"
        ) from None


@contextmanager
def new_folder(plan: Plan) -> Iterator[Path]:
    """The folder of a new sweep, held."""
    root = local_root(plan.spec.storage)
    try:
        folder = _made_folder(root, plan)
    except OSError as error:
        raise UserError(f"storage: {root} cannot be written: {error.strerror}; choose another with --storage") from None
    with locked(folder):
        if not _holds_nothing(folder):
            raise UserError(_taken(root, folder))
        (folder / JOURNAL).unlink(missing_ok=True)
        yield folder


def local_root(storage: Path | str) -> Path:
    """The folder of this machine in which sweeps keep their journals."""
    if not is_remote(str(storage)):
        return Path(storage)
    return data_dir() / "storage" / hashlib.blake2b(str(storage).encode(), digest_size=8).hexdigest()


def known_folder(storage: Path | str, name: str) -> Path:
    """The folder of a sweep that exists; raises UserError for any other name, so that none leads out of `storage`."""
    storage = local_root(storage)
    if not NAME.fullmatch(name) or not (storage / name / JOURNAL).is_file():
        names = sorted(path.parent.name for path in storage.glob(f"*/{JOURNAL}"))
        known = suggest(name, names) if names else "; there is none yet"
        raise UserError(f"name: no sweep {name!r} in {storage}{known}")
    return storage / name


def bytes_in(folder: Path) -> int:
    """What the files below a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _made_folder(root: Path, plan: Plan) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if plan.spec.name is not None:
        folder = root / plan.spec.name
        if folder.exists() and not _holds_nothing(folder):
            raise UserError(_taken(root, folder))
        folder.mkdir(exist_ok=True)
        return folder
    space = plan.space.name.replace("+", "-") or "custom"
    dataset = re.sub(r"[^A-Za-z0-9._-]", "-", Path(plan.default.data.name).stem)
    while True:
        folder = _first_free(root, f"{space}-{dataset}"[:58].strip(".-"))
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def _holds_nothing(folder: Path) -> bool:
    """Whether a start that died left it before the first line of the journal was whole."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    return names <= {"lock", "owner", "spec.yaml", JOURNAL} and not (
        JOURNAL in names and read_journal(folder / JOURNAL)
    )


def _first_free(root: Path, stem: str) -> Path:
    n = 1
    while (root / f"{stem}-{n}").exists():
        n += 1
    return root / f"{stem}-{n}"


def _taken(root: Path, folder: Path) -> str:
    """A finished sweep is asked for its best, one that was cut short goes on."""
    free = _first_free(root, re.sub(r"-\d+$", "", folder.name)).name
    start = f"name: sweep {folder.name!r} exists in {root}"
    if (folder / JOURNAL).is_file() and fold(read_journal(folder / JOURNAL)).resumable:
        return f"{start} and was cut short; go on with `vae-tuner resume {folder.name}`, or choose a free name: {free}"
    return f"{start}; see it with `vae-tuner best --sweep {folder.name}`, or choose a free name such as {free}"
