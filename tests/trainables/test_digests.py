"""Data are known by their values: whatever file holds them, and nothing else."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.config import DataConfig
from trainables.data import readers
from trainables.data.dataset import data_facts, load
from trainables.data.readers import built_in, digest
from trainables.data.readers.base import Source
from trainables.data.readers.digests import digest_of_source
from trainables.data.readers.prepared import key_of
from trainables.errors import DataError

VALUES = np.random.default_rng(0).normal(size=(60, 4, 4)).astype(np.float32)
BITS = (VALUES > 0).astype(np.uint8)
PARTS = Source(VALUES[:40], VALUES[40:50], VALUES[50:], 1.0)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def save_parts(path, source):
    np.savez(path, x_train=source.train, x_val=source.val, x_test=source.test)


ROUTES = {
    "again.npy": lambda path: np.save(path, VALUES),
    "float64.npy": lambda path: np.save(path, VALUES.astype(np.float64)),
    "big-endian.npy": lambda path: np.save(path, VALUES.astype(">f4")),
    "by-columns.npy": lambda path: np.save(path, np.asfortranarray(VALUES)),
    "packed.npz": lambda path: np.savez_compressed(path, x=VALUES),
    "alone.npz": lambda path: np.savez(path, x_train=VALUES),
}


@pytest.mark.parametrize("name", ROUTES)
def test_equal_values_have_one_digest_whatever_file_they_come_from(name, root, tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    ROUTES[name](tmp_path / name)
    assert digest(str(tmp_path / name), root) == digest(str(tmp_path / "x.npy"), root)


def test_bits_are_bytes(root, tmp_path):
    np.save(tmp_path / "bytes.npy", BITS)
    np.save(tmp_path / "bits.npy", BITS.astype(bool))
    assert digest(str(tmp_path / "bytes.npy"), root) == digest(str(tmp_path / "bits.npy"), root)


def swapped(array):
    return array[[1, 0, *range(2, len(array))]]


def changed(array):
    found = array.copy()
    found[-1, -1, -1] = np.nextafter(found[-1, -1, -1], np.float32(9))
    return found


OTHERS = {
    "a value, by its last bit": replace(PARTS, train=changed(PARTS.train)),
    "a value of the test set": replace(PARTS, test=changed(PARTS.test)),
    "two rows swapped": replace(PARTS, train=swapped(PARTS.train)),
    "the end of a part moved": Source(VALUES[:39], VALUES[39:50], VALUES[50:], 1.0),
    "a part in the other's place": Source(VALUES[:40], VALUES[50:], VALUES[40:50], 1.0),
    "a part left out": replace(PARTS, test=None),
    "another scale": replace(PARTS, scale=255.0),
    "another shape": Source(*(part.reshape(-1, 2, 8) for part in (VALUES[:40], VALUES[40:50], VALUES[50:])), 1.0),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_values_have_another_digest(what):
    assert digest_of_source(OTHERS[what]) != digest_of_source(PARTS)


def test_a_large_array_is_read_in_parts_to_the_digest_of_the_whole(monkeypatch):
    whole = digest_of_source(PARTS)
    monkeypatch.setattr("trainables.data.readers.digests.in_parts", lambda array: np.array_split(array, 7))
    assert digest_of_source(PARTS) == whole


def test_a_folder_that_was_copied_has_the_digest_of_the_first(root, tmp_path):
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
        for i, bits in enumerate(BITS[:6]):
            gray = bits * 255 if (folder, i) != ("three", 5) else 255 - bits * 255
            Image.fromarray(gray).save(tmp_path / folder / f"{i}.png")
    one, two, three = (digest(str(tmp_path / folder), root) for folder in ("one", "two", "three"))
    assert one == two != three


def test_what_trials_load_has_the_digest_of_what_was_planned(root, tmp_path):
    save_parts(tmp_path / "x.npz", PARTS)
    config = DataConfig(name=str(tmp_path / "x.npz"), n_train=20, split_seed=3)
    assert data_facts(config, root).digest == load(config, root, torch.device("cpu")).digest == digest_of_source(PARTS)


def test_a_built_in_set_has_a_digest(vae_data_root):
    assert digest("digits", vae_data_root) == digest_of_source(built_in.read_built_in("digits", vae_data_root))


# --- kept -------------------------------------------------------------------------------------------------------------


def save(path, values):
    np.savez(path, x=values) if path.suffix == ".npz" else np.save(path, values)


@pytest.fixture(params=["x.npy", "x.npz"])
def file(request, tmp_path):
    save(tmp_path / request.param, VALUES)
    return tmp_path / request.param


def test_a_file_is_read_once(file, root, monkeypatch):
    first = digest(str(file), root)
    monkeypatch.setattr(readers, "read", lambda *arguments: pytest.fail("read again"))
    assert digest(str(file), root) == first


def test_a_file_that_was_rewritten_is_read_again_though_its_size_and_time_were_kept(file, root):
    first, before = digest(str(file), root), file.stat()
    other = file.with_name(f"other{file.suffix}")
    save(other, 1 - VALUES)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    key = key_of(file)
    other.replace(file)  # as `cp -p` and archives do it
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert key_of(file) != key
    assert digest(str(file), root) != first


def test_a_file_that_is_written_to_while_it_is_read_is_read_again(file, root, monkeypatch):
    read = readers.read

    def slowly(*arguments):
        found = read(*arguments)
        save(file, VALUES[:50])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(readers, "read", slowly)
        digest(str(file), root)
    save(file.with_name(f"copy{file.suffix}"), VALUES[:50])
    assert digest(str(file), root) == digest(str(file.with_name(f"copy{file.suffix}")), root)


@pytest.mark.parametrize("content", ["", "0123", "not a digest at all"])
def test_a_damaged_note_is_written_anew(content, file, root):
    first = digest(str(file), root)
    (note,) = (root / "prepared" / "digests").iterdir()
    note.write_text(content)
    assert digest(str(file), root) == first == note.read_text()


def test_where_nothing_can_be_written_it_is_computed(file, tmp_path):
    (tmp_path / "full").write_text("a file in the folder's place")
    assert digest(str(file), tmp_path / "full") == digest(str(file), tmp_path / "root")


def test_a_file_that_is_gone_is_a_mistake_that_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npy does not exist"):
        readers.digest(str(tmp_path / "gone.npy"), tmp_path)
