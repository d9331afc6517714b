"""Sweeps in a folder of a file system: each keeps its state below its name, and one process holds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainables.config.paths import suggest
from trainables.data.readers.fetched import DATA, file_name
from trainables.errors import UserError
from trainables.folder import Folder, LocalFolder, bytes_in, explained
from trainables.object_storage import folder_at
from tuner.sweeps.events import Line
from tuner.sweeps.journal import JOURNAL, Claim, Journal, read_journal
from tuner.sweeps.lease import is_held, is_owner_file, leased
from tuner.sweeps.spec import NAME
from tuner.sweeps.state import fold

TRIALS = "trials"


class Storage(Protocol):
    """Where sweeps keep their state."""

    def names(self) -> list[str]:
        """The sweeps that have begun, sorted."""

    def exists(self, name: str) -> bool:
        """Whether a name is in use, by a sweep or anything else."""

    def lines(self, name: str) -> list[Line]:
        """What a sweep's journal holds, which a driver may be writing."""

    def is_held(self, name: str) -> bool:
        """Whether a driver runs a sweep."""

    def hold(self, name: str, *, to_remove: bool = False) -> AbstractContextManager[HeldSweep]:
        """Hold a sweep that exists; raises UserError for any other name, so that none leads out of the storage.
        to_remove: on a full disk too."""

    def new(self, name: str | None, stem: str) -> AbstractContextManager[HeldSweep]:
        """Hold the folder of a new sweep; raises UserError where its name is taken.

        stem: what a sweep without a name is called, with the first number that is free.
        """

    def remove_data(self, digest: str) -> int:
        """Delete data that a job was given along; returns the bytes freed."""


@dataclass(frozen=True)
class HeldSweep:
    """A sweep that this process holds. folder: where it works; claim: its right to write."""

    folder: Path
    claim: Claim

    @property
    def place(self) -> Folder:
        """Where it is kept, by a name that holds in every working directory."""
        return LocalFolder(self.folder).absolute()

    def create_journal(self) -> Journal:
        """The journal of a new sweep, in place of one that has no whole line."""
        with explained(self.folder):
            self.claim.check()
            (self.folder / JOURNAL).unlink(missing_ok=True)
            return Journal.create(self.folder / JOURNAL, self.claim)

    def open_journal(self) -> Journal:
        """The journal as it stands."""
        return Journal.open(self.folder / JOURNAL, self.claim)

    def write(self, name: str, text: str) -> None:
        """Put a file beside the journal."""
        self.place.write(name, text.encode())

    def remove_trials(self, but: str | None) -> int:
        """Delete the folders of all trials but one; returns the bytes freed."""
        self._confirm()
        trials = self.place / TRIALS
        others = [trial for trial in trials.children() if trial != but]
        freed = sum(size for name, size in trials.sizes().items() if name.partition("/")[0] in others)
        for trial in others:
            (trials / trial).clear()
        return freed

    def remove_all(self) -> int:
        """Delete the sweep, unless another has taken it over; returns the bytes freed."""
        self._confirm()
        freed = bytes_in(self.place)
        self.place.clear()
        return freed

    def _confirm(self) -> None:
        """Raises FencedError where another has taken over."""
        self.claim.check()


@dataclass(frozen=True)
class LocalStorage:
    """The sweeps in a folder."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def names(self) -> list[str]:
        """The sweeps that have begun."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{JOURNAL}"))

    def lines(self, name: str) -> list[Line]:
        """What a sweep's journal holds, which a driver may be writing."""
        return read_journal(self.root / name / JOURNAL)

    def is_held(self, name: str) -> bool:
        """Whether a driver runs a sweep."""
        return is_held(self.root / name)

    @contextmanager
    def hold(self, name: str, *, to_remove: bool = False) -> Iterator[HeldSweep]:
        """Hold a sweep that exists; raises UserError for any other name, so that none leads out of the folder."""
        if not NAME.fullmatch(name) or not _is_sweep(self.root / name):
            raise unknown(self, name)
        if (self.root / name).is_symlink():
            place = (self.root / name).resolve()
            raise UserError(f"name: sweep {name!r} in {self} is a link; name its own storage: --storage {place.parent}")
        with locked(self.root / name, to_remove=to_remove) as held:
            yield held

    @contextmanager
    def new(self, name: str | None, stem: str) -> Iterator[HeldSweep]:
        """Hold the folder of a new sweep."""
        try:
            folder = self._made_folder(name, stem)
        except OSError as error:
            raise UserError(
                f"storage: {self.root} cannot be written: {error.strerror}; choose another with --storage"
            ) from None
        with locked(folder) as held:
            if not _holds_nothing(folder):
                raise taken(self, folder.name)
            yield held

    def _made_folder(self, name: str | None, stem: str) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        if name is not None:
            folder = self.root / name
            if folder.exists() and not _holds_nothing(folder):
                raise taken(self, folder.name)
            folder.mkdir(exist_ok=True)
            return folder
        while True:
            folder = self.root / first_free(stem, self.exists)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder

    def exists(self, name: str) -> bool:
        """Whether a name is in use, by a sweep or anything else."""
        return (self.root / name).exists()

    def remove_data(self, digest: str) -> int:
        """Delete data that a job was given along; what a link points to lies elsewhere."""
        kept = LocalFolder(self.root) / DATA
        if digest not in kept.children():
            return 0
        freed = bytes_in(kept / digest)
        (kept / digest).clear()
        if not kept.children():
            with explained(kept.path):
                kept.path.rmdir()
        return freed


@contextmanager
def locked(folder: Path, *, to_remove: bool = False) -> Iterator[HeldSweep]:
    """Hold a sweep by its folder; raises UserError that names the process that holds it already."""
    with leased(folder, to_remove=to_remove) as lease:
        yield HeldSweep(folder, lease)


def trials_of(storage: str | Path, name: str) -> str:
    """Where a sweep's trials keep their files, for every node: a path, or a URI."""
    return str((folder_at(storage) / name / TRIALS).absolute())


def _is_sweep(folder: Path) -> bool:
    """Whether a folder is a sweep's, also where its journal is gone."""
    if (folder / JOURNAL).is_file():
        return True
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return "lock" in names and ("spec.yaml" in names or any(map(is_owner_file, names)))


def _holds_nothing(folder: Path) -> bool:
    """Whether a start that died left it before the first line of the journal was whole."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    left = {name for name in names if not (is_owner_file(name) or name.startswith(".spec.yaml."))}
    return left <= {"lock", "owner", "spec.yaml", JOURNAL} and not (JOURNAL in left and read_journal(folder / JOURNAL))


# --- names ------------------------------------------------------------------------------------------------------------


def named_after(space: str, data: str) -> str:
    """What a sweep without a name is called, but for its number: `geco+lr` over `faces.npz` gives `geco-lr-faces`."""
    dataset = re.sub(r"[^A-Za-z0-9._-]", "-", Path(file_name(data)).stem)
    return f"{space.replace('+', '-') or 'custom'}-{dataset}"[:58].strip(".-")


def first_free(stem: str, exists: Callable[[str], bool]) -> str:
    """The stem with the first number that is free."""
    n = 1
    while exists(f"{stem}-{n}"):
        n += 1
    return f"{stem}-{n}"


def unknown(storage: Storage, name: str) -> UserError:
    """The refusal of a name that no sweep has."""
    names = storage.names()
    known = suggest(name, names) if names else "; there is none yet"
    return UserError(f"name: no sweep {name!r} in {storage}{known}")


def taken(storage: Storage, name: str) -> UserError:
    """The refusal of a name that is in use: a finished sweep is asked for its best, one that was cut short goes on, and
    one that runs is left alone."""
    free = first_free(re.sub(r"-\d+$", "", name), storage.exists)
    start = f"name: sweep {name!r} exists in {storage}"
    if storage.is_held(name):
        return UserError(f"{start} and runs; wait for its end, or choose a free name: {free}")
    if name in storage.names() and fold(storage.lines(name)).resumable:
        return UserError(
            f"{start} and was cut short; go on with `vae-tuner resume {name}`, or choose a free name: {free}"
        )
    return UserError(f"{start}; see it with `vae-tuner best --sweep {name}`, or choose a free name such as {free}")
