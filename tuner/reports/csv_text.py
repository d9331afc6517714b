"""Tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; None is an empty cell."""
    text = StringIO(newline="")
    csv.writer(text).writerows([head, *rows])
    return text.getvalue()


def write_csv(file: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table as a file."""
    file.write_text(csv_text(head, rows), encoding="utf-8", newline="")


def columns_of(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    """The names that any of them has, sorted."""
    return sorted({name for mapping in mappings for name in mapping})


def cells(mapping: Mapping[str, object], columns: Sequence[str]) -> list[object]:
    """Its values in these columns, empty where it has none."""
    return [mapping.get(name) for name in columns]
