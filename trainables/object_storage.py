"""A folder in object storage: whole files are put there and taken from there, and nothing is ever appended to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from trainables.credentials import holds_secret
from trainables.errors import ConfigError, DataError, StorageError
from trainables.folder import Folder, LocalFolder, explained

PATIENCE = (5.0, 20.0)  # seconds before another try, each of which is several of pyarrow's own

ResultT = TypeVar("ResultT")


def is_remote(storage: str) -> bool:
    """Whether a storage root is a URI such as `s3://bucket/sweeps`, and no path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", storage) is not None


def checked_storage(storage: str) -> str:
    """A storage root as it may be written into a journal; raises ConfigError for a URI that holds credentials."""
    if is_remote(storage) and holds_secret(storage):
        raise ConfigError(
            f"storage: credentials in a URI would be written into the journal; leave them out and set "
            f"{_variables(storage)} on every node, or give the nodes a role"
        )
    return storage


def folder_at(root: str | Path, pauses: tuple[float, ...] = ()) -> Folder:
    """The folder at a path, or at a URI of object storage. pauses: as of a RemoteFolder."""
    return RemoteFolder(str(root), pauses) if is_remote(str(root)) else LocalFolder(Path(root))


def _variables(storage: str) -> str:
    """The environment variables with the credentials of a kind of storage."""
    if storage.startswith(("gs:", "gcs:")):
        return "GOOGLE_APPLICATION_CREDENTIALS"
    if storage.startswith("abfs"):
        return "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
    return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True)
class RemoteFolder(Folder):
    """`s3://bucket/prefix`, `gs://…` or `abfs://…`, with credentials from the environment; `file:///…` for a try.

    pauses: seconds between tries, none for one try. What cannot be reached, read or written then raises StorageError
    with the reason.
    """

    uri: str
    pauses: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        checked_storage(self.uri)

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> RemoteFolder:
        path, query, parameters = self.uri.partition("?")
        return replace(self, uri=f"{path.rstrip('/')}/{name}{query}{parameters}")

    def write(self, name: str, content: bytes) -> None:
        """As of any folder; on Azure readers may also find nothing."""

        def put(system: Any, path: str) -> None:
            # Objects have all their content when they are closed, and none before; files of a file system do not.
            part = f"{path}.part" if system.type_name == "local" else path
            if part != path:
                system.create_dir(path.rpartition("/")[0], recursive=True)
            with system.open_output_stream(part) as stream:
                stream.write(content)
            if part != path:
                system.move(part, path)

        self._tried("written", put, name)

    def read(self, name: str) -> bytes | None:
        def get(system: Any, path: str) -> bytes | None:
            try:
                while True:
                    with system.open_input_file(path) as file:
                        content = bytes(file.read_at(file.size(), 0))  # in one request, so that it is of one write
                    # What was overwritten in between by something longer has been cut off.
                    if system.get_file_info(path).size == len(content):
                        return content
            except FileNotFoundError:
                return None

        return self._tried("read", get, name)

    def sizes(self) -> dict[str, int]:
        from pyarrow.fs import FileSelector, FileType

        def listed(system: Any, path: str) -> dict[str, int]:
            found = system.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
            files = [info for info in found if info.type == FileType.File]
            return {info.path.removeprefix(f"{path}/"): int(info.size) for info in files}

        return dict(sorted(self._tried("read", listed).items()))

    def children(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self.names()})

    def delete(self, name: str) -> None:

        def gone(system: Any, path: str) -> None:
            try:
                system.delete_file(path)
            except FileNotFoundError:
                return

        self._tried("written", gone, name)

    def clear(self) -> None:

        def gone(system: Any, path: str) -> None:
            try:
                system.delete_dir(path)
            except FileNotFoundError:
                return

        self._tried("written", gone)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """A copy of a file on this node's disk, in the folder for what is there for a moment (TMPDIR); raises DataError
        where there is none of this name."""
        content = self.read(name)
        if content is None:
            raise DataError(f"{self / name} is gone")
        with _scratch() as scratch:
            with explained(scratch):
                (scratch / name).write_bytes(content)
            yield scratch / name

    @contextmanager
    def writing(self, last: str = "") -> Iterator[Path]:
        """A folder on this node's disk, whose files are put here at the end of the block."""
        with _scratch() as scratch:
            with explained(scratch):
                yield scratch
            for path in sorted(scratch.iterdir(), key=lambda path: path.name == last):
                self.write(path.name, path.read_bytes())

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """pyarrow's file system, and the folder's path on it."""
        from pyarrow.fs import FileSystem

        system, path = FileSystem.from_uri(_in_one_request(self.uri))
        return system, path.rstrip("/")

    def _tried(self, verb: str, act: Callable[[Any, str], ResultT], name: str = "") -> ResultT:
        """What an act on a path here returns, after as many tries as it takes and the pauses allow."""
        for pause in (*self.pauses, None):
            try:
                system, root = self._opened
                return act(system, f"{root}/{name}" if name else root)
            except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
                failure = " ".join(str(error).split())
            if pause is not None:
                time.sleep(pause)
        raise StorageError(f"{self.uri} cannot be {verb}: {failure}; check the address and the credentials")


def _in_one_request(uri: str) -> str:
    """S3 takes a small file in one request instead of three where it may see all of it first."""
    if not uri.startswith("s3:") or "allow_delayed_open" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"


@contextmanager
def _scratch() -> Iterator[Path]:
    with TemporaryDirectory(prefix="vae-tuner-") as folder:
        yield Path(folder)
