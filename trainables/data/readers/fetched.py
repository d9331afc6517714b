"""A user's arrays or images in object storage, where they lie under the digest of their content.

`STORAGE/.data/DIGEST/NAME`, a file or a folder, is what a job was given along. Each node fetches it once, into
`fetched/DIGEST/NAME` below its data directory, which may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from trainables.data.readers.prepared import in_parallel, locked_on_node
from trainables.errors import DataError, StorageError
from trainables.object_storage import PATIENCE, RemoteFolder

DATA = ".data"
"""Where a storage keeps the data of its sweeps, each below its digest."""


def digest_of(files: Mapping[str, Path]) -> str:
    """Of names and contents: the same data are kept once."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(os.fsencode(f"{name}\0{files[name].stat().st_size}\0"))
        with files[name].open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def digests_in(text: str) -> set[str]:
    """Of all data below some storage that a text names."""
    return set(re.findall(rf"/{re.escape(DATA)}/([0-9a-f]{{16}})\b", text))


def file_name(name: str) -> str:
    """The last part of a data set's name, whatever leads there."""
    return Path(name.partition("?")[0] if "://" in name else name).name


def put(folder: Path, place: RemoteFolder) -> None:
    """Copy the files of a folder into one in object storage; those that are there already stay."""
    there = place.sizes()
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    missing = [name for name, path in files.items() if there.get(name) != path.stat().st_size]

    def write(name: str) -> None:
        place.write(name, files[name].read_bytes())

    for _ in in_parallel(write, missing, len(missing), f"{place}: files written"):
        pass


def local_copy(uri: str, root: Path) -> Path:
    """The copy on this node of data in object storage; fetched on first use, once whoever asks at the same time.

    root: the data directory. Raises DataError for what is not there, or is not what its digest says.
    """
    place, digest, name = _taken_apart(uri)
    folder = root / "fetched" / digest
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked_on_node(folder):
            if not folder.exists():
                _fetch(place, digest, folder)
    except OSError as error:
        raise DataError(
            f"data.name: {uri} could not be kept in {folder}: {error}; choose a writable folder with --data-dir or "
            "VAE_TUNER_DATA"
        ) from None
    if not (folder / name).exists():
        raise DataError(f"data.name: there is no {name} in {place}; submit the sweep again from where its data are")
    return folder / name


def _taken_apart(uri: str) -> tuple[RemoteFolder, str, str]:
    """The folder of the data, their digest, and the name of the file or folder in it."""
    path, query, parameters = uri.partition("?")
    found = re.fullmatch(rf"(.+/{re.escape(DATA)}/([0-9a-f]{{16}}))/([^/]+)", path)
    if found is None:
        raise DataError(
            f"data.name: {uri} is not a data set; in object storage only data that `submit` has put there can be "
            f"used, as STORAGE/{DATA}/DIGEST/NAME: submit a sweep with the path of a file of this machine"
        )
    return RemoteFolder(f"{found[1]}{query}{parameters}", PATIENCE), found[2], found[3]


def _fetch(place: RemoteFolder, digest: str, folder: Path) -> None:
    """All of it or nothing."""
    try:
        with TemporaryDirectory(prefix=f".{digest}-", dir=folder.parent) as scratch:
            part = Path(scratch) / digest
            _check(_copied(place, part), place, digest)
            part.rename(folder)
    except OSError:
        if not folder.exists():  # by another process, where there are no locks
            raise
    for left in folder.parent.glob(f".{digest}-*"):  # by those who were killed
        shutil.rmtree(left, ignore_errors=True)


def _check(files: Mapping[str, Path], place: RemoteFolder, digest: str) -> None:
    if not files:
        raise DataError(f"data.name: there is nothing in {place}; submit the sweep again from where its data are")
    if digest_of(files) != digest:
        raise DataError(
            f"data.name: the content of {place} is not what was put there; remove it, and submit the sweep again"
        )


def _copied(place: RemoteFolder, folder: Path) -> dict[str, Path]:
    names = place.names()

    def copy(name: str) -> tuple[str, Path]:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"data.name: {name!r} in {place} leads out of it; remove it")
        if (content := place.read(name)) is None:
            raise StorageError(f"{place / name} is gone")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name, path

    return dict(in_parallel(copy, names, len(names), f"{place}: files fetched"))
