"""Where raw examples come from: scikit-learn's digits, torchvision's sets, a user's arrays, a folder of images.

What is not an array yet is prepared once on a node, under a lock, as plain `.npy` files that every trial opens
memory-mapped: trials never download, unpack, decode images or import torchvision.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from trainables.config.paths import suggest
from trainables.data.readers.arrays import NumpyReader
from trainables.data.readers.base import Source
from trainables.data.readers.built_in import DATASETS, read_built_in
from trainables.data.readers.digests import is_kept, kept_digest
from trainables.data.readers.fetched import local_copy
from trainables.data.readers.file_reader import FileReader
from trainables.data.readers.image_folder import read_image_folder
from trainables.errors import ConfigError, DataError, UserError
from trainables.object_storage import checked_storage, is_remote

__all__ = [
    "DATASETS",
    "READERS",
    "Source",
    "absolute",
    "check_known",
    "check_path",
    "data_dir",
    "digest",
    "digest_at_hand",
    "is_path",
    "mapped",
    "on_this_node",
    "read",
]

READERS: dict[str, FileReader] = {suffix: reader for reader in (NumpyReader(),) for suffix in reader.suffixes}
"""By the suffix of a user's file, what reads it."""
SUFFIXES = " or ".join(READERS)

AT_HAND_BYTES = 2 * 10**8
"""What is read for a sentence alone."""


def data_dir(chosen: str | Path | None = None) -> Path:
    """Where prepared sets are kept: the argument, else VAE_TUNER_DATA, else ~/.cache/vae-tuner."""
    return (
        Path(chosen or os.environ.get("VAE_TUNER_DATA") or Path.home() / ".cache" / "vae-tuner").expanduser().resolve()
    )


def is_path(name: str) -> bool:
    """Whether a data set's name means a file or folder of the user's; a built-in name never does, `./mnist` does."""
    return name not in DATASETS and ("/" in name or Path(name).suffix in READERS or _is_folder(name))


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def absolute(name: str) -> str:
    """A data set's name as it means the same in every working directory."""
    if is_remote(name):
        return checked_storage(name)
    try:
        if not is_path(name):
            return name
        path = Path(name).expanduser().resolve()
        path.exists()  # raises for what no file can be called
        str(path).encode()  # and this for what is no text, which neither YAML nor MLflow can keep
        return str(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"data.name: {name!r} is not a path: {error}; give the path of a {SUFFIXES} file") from None


def on_this_node(name: str, working_dir: Path, here: Path) -> str:
    """A data set's absolute name where it is used: what was shipped with the driver's working directory may lie in the
    one of this node, and anything else has one path everywhere."""
    if not is_path(name) or Path(name).exists() or not Path(name).is_relative_to(working_dir):
        return name
    shipped = here / Path(name).relative_to(working_dir)
    return str(shipped) if shipped.exists() else name


def read(name: str, root: Path, image_size: int | None = None) -> Source:
    """The raw arrays of a data set; what has to be prepared is, on first use.

    image_size: side of the squares to which the images of a folder, and celeba's, are scaled.
    """
    return _read(name, root, image_size, lambda reader, path: reader.read(path))


def mapped(name: str, root: Path, image_size: int | None = None) -> Source:
    """The same as bytes or float32, in files that are mapped: processes of a node share what of them is in memory."""
    return _read(name, root, image_size, lambda reader, path: reader.mapped(path, root))


def digest(name: str, root: Path, image_size: int | None = None) -> str:
    """What the values of a data set are known by, whatever file they come from; see `digest_of_source`.

    A file is read for it once for its path, size and times, and what was prepared once for as long as it is kept.
    """
    path = _local(name, root)
    if is_path(path) and Path(path).expanduser().is_file():
        return kept_digest(root, (Path(path).expanduser(),), lambda: read(path, root, image_size))
    found = read(path, root, image_size)
    return kept_digest(root, (found.train, found.val, found.test, found.scale), lambda: found)


def digest_at_hand(name: str, root: Path) -> str | None:
    """The digest of a user's file that is here, where knowing it takes no more than a moment; else None.

    Built-in sets are what their name says, and a folder would have to be walked through.
    """
    path = Path(name).expanduser()
    try:
        if is_remote(name) or not is_path(name) or not path.is_file():
            return None
        at_hand = is_kept(root, path) or path.stat().st_size <= AT_HAND_BYTES
        return digest(name, root) if at_hand else None
    except (OSError, UserError):
        return None


def _read(name: str, root: Path, image_size: int | None, read_file: Callable[[FileReader, Path], Source]) -> Source:
    check_known(name)
    name = _local(name, root)
    folder = is_path(name) and Path(name).expanduser().is_dir()
    if image_size is not None and not (folder or name == "celeba"):
        raise ConfigError(
            f"data.image_size: {image_size} has no effect on {name}, whose examples have a fixed size; allowed: none "
            "(it scales celeba and folders of images)"
        )
    if name in DATASETS:
        return read_built_in(name, root, image_size)
    path = Path(name).expanduser()
    if folder:
        return read_image_folder(path, root, image_size)
    check_path(path)
    return read_file(READERS[path.suffix], path)


def check_known(name: str) -> None:
    """Raises DataError for a name that is neither a built-in data set nor a path."""
    if not (name in DATASETS or is_path(name)):
        raise DataError(
            f"data.name: {name!r} is not a known data set{suggest(name, DATASETS)}; or a path to {SUFFIXES}, or to a "
            "folder of images"
        )


def check_path(path: Path) -> None:
    """Raises DataError for a file that is not there, or that no reader is for."""
    if not path.exists():
        raise DataError(
            f"data.name: {path} does not exist; give the path of a {SUFFIXES} file, or of a folder of images"
        )
    if path.suffix not in READERS or not path.is_file():
        raise DataError(f"data.name: {path} is not a data set; give a {SUFFIXES} file, or the folder its images are in")


def _local(name: str, root: Path) -> str:
    """A data set's name on this node; what lies in object storage is fetched."""
    return str(local_copy(name, root)) if is_remote(name) else name
