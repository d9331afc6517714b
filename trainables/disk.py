"""A folder on a disk that every node sees, and files there that are whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from trainables.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class LocalFolder:
    """A folder on a disk; its methods are those of `trainables.folder.Folder`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / name)

    def write(self, name: str, content: bytes) -> None:
        with explained(self.path):
            with suppress(FileExistsError):  # a file in the folder's place: writing says so
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path / name) as part:
                part.write_bytes(content)

    def read(self, name: str) -> bytes | None:
        with explained(self.path, "read"):
            try:
                return (self.path / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def sizes(self) -> dict[str, int]:
        found = {}
        for folder, _, names in os.walk(self.path):
            for path in (Path(folder, name) for name in names):
                with suppress(FileNotFoundError):  # removed meanwhile
                    about = path.lstat()
                    if stat.S_ISREG(about.st_mode):
                        found[path.relative_to(self.path).as_posix()] = about.st_size
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        return list(self.sizes())

    def children(self) -> list[str]:
        return [] if self.is_link() or not self.path.is_dir() else sorted(path.name for path in self.path.iterdir())

    def delete(self, name: str) -> None:
        with explained(self.path):
            (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        with explained(self.path):
            if self.path.is_dir() and not self.is_link():
                shutil.rmtree(self.path)
            else:
                self.path.unlink(missing_ok=True)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield self.path / name

    @contextmanager
    def writing(self, last: str = "") -> Iterator[Path]:
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            yield self.path

    def absolute(self) -> LocalFolder:
        return LocalFolder(self.path.resolve())

    def existing(self) -> LocalFolder:
        try:
            path = self.path.resolve()
            return LocalFolder(next(folder for folder in (path, *path.parents) if folder.exists()))
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.path} is not a path: {error}; check it") from None

    def free(self) -> int:
        return shutil.disk_usage(self.existing().path).free

    def is_link(self) -> bool:
        return self.path.is_symlink()


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path beside a file to write to: at the end of the block it takes the file's place, and is gone after an error.

    Its name is one that no process on another node has.
    """
    part = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def explained(place: Path, verb: str = "written") -> Iterator[None]:
    """Raises StorageError where the disk has an error in the block."""
    try:
        yield
    except OSError as error:
        raise unusable(place, error, verb) from None


def unusable(place: Path, error: OSError, verb: str = "written") -> StorageError:
    """What is said where a file or folder of a disk cannot be read or written."""
    fix = "free some space" if error.errno in (None, *FULL) else "check the path and its permissions"
    return StorageError(f"{place} cannot be {verb}: {error.strerror or error}; {fix}")
