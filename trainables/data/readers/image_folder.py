"""A user's folder of images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from trainables.data.readers.base import Source
from trainables.data.readers.folders import files_below
from trainables.data.readers.pixels import image_header, read_pixels, reading_image
from trainables.data.readers.prepared import Images, in_parallel, key_of, prepared
from trainables.data.readers.reading import shown
from trainables.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_PARTS = ("train", "val", "test")
MOST_NAMED, MOST_SUFFIXES = 3, 6


@dataclass(frozen=True)
class _Found:
    """What lies below a folder, as sorted relative paths. skipped: how many files by suffix; again: folders that are
    read under another name, or lie above."""

    images: list[str]
    skipped: Counter[str]
    again: list[str]

    def notes(self, folder: Path) -> tuple[str, ...]:
        """What of it is no example, a sentence each."""
        notes = []
        if self.skipped:
            allowed = ", ".join(SUFFIXES)
            notes.append(f"{folder.name}: skipped {self.skipped_text}, which are not images; allowed: {allowed}")
        if self.again:
            names = ", ".join(shown(Path(name)) for name in self.again[:MOST_NAMED])
            more = f" and {len(self.again) - MOST_NAMED} more" if len(self.again) > MOST_NAMED else ""
            notes.append(
                f"{folder.name}: each folder is read once; skipped {names}{more}, leading to one that is read under "
                "another name or lies above"
            )
        return tuple(notes)

    @property
    def skipped_text(self) -> str:
        """`20 .tif, 1 .csv`, the most first; of many suffixes the rest as one."""
        counts = sorted(self.skipped.items(), key=lambda pair: (-pair[1], pair[0]))
        named = [f"{n} {suffix or 'without a suffix'}" for suffix, n in counts[:MOST_SUFFIXES]]
        rest = sum(n for _, n in counts[MOST_SUFFIXES:])
        return ", ".join([*named, *([f"{rest} of other suffixes"] if rest else [])])


def read_image_folder(folder: Path, root: Path, side: int | None) -> Source:
    """The images of a folder, its sub-folders' included, in the order of their relative paths: N×H×W if all are gray,
    else N×3×H×W.

    Sub-folders train, val and test are official parts where there is a train; else all images are split later. Hidden
    files are left out; what else is skipped is told in the notes. side: each image's largest central square is scaled
    to it; `None`: all must have one size.

    They are prepared once under `root`, for the names, sizes and times of the files: a folder that has changed is
    prepared anew. Raises DataError for a folder without images, an image that cannot be read, and images of many sizes.
    """
    folder = folder.resolve()
    found = _found(folder)
    if not found.images:
        there = f", but {found.skipped_text}" if found.skipped else ""
        raise DataError(
            f"data.name: {folder} has no images{there}; allowed: {', '.join(SUFFIXES)}, also in sub-folders"
        )
    parts = _parts(folder, found.images)
    source = prepared(
        root / "prepared" / "images" / _key(folder, side, found.images),
        folder.name,
        255.0,
        lambda: _images(folder, parts, side),
        bounded=True,
    )
    return replace(source, notes=found.notes(folder), of_files=True)


def _found(folder: Path) -> _Found:
    below = files_below(folder)
    images = [name for name in below.files if name.lower().endswith(SUFFIXES)]
    rest = [name for name in below.files if not name.lower().endswith(SUFFIXES)]
    return _Found(images, Counter(Path(name).suffix.lower() for name in (*rest, *below.others)), below.again)


def _key(folder: Path, side: int | None, files: list[str]) -> str:
    for file in files:
        with reading_image(folder / file):
            (folder / file).stat()
    return key_of("turned as EXIF says", str(folder), side, *(folder / file for file in files))


def _parts(folder: Path, files: list[str]) -> dict[str, list[str]]:
    if not (folder / "train").is_dir():
        return {"train": files}
    parts = {part: [file for file in files if file.startswith(f"{part}/")] for part in _PARTS}
    stray = sorted(set(files).difference(*parts.values()))
    if stray:
        raise DataError(
            f"data.name: {folder} has train/ and also {shown(Path(stray[0]))}; move it into train/, val/ or test/"
        )
    if not parts["train"]:
        raise DataError(f"data.name: {folder}/train has no images; allowed: {', '.join(SUFFIXES)}")
    return {part: chosen for part, chosen in parts.items() if chosen}


def _images(folder: Path, parts: dict[str, list[str]], side: int | None) -> dict[str, Images]:
    files = [folder / file for chosen in parts.values() for file in chosen]
    headers = list(in_parallel(image_header, files, len(files), f"{folder.name}: images looked at"))
    width, height = (side, side) if side else _one_size(folder, files, [size for size, _ in headers])
    gray = all(is_gray for _, is_gray in headers)
    shape = (height, width) if gray else (3, height, width)
    return {part: _part(folder, chosen, gray, side, shape) for part, chosen in parts.items()}


def _one_size(folder: Path, files: list[Path], sizes: list[tuple[int, int]]) -> tuple[int, int]:
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            first, other = (
                f"{shown(path.relative_to(folder))} has {width}×{height} pixels"
                for path, (width, height) in ((files[0], sizes[0]), (file, size))
            )
            raise DataError(
                f"data.name: the images of {folder} differ: {first}, {other}; set data.image_size: 64 (or another "
                "side) to crop and scale them to squares"
            )
    return sizes[0]


def _part(folder: Path, files: list[str], gray: bool, side: int | None, shape: tuple[int, ...]) -> Images:
    return Images(len(files), shape, lambda i: read_pixels(folder / files[i], gray=gray, side=side))
