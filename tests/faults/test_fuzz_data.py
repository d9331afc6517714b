"""Data files changed by chance: each is read as NumPy or Pillow reads it, or refused in one sentence."""

import os
import shutil
import zipfile
from random import Random

import numpy as np
from fuzz import said_of, seeds_of
from mutations import mutated
from PIL import Image

from trainables.config import DataConfig
from trainables.data import readers
from trainables.data.dataset import data_facts

DTYPES = ("f4", "f8", "f2", ">f4", "u1", "b1", "i8", "u8", "i2", "g", "c8", "U3", "M8[s]", "V4", "O")
SHAPES = ((9,), (9, 4), (9, 4, 4), (9, 1, 4, 4), (9, 3, 2, 2), (9, 0), (0, 4), (2, 4), (9, 2, 2, 2, 2), ())
HEADERS = {
    b"(9, 4)": (
        b"(9, 40)",
        b"(8, 4)",
        b"(True, 36)",
        b"(9, -4)",
        b"(-9, -4)",
        b"(9.0, 4)",
        b"(999999999999, 4)",
        b"(9, 4",
    ),
    b"'<f8'": (
        b"'<f4'",
        b"'<f16'",
        b"'|O'",
        b"'<f88'",
        b"[('a', '<f8')]",
        b"'|b1'",
        b"'|V0'",
        b"('<f8', (2,))",
        b"None",
    ),
    b"False": (b"True", b"None", b"0"),
}
SUFFIXES = (".png", ".jpg", ".bmp", ".webp")


def array_of(draw):
    """An array such as a user might have, or nearly."""
    random = np.random.default_rng(draw.randrange(2**32))
    shape = draw.choice(SHAPES) if draw.random() < 0.5 else (9, 4)
    dtype = np.dtype(draw.choice(DTYPES) if draw.random() < 0.5 else "f8")
    values = random.random(shape) * draw.choice((1, 1, 1, 255, 1e10, 1e38, 1e300, 1e-40, 1e-300, 0))
    values = values + draw.choice((0, 0, 0, 1e9, -0.5))
    if draw.random() < 0.1 and values.size:
        values.flat[0] = draw.choice((np.nan, np.inf, -np.inf))
    with np.errstate(all="ignore"):
        made = values.astype(dtype) if dtype.kind in "fiubcUO" else np.zeros(shape, dtype)
    return np.asfortranarray(made) if draw.random() < 0.2 else made


def numpy_file(folder, draw):
    """A `.npy` or `.npz` file, whole."""
    arrays = {"x": array_of(draw)}
    if draw.random() < 0.3:
        arrays = {name: array_of(draw) for name in draw.sample(("x", "x_train", "x_val", "x_test", "labels"), 3)}
    path = folder / draw.choice(("x.npz", "x.npy"))
    if path.suffix == ".npy":
        np.save(path, next(iter(arrays.values())), allow_pickle=True)
    else:
        draw.choice((np.savez, np.savez_compressed))(path, allow_pickle=True, **arrays)
    return path


def odd_zip(folder, draw):
    """A zip file of which NumPy writes none like it."""
    path = folder / "x.npz"
    np.save(folder / "x.npy", np.arange(36.0).reshape(9, 4))
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(path, "w", draw.choice(methods)) as archive:
        archive.write(folder / "x.npy", draw.choice(("x.npy", "x", "a/x.npy", "../x.npy")))
        if draw.random() < 0.5:
            archive.writestr(draw.choice(("x_train.npy", "x_val.npy", "x_test", "notes.txt")), b"no array")
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    match draw.randrange(4):
        case 0:
            content[directory + 8] |= 1  # encrypted
        case 1:
            content[directory + 10] = draw.randrange(100)  # compressed in a way that does not exist
        case 2:
            content[directory + 24 : directory + 28] = draw.randbytes(4)  # a size that is not so
    path.write_bytes(content)
    return path


def odd_header(folder, draw):
    """A `.npy` file whose header says something else, at the length that it had."""
    path = folder / "x.npy"
    np.save(path, np.arange(36.0).reshape(9, 4))
    old = draw.choice(sorted(HEADERS))
    content = path.read_bytes()
    header = content[:128].replace(old, draw.choice(HEADERS[old])).rstrip(b" \n")
    path.write_bytes(header.ljust(127)[:127] + b"\n" + content[128:])
    return path


def image_folder(folder, draw):
    """Some images, of which one may be damaged or called by bytes that are no text, among links and other files."""
    images = folder / "images"
    parts = draw.choice((("",), ("a", "b"), ("train", "val"), ("train", "val", "test")))
    mode = draw.choice(("L", "RGB", "RGBA", "P", "1", "I;16"))
    for part in parts:
        (images / part).mkdir(parents=True, exist_ok=True)
        for i in range(4):
            made = Image.fromarray(np.full((4, 5), 40 * i, np.uint8))
            made = made if mode == "L" else Image.new("I;16", (5, 4), 300 * i) if mode == "I;16" else made.convert(mode)
            suffix = ".png" if mode in ("RGBA", "P", "1", "I;16") else draw.choice(SUFFIXES)
            made.save(images / part / f"{i}{suffix}")
    victim = draw.choice(sorted(images.rglob("*.*")))
    match draw.randrange(8):
        case 0 | 1 | 2:
            victim.write_bytes(mutated(victim.read_bytes(), draw))
        case 3:
            victim.rename(os.fsdecode(os.fsencode(victim.parent) + b"/\xff" + os.fsencode(victim.suffix)))
        case 4:
            (victim.parent / "z.png").symlink_to("nowhere.png")
        case 5:
            (victim.parent / "again").symlink_to(draw.choice((".", "..", images)))
        case 6:
            (victim.parent / "folder.png").mkdir()
    return images


def data_file(folder, seed):
    """The data set of a seed, made in an empty folder."""
    draw = Random(f"data {seed}")
    make = draw.choice((numpy_file, numpy_file, numpy_file, odd_zip, odd_header, image_folder))
    path = make(folder, draw)
    if make is numpy_file and draw.random() < 0.7:
        path.write_bytes(mutated(path.read_bytes(), draw))
    return path


def check_facts(path, root):
    """Numbers that a plan can use, of what NumPy and Pillow read."""
    facts = data_facts(DataConfig(name=str(path)), root)
    assert all(map(np.isfinite, (facts.low, facts.high, *facts.kappa_max.values()))), facts
    assert facts.n_elements > 0
    assert min(facts.n_train, facts.n_val, facts.n_test) > 0
    found = readers.read(str(path), root)
    if path.is_dir():
        assert found.train.dtype == np.uint8
        return
    there = np.load(path, allow_pickle=False)
    by_name = {"x": there} if isinstance(there, np.ndarray) else there
    for part, names in {"train": ("x_train", "x"), "val": ("x_val",), "test": ("x_test",)}.items():
        expected = next((by_name[name] for name in names if name in by_name), None)
        assert (expected is None) == (getattr(found, part) is None)
        assert expected is None or np.array_equal(expected, getattr(found, part))


@seeds_of(10_000)
def test_a_data_file_is_read_right_or_refused_in_one_sentence(seeds, tmp_path):
    root, refused = tmp_path / "root", 0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = data_file(folder, seed)
        text = said_of(seed, lambda path=path: check_facts(path, root))
        if text is not None:
            refused += 1
            assert text.startswith("data.name: "), (seed, text)
            assert str(folder) in text, (seed, text)
        shutil.rmtree(folder)
    assert len(seeds) / 2 < refused < 0.9 * len(seeds)
    assert not list(root.rglob("*.partial"))
