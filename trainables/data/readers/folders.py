"""The files below a folder, its sub-folders' and linked ones' included."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainables.data.readers.reading import reading

CheckLink = Callable[[Path], object]


@dataclass(frozen=True)
class Below:
    """Relative names, sorted and none of them hidden. files: also links that lead to none; others: what is neither file
    nor folder; again: folders that are not read, because they are read under another name or lie above."""

    files: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Folder:
    """prefix: of the names in it. path: where it lies without links. bases: where the walk began, and where each link
    led that was followed on the way here."""

    prefix: str
    path: Path
    bases: tuple[Path, ...]


def files_below(folder: Path, check_link: CheckLink = lambda link: None) -> Below:
    """Every folder is read once, however many links lead to it: under its own name, else under that of the first link.

    check_link: called for each link to a folder that may be read, before it is. Raises DataError that names the file or
    folder that cannot be read.
    """
    walk = _Walk(check_link)
    walk.start(folder.resolve())
    return Below(*(sorted(names) for names in (walk.below.files, walk.below.others, walk.below.again)))


class _Walk:
    def __init__(self, check_link: CheckLink) -> None:
        self.below = Below()
        self._check_link = check_link
        self._seen: set[Path] = set()
        self._waiting: list[_Folder] = []
        self._links: deque[tuple[str, Path, tuple[Path, ...]]] = deque()

    def start(self, base: Path) -> None:
        self._meet("", base, (base,))
        while self._waiting or self._links:
            if self._waiting:
                self._read(self._waiting.pop())
            else:
                self._follow(*self._links.popleft())

    def _meet(self, prefix: str, path: Path, bases: tuple[Path, ...]) -> None:
        if path in self._seen:
            self.below.again.append(prefix.rstrip("/"))
        else:
            self._seen.add(path)
            self._waiting.append(_Folder(prefix, path, bases))

    def _read(self, folder: _Folder) -> None:
        for entry in _entries(folder.path):
            name = f"{folder.prefix}{entry.name}"
            if not _is_folder(entry):
                is_file = entry.is_file() or entry.is_symlink()
                (self.below.files if is_file else self.below.others).append(name)
            elif entry.is_symlink():
                self._links.append((name, Path(entry.path), folder.bases))
            else:
                self._meet(f"{name}/", folder.path / entry.name, folder.bases)

    def _follow(self, name: str, link: Path, bases: tuple[Path, ...]) -> None:
        path = link.resolve()
        if any(base.is_relative_to(path) for base in bases):
            self.below.again.append(name)
            return
        self._check_link(link)
        self._meet(f"{name}/", path, (*bases, path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with reading(folder, "a folder", "make it readable or move it away"), os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with reading(Path(entry.path), "a file or a folder", "replace or remove it"):
        return entry.is_dir()
