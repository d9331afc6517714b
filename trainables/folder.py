"""A folder of files, on a disk that every node sees or in object storage: one interface for both."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol, Self
from uuid import uuid4

from trainables.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT)


class Folder(Protocol):
    """Where files lie; its text is its path or URI. What cannot be read or written raises StorageError with the reason.

    A name is a path from here on, as in `trials/0000/config.yaml`.
    """

    def __truediv__(self, name: str) -> Self:
        """A folder in it."""

    def write(self, name: str, content: bytes) -> None:
        """Put content there under a name; readers find what was there before or all of it."""

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is none of this name."""

    def sizes(self) -> dict[str, int]:
        """The bytes of the files at any depth below it, by their names, sorted; a link is no file."""

    def names(self) -> list[str]:
        """The names of these files, sorted."""
        return list(self.sizes())

    def children(self) -> list[str]:
        """What is right in it, files and folders, sorted; nothing where it is a link."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    def clear(self) -> None:
        """Remove it with all that is in it, of a link the link alone; what is not there is no error."""

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """A file as a path, for as long as the block lasts."""

    def writing(self, last: str = "") -> AbstractContextManager[Path]:
        """A folder to write files in, which are here once the block has ended.

        last: a file that is put here after all others: where it is, they are.
        """

    def absolute(self) -> Self:
        """The same by a name that holds in every working directory."""
        return self

    def existing(self) -> Self:
        """Itself, or the nearest folder above it that there is."""
        return self

    def free(self) -> int | None:
        """The bytes that have room there, None where there is no end."""
        return None

    def is_link(self) -> bool:
        """Whether it is a link, so that what it leads to may be none of ours."""
        return False


def bytes_in(folder: Folder) -> int:
    """What the files below a folder take."""
    return sum(folder.sizes().values())


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder on a disk that every node sees."""

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

    def try_writing(self) -> None:
        """Make a file in the nearest folder that there is, and remove it; raises OSError where that cannot be done."""
        with NamedTemporaryFile(dir=self.existing().path, prefix=".vae-tuner-"):
            pass

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
