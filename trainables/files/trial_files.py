"""Where a trial's files lie: in a folder that every node sees, or in object storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from safetensors import SafetensorError

from trainables.errors import DataError, StorageError
from trainables.object_storage import PATIENCE, RemoteFolder, is_remote

FILE_NAME = "checkpoint.safetensors"  # of the last epoch
BEST_NAME = "best.safetensors"  # of the best, where trials are ranked by that and it is not the last
RESULT_FILES = (FILE_NAME, BEST_NAME, "config.yaml", "reconstructions.png", "samples.png")


class TrialFiles(Protocol):
    """The files of one trial."""

    @property
    def place(self) -> Path | RemoteFolder:
        """Where they lie."""

    def names(self) -> list[str]:
        """The names of the files, sorted; a link is none."""

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """A file as a path, for as long as the block lasts."""

    def writing(self) -> AbstractContextManager[Path]:
        """A folder to write files in; they outlive this node once the block has ended.

        Raises StorageError with the reason where they cannot be kept.
        """

    def delete(self, name: str) -> None:
        """Remove a file."""


def trial_files(root: str | Path, trial: str) -> TrialFiles:
    """A trial's files below a root that is a path, or a URI of object storage."""
    if is_remote(str(root)):
        return FilesInStorage(RemoteFolder(str(root), PATIENCE) / trial)
    return FilesInFolder(Path(root) / trial)


@dataclass(frozen=True)
class FilesInFolder:
    """In a folder on a disk that every node sees."""

    place: Path

    def names(self) -> list[str]:
        return sorted(path.name for path in self.place.glob("*") if path.is_file() and not path.is_symlink())

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield self.place / name

    @contextmanager
    def writing(self) -> Iterator[Path]:
        with _explained(self.place):
            yield self.place

    def delete(self, name: str) -> None:
        with _explained(self.place):
            (self.place / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class FilesInStorage:
    """In object storage; this node's disk has a file only while it is written or read, in the folder for such (TMPDIR).

    The final checkpoint is put there last: where it is, all other results are.
    """

    place: RemoteFolder

    def names(self) -> list[str]:
        return self.place.names()

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        content = self.place.read(name)
        if content is None:
            raise DataError(f"{self.place / name} is gone")
        with TemporaryDirectory(prefix="vae-tuner-") as scratch:
            with _explained(Path(scratch)):
                (Path(scratch) / name).write_bytes(content)
            yield Path(scratch) / name

    @contextmanager
    def writing(self) -> Iterator[Path]:
        with TemporaryDirectory(prefix="vae-tuner-") as scratch:
            with _explained(Path(scratch)):
                yield Path(scratch)
            for path in sorted(Path(scratch).iterdir(), key=lambda path: path.name == FILE_NAME):
                self.place.write(path.name, path.read_bytes())

    def delete(self, name: str) -> None:
        self.place.delete(name)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{folder} cannot be written: {error}; free some space") from None
