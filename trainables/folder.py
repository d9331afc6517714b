"""A folder of files, on a disk that every node sees or in object storage: one interface for both."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Self

from trainables.disk import LocalFolder
from trainables.object_storage import RemoteFolder, is_remote


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

    def existing(self) -> Self:
        """Itself, or the nearest folder above it that there is."""

    def free(self) -> int | None:
        """The bytes that have room there, None where there is no end."""

    def is_link(self) -> bool:
        """Whether it is a link, so that what it leads to may be none of ours."""


def folder_at(root: str | Path, pauses: tuple[float, ...] = ()) -> Folder:
    """The folder at a path, or at a URI of object storage. pauses: as of a RemoteFolder."""
    return RemoteFolder(str(root), pauses) if is_remote(str(root)) else LocalFolder(Path(root))


def bytes_in(folder: Folder) -> int:
    """What the files below a folder take."""
    return sum(folder.sizes().values())
