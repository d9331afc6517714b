"""A folder in object storage: whole files are put there and taken from there, and nothing is ever appended to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trainables.errors import StorageError

__all__ = ["RemoteFolder", "is_remote"]


def is_remote(storage: str) -> bool:
    """Whether a storage root is a URI such as `s3://bucket/sweeps`, and no path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", storage) is not None


@dataclass(frozen=True)
class RemoteFolder:
    """`s3://bucket/prefix`, `gs://…` or `abfs://…`, with credentials from the environment; `file:///…` for a try.

    What cannot be reached, read or written raises StorageError with the reason.
    """

    uri: str

    def __truediv__(self, name: str) -> RemoteFolder:
        path, query, parameters = self.uri.partition("?")
        return RemoteFolder(f"{path.rstrip('/')}/{name}{query}{parameters}")

    def write(self, name: str, content: bytes) -> None:
        """Put content there under a name; readers find what was there before or all of it."""
        system, root = self._opened
        with self._explained("written"):
            # Objects appear whole when they are closed; files of a file system do not.
            system.create_dir(f"{root}/{name}".rpartition("/")[0], recursive=True)
            part = f"{root}/{name}.part" if system.type_name == "local" else f"{root}/{name}"
            with system.open_output_stream(part) as stream:
                stream.write(content)
            if system.type_name == "local":
                system.move(part, f"{root}/{name}")

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is none of this name."""
        system, root = self._opened
        with self._explained("read"):
            try:
                with system.open_input_stream(f"{root}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """The files at any depth below it, by their path from here, sorted."""
        from pyarrow.fs import FileSelector, FileType

        system, root = self._opened
        with self._explained("read"):
            found = system.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
        return sorted(info.path.removeprefix(f"{root}/") for info in found if info.type == FileType.File)

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        system, root = self._opened
        with self._explained("written"):
            try:
                system.delete_file(f"{root}/{name}")
            except FileNotFoundError:
                return

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """pyarrow's file system, and the folder's path on it."""
        from pyarrow.fs import FileSystem

        with self._explained("opened"):
            system, path = FileSystem.from_uri(self.uri)
        return system, path.rstrip("/")

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            reason = " ".join(str(error).split())
            raise StorageError(
                f"{self.uri} cannot be {verb}: {reason}; check the address and the credentials"
            ) from None
