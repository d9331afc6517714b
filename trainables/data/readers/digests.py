"""What a data set is known by: a digest of its values, kept so that a large one is read once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from trainables.data.readers.base import Array, Source, in_parts, kept_as
from trainables.data.readers.prepared import key_of
from trainables.folder import replacing

DIGEST = re.compile(r"[0-9a-f]{16}")


def digest_of_source(source: Source) -> str:
    """64 bits of the SHA-256 of a data set as it is prepared: of train, val and test the shape, the kind of its values
    and the values, one example after the other, and the scale.

    It is the same for the same values from .npy and .npz, from a copy, and from every type that is kept as bytes (bits,
    bytes) or as float32 (all others); it is another for a value, an order, a shape, or an official part that is not the
    same. How the values are split and binarised is no part of it: that stands in the configuration.
    """
    digest = hashlib.sha256(f"scale {source.scale!r}".encode())
    for part, array in (("train", source.train), ("val", source.val), ("test", source.test)):
        if array is not None:
            digest.update(f"\n{part} {array.shape} {kept_as(array)}\n".encode())
            for rows in in_parts(array):
                digest.update(np.ascontiguousarray(_little_endian(rows)).data)
    return digest.hexdigest()[:16]


def _little_endian(rows: Array) -> Array:
    kept: Array = rows.astype(kept_as(rows).newbyteorder("<"), copy=False)
    return kept


def kept_digest(root: Path, origins: tuple[object, ...], read: Callable[[], Source]) -> str:
    """The digest of what `read` gives; read only where it is not kept, below `root`, for these origins as they are now.

    origins: as of `key_of`: of a file its path, size and times count.
    """
    key = key_of(*origins)
    path = _note(root, key)
    with suppress(OSError, UnicodeDecodeError):
        if DIGEST.fullmatch(known := path.read_text()):
            return known
    digest = digest_of_source(read())
    if key_of(*origins) == key:  # else it was written to meanwhile
        _keep(path, digest)
    return digest


def is_kept(root: Path, *origins: object) -> bool:
    """Whether `kept_digest` has read these before."""
    return _note(root, key_of(*origins)).exists()


def _note(root: Path, key: str) -> Path:
    return root / "prepared" / "digests" / key


def _keep(path: Path, digest: str) -> None:
    """Where that cannot be, it is read again next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(digest)
