"""The reader family: a reader reads one format of a user's files, and is chosen by their suffix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from trainables.data.readers.base import Array, Source, in_parts, kept_as
from trainables.data.readers.prepared import Streamed, key_of, prepared_or_in_memory


class FileReader(ABC):
    """Reads the files of some suffixes.

    Attributes
    ----------
    suffixes
        With the dot, as `.npy`.
    """

    suffixes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def read(self, path: Path) -> Source:
        """A file's arrays of finite numbers, one example a row.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        Source
            In memory.

        Raises
        ------
        DataError
            The file is not of this format, or holds something else than finite numbers.
        """

    def mapped(self, path: Path, root: Path) -> Source:
        """The same as bytes or float32, one example after the other, in files that are mapped and not read into memory.

        They are prepared under `root`, once for the path, size and time of the file; in memory where that fails.

        Parameters
        ----------
        path
            The file.
        root
            Folder of prepared data.

        Returns
        -------
        Source
            Of mapped arrays.

        Raises
        ------
        DataError
            As `read`.
        """
        folder = root / "prepared" / "arrays" / key_of(path)
        return prepared_or_in_memory(folder, path.name, 1.0, lambda: _kept_parts(self.read(path)))


def _kept_parts(source: Source) -> dict[str, Streamed]:
    parts = {"train": source.train, "val": source.val, "test": source.test}
    return {name: _kept(array) for name, array in parts.items() if array is not None}


def _kept(array: Array) -> Streamed:
    dtype = kept_as(array)
    return Streamed(array.shape, dtype, (rows.astype(dtype) for rows in in_parts(array)))
