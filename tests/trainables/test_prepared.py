"""What lies under `prepared/`: made once, whole or not there, never stale, shared by whoever maps it, and bounded."""

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from trainables.config import DataConfig
from trainables.data import readers
from trainables.data.dataset import load
from trainables.data.examples import Examples
from trainables.data.readers import prepared as preparation
from trainables.data.readers.prepared import Images, Streamed, key_of, prepared
from trainables.errors import DataError

CPU = torch.device("cpu")
BINARIZE = get_args(DataConfig.model_fields["binarize"].annotation)
VALUES = np.random.default_rng(0).random((70, 3, 4))


def training_examples(found):
    return found.train.tensor(CPU)


def save_npz(path, values):
    np.savez(path, x_train=values, x_val=values[:20], x_test=values[:30])


WRITERS = {
    "floats.npy": lambda path, values: np.save(path, values.astype(np.float32)),
    "doubles.npy": np.save,
    "columns.npy": lambda path, values: np.save(path, np.asfortranarray(values.astype(np.float32))),
    "swapped.npy": lambda path, values: np.save(path, values.astype(">f4")),
    "bits.npy": lambda path, values: np.save(path, values > 0.5),
    "bytes.npy": lambda path, values: np.save(path, (values > 0.5).astype(np.uint8)),
    "numbers.npy": lambda path, values: np.save(path, (values > 0.5).astype(int)),
    "parts.npz": save_npz,
}
MAPPED_ITSELF = {"floats.npy", "bits.npy", "bytes.npy"}


@pytest.fixture(params=WRITERS)
def file(request, tmp_path):
    WRITERS[request.param](tmp_path / request.param, VALUES)
    return tmp_path / request.param


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def loaded(file, root, **options):
    return load(DataConfig(name=str(file), **options), root, CPU)


def mapped_at(array):
    """The file behind an array's first value and its last, as the kernel has it; none for memory of the process."""
    first = array.ctypes.data
    last = first + array.nbytes - 1
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, _, _, _, *path = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if start <= first < end:
            assert last < end
            return Path(path[0]) if path and path[0].startswith("/") else None
    raise AssertionError(f"{first:x} is mapped nowhere")


def on_one_node(task, root, option):
    """What each of three processes says."""
    command = [sys.executable, Path(__file__).with_name("on_one_node.py"), task, root, option]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert len(said) == 3
    return said


# --- in files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", BINARIZE)
def test_training_examples_of_a_cpu_lie_in_a_file_whatever_they_came_as(binarize, file, root):
    found = loaded(file, root, binarize=binarize)
    assert isinstance(found.train, Examples)
    expected = {"fixed": root / "prepared" / "bits" / "train"}.get(
        binarize, file if file.name in MAPPED_ITSELF else root / "prepared" / "arrays"
    )
    path = mapped_at(found.train.array)
    assert path == expected or path.parent.parent == expected


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
def test_bits_that_were_drawn_once_are_not_copied_either(binarize, file, root):
    found = loaded(file, root, binarize=binarize)
    for part in ("val", "test"):
        assert mapped_at(getattr(found, part).numpy()).parent.parent == root / "prepared" / "bits" / part


def test_official_parts_are_not_copied_and_parts_split_off_are(root, tmp_path):
    save_npz(tmp_path / "x.npz", VALUES)
    np.save(tmp_path / "x.npy", VALUES)
    official, split_off = (loaded(tmp_path / name, root) for name in ("x.npz", "x.npy"))
    assert mapped_at(official.test.numpy()).name == "test.npy"
    assert mapped_at(official.val.numpy()).name == "val.npy"
    assert mapped_at(split_off.test.numpy()) is None


def test_what_is_in_files_is_what_was_given(file, root):
    given = readers.read(str(file), root)
    found = readers.mapped(str(file), root)
    for part in ("train", "val", "test"):
        before, after = getattr(given, part), getattr(found, part)
        assert (before is None) == (after is None)
        if before is not None:
            assert after.dtype == (np.uint8 if before.dtype in (np.uint8, np.bool_) else np.float32)
            assert after.flags.c_contiguous
            assert np.array_equal(after, before.astype(after.dtype))


def test_fixed_bits_are_those_of_one_draw_in_the_order_of_the_examples(root, tmp_path):
    from trainables.random_streams import generator

    np.save(tmp_path / "x.npy", VALUES)
    for seed in (0, 1):
        gray = loaded(tmp_path / "x.npy", root, split_seed=seed)
        bits = loaded(tmp_path / "x.npy", root, split_seed=seed, binarize="fixed")
        values = {"train": training_examples(gray), "val": gray.val, "test": gray.test}
        drawn = {"train": training_examples(bits), "val": bits.val, "test": bits.test}
        for part, probability in values.items():
            uniform = torch.rand(probability.shape, generator=generator("cpu", seed, f"bits/{part}/fixed"))
            assert drawn[part].equal((uniform < probability).to(torch.uint8))


@pytest.mark.parametrize("binarize", ["none", "fixed"])
def test_three_trials_hold_one_copy_of_mnist(binarize, data_dir):
    """Each has all of it in memory, a third of it for its own account, and nothing of it in memory of its own."""
    for found in on_one_node("share", data_dir, binarize):
        assert found["Rss"] >= found["size"]
        assert found["Pss"] < 0.5 * found["Rss"]
        assert found["Private_Dirty"] == found["Anonymous"] == 0
        assert found["grown"] < 0.9 * found["size"], "what buffers take is less than a copy"


# --- never stale ------------------------------------------------------------------------------------------------------


def rewrite(file, values):
    """With another time, however coarse the clock."""
    before = file.stat()
    WRITERS[file.name](file, values)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file.stat().st_size == before.st_size


@pytest.mark.parametrize("binarize", BINARIZE)
def test_a_file_that_was_rewritten_is_another_set(binarize, file, root, tmp_path):
    old = training_examples(loaded(file, root, binarize=binarize)).clone()
    rewrite(file, 1 - VALUES)
    new = loaded(file, root, binarize=binarize)
    fresh = loaded(file, tmp_path / "fresh", binarize=binarize)
    assert not training_examples(new).equal(old)
    assert training_examples(new).equal(training_examples(fresh))
    assert new.val.equal(fresh.val)


def test_what_was_prepared_is_not_made_again(file, root, monkeypatch):
    first = loaded(file, root, binarize="fixed")
    monkeypatch.setattr(preparation, "save", lambda *arguments: pytest.fail("prepared again"))
    again = loaded(file, root, binarize="fixed")
    assert training_examples(first).equal(training_examples(again))


@pytest.mark.parametrize("change", [{"split_seed": 1}, {"n_train": 30}])
def test_other_examples_have_other_bits(change, root, tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    keys = {loaded(tmp_path / "x.npy", root, binarize="fixed", **tree).train.array.filename for tree in ({}, change)}
    assert len(keys) == 2


def test_official_parts_have_bits_of_their_own_for_every_seed(root, tmp_path):
    save_npz(tmp_path / "x.npz", VALUES)
    first, other = (loaded(tmp_path / "x.npz", root, binarize="fixed", split_seed=seed) for seed in (0, 1))
    assert not first.val.equal(other.val)
    assert not first.test.equal(other.test)


def test_a_key_stands_for_all_that_it_is_made_of(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"12345678")
    np.save(tmp_path / "x.npy", np.arange(4))
    array = np.load(tmp_path / "x.npy")
    origins = [(), ("a",), ("a", "b"), ("ab",), (1,), (tmp_path / "a",), (tmp_path / "b",), (array,), (array[::-1],)]
    origins += [(np.load(tmp_path / "x.npy", mmap_mode="r"),)]
    assert len({key_of(*origin) for origin in origins}) == len(origins)
    assert key_of(array.copy()) == key_of(array)


# --- by many at once --------------------------------------------------------------------------------------------------


def write_mnist(root):
    """In the layout in which torchvision unpacks it."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for prefix, n in (("train", 3000), ("t10k", 500)):
        for kind, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
            values = np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8)
            values = values if len(shape) == 3 else values % 10
            (folder / f"{prefix}-{kind}-ubyte").write_bytes(header + values.tobytes())


@pytest.mark.parametrize("lock", ["a file's", "none"])
def test_the_processes_of_a_node_prepare_a_set_once_and_without_a_lock_come_to_the_same(lock, tmp_path):
    write_mnist(tmp_path)
    said = on_one_node("race", tmp_path, lock)
    mnist = load(DataConfig(name="mnist", binarize="fixed"), tmp_path, CPU)
    parts = mnist.train_batch(torch.arange(100), 0, 0), mnist.val, mnist.test
    assert [each["sums"] for each in said] == 3 * [[int(part.sum()) for part in parts]]
    n_prepared = sum(each["prepared"] for each in said)
    assert n_prepared == (3 if lock == "none" else 1)
    assert not list(tmp_path.rglob("*.partial"))


def no_lock(*arguments, **options):
    return nullcontext()


def lock_refused(*arguments, **options):
    raise OSError("no locks here")


@pytest.mark.parametrize("broken", [no_lock, lock_refused])
@pytest.mark.parametrize("where", ["before it is read", "val", "train"])
def test_without_a_lock_a_preparation_overtaken_by_another_ends_well(where, broken, root, monkeypatch):
    monkeypatch.setattr(preparation, "FileLock", broken)
    overtaken = []

    def overtake(at):
        if at == where and not overtaken:
            overtaken.append(at)
            prepared(root / "set", "set", 1.0, make)

    def rows(part):
        for row in VALUES:
            yield row
            overtake(part)

    def make():
        overtake("before it is read")
        return {part: Streamed(VALUES.shape, VALUES.dtype, rows(part)) for part in ("train", "val")}

    found = prepared(root / "set", "set", 1.0, make)
    assert overtaken
    assert np.array_equal(found.train, VALUES)
    assert np.array_equal(found.val, VALUES)
    assert {path.name for path in (root / "set").iterdir()} == {"train.npy", "val.npy"}


def test_without_a_lock_a_preparation_that_began_later_does_not_write_into_a_finished_one(root, monkeypatch):
    monkeypatch.setattr(preparation, "FileLock", no_lock)
    values = np.random.default_rng(0).random((200, 1000))
    begun, may_go_on = threading.Event(), threading.Event()

    def held_up():
        begun.set()
        may_go_on.wait(timeout=60)
        yield values

    def later():
        prepared(root / "set", "set", 1.0, lambda: {"train": Streamed(values.shape, values.dtype, held_up())})

    def rows():
        yield values[:100]
        other.start()
        begun.wait(timeout=60)
        yield values[100:]

    other = threading.Thread(target=later)
    found = prepared(root / "set", "set", 1.0, lambda: {"train": Streamed(values.shape, values.dtype, rows())})
    assert np.array_equal(found.train, values)
    may_go_on.set()
    other.join()
    assert np.array_equal(np.load(root / "set" / "train.npy"), values)


def test_a_reader_never_sees_a_part_of_a_set(root, monkeypatch):
    """Nothing is there while it is made, and the part that says that all is there comes last."""
    seen, published = [], []

    def rows():
        for row in VALUES:
            seen.extend(path.name for path in (root / "set").glob("*.npy"))
            yield row

    def publish(partial, path):
        original(partial, path)
        published.append(path.name)

    original = preparation.publish
    monkeypatch.setattr(preparation, "publish", publish)
    parts = {part: Streamed(VALUES.shape, VALUES.dtype, rows()) for part in ("train", "val", "test")}
    prepared(root / "set", "set", 1.0, lambda: parts)
    assert seen == []
    assert set(published[:-1]) == {"val.npy", "test.npy"}
    assert published[-1] == "train.npy"


def test_what_a_killed_preparation_left_is_removed_by_the_next(root):
    (root / "set").mkdir(parents=True)
    (root / "set" / "train.0123.partial").write_bytes(b"half")
    prepared(root / "set", "set", 1.0, lambda: {"train": VALUES})
    assert {path.name for path in (root / "set").iterdir()} == {"train.npy"}


# --- bounded ----------------------------------------------------------------------------------------------------------


def sets(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture
def make_set(root):
    def make(name, value=0.0, bounded=True):
        values = np.full((4, 100), value, np.float32)
        return prepared(root / name, name, 1.0, lambda: {"train": values}, bounded=bounded)

    return make


def test_of_a_kind_those_made_last_are_kept_and_what_is_open_stays(make_set, root, monkeypatch):
    monkeypatch.setattr(preparation, "KEPT", 3)
    found = [make_set(str(i), i) for i in range(7)]
    assert [path.name for path in sets(root)] == ["4", "5", "6"]
    assert {path.name for path in root.iterdir()} == {*"456", "4.lock", "5.lock", "6.lock"}
    assert [source.train[0, 0] for source in found] == list(range(7))


def test_sets_that_are_not_bounded_neither_forget_nor_count(make_set, root, monkeypatch):
    monkeypatch.setattr(preparation, "KEPT", 2)
    for i in range(4):
        make_set(str(i), bounded=False)
    assert len(sets(root)) == 4


def test_files_that_are_rewritten_and_seeds_that_are_tried_do_not_fill_the_disk(root, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "KEPT", 2)
    WRITERS["doubles.npy"](tmp_path / "doubles.npy", VALUES)
    for i in range(5):
        rewrite(tmp_path / "doubles.npy", VALUES / (i + 1))
        loaded(tmp_path / "doubles.npy", root, binarize="fixed", split_seed=i)
    kinds = [root / "prepared" / kind for kind in ("arrays", "bits/train", "bits/val", "bits/test")]
    assert [len(sets(kind)) for kind in kinds] == [2, 2, 2, 2]


def test_the_oldest_make_room_where_the_disk_is_full(make_set, root, monkeypatch):
    usage = shutil.disk_usage(root.parent)
    size = 4 * 100 * 4

    def three_sets_fit(folder):
        return usage._replace(free=3 * size - size * len(list(root.glob("*/train.npy"))))

    monkeypatch.setattr(shutil, "disk_usage", three_sets_fit)
    for i in range(5):
        make_set(str(i))
    assert [path.name for path in sets(root)] == ["2", "3", "4"]


def test_one_that_is_forgotten_while_it_is_opened_is_made_again(make_set, root, monkeypatch):
    make_set("set", 1)
    opened = preparation.opened

    def forgotten(folder, scale):
        monkeypatch.setattr(preparation, "opened", opened)
        preparation.forget(folder)
        return opened(folder, scale)

    monkeypatch.setattr(preparation, "opened", forgotten)
    assert make_set("set", 2).train[0, 0] == 2


def test_nothing_of_a_set_is_read_once_its_last_part_is_gone(root, monkeypatch):
    """What is forgotten loses the part first that is opened last."""
    parts = {"train": VALUES, "val": VALUES[:5]}
    prepared(root / "set", "set", 1.0, lambda: parts)
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **options: None)
    preparation.forget(root / "set")
    assert (root / "set" / "val.npy").exists()
    with pytest.raises(FileNotFoundError):
        preparation.opened(root / "set", 1.0)


# --- where nothing can be written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", BINARIZE)
def test_where_nothing_can_be_written_a_users_arrays_are_held_in_memory(binarize, file, root, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    found, expected = (loaded(file, place, binarize=binarize) for place in (tmp_path / "file", root))
    assert training_examples(found).equal(training_examples(expected))
    assert found.val.equal(expected.val)
    assert found.test.equal(expected.test)
    order = torch.split(torch.randperm(len(found.train)), 8)
    for first, second in zip(*(data.train_batches(order, 0, 0) for data in (found, expected)), strict=True):
        assert first.equal(second)
    said = capsys.readouterr().err
    in_files = file.name in MAPPED_ITSELF and binarize in ("none", "soft")
    assert said == "" if in_files else said.endswith("; until then each trial holds a copy of it in memory\n")


def test_where_the_disk_is_too_small_they_are_held_in_memory(root, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "x.npy", VALUES)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    found = loaded(tmp_path / "x.npy", root)
    assert mapped_at(found.train.array) is None
    assert training_examples(found).equal(torch.from_numpy(VALUES.astype(np.float32).reshape(70, -1)[found.train.rows]))
    assert capsys.readouterr().err == (
        f"data.name: x.npy takes 3.36e-06 GB when prepared and {root}/prepared/arrays has 1e-06 GB free; choose "
        "another folder with --data-dir or VAE_TUNER_DATA; until then each trial holds a copy of it in memory\n"
    )
    assert not sets(root / "prepared" / "arrays")


def test_images_that_do_not_fit_are_refused(root, monkeypatch):
    usage = shutil.disk_usage(root.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"lower data\.image_size, or choose another folder"):
        prepared(root / "set", "set", 1.0, lambda: {"train": Images(9, (20, 20), lambda i: VALUES)})


def test_an_array_that_cannot_be_trained_on_is_refused_and_leaves_nothing(root, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.full((9, 2), np.nan))
    with pytest.raises(DataError) as error:
        loaded(tmp_path / "x.npz", root)
    assert str(error.value).endswith("x.npz has 18 values that are NaN or infinite; remove or impute them")
    assert not sets(root / "prepared" / "arrays")


def test_a_set_that_another_process_puts_in_place_meanwhile_is_read_whole(root, monkeypatch):
    """Between the look for its official parts and that for what is trained on."""
    parts = {part: Streamed(VALUES.shape, VALUES.dtype, [VALUES]) for part in ("train", "val", "test")}
    prepared(root / "other", "set", 1.0, lambda: parts)
    looked, is_there = [], preparation.is_there

    def look(folder, part="train"):
        looked.append(part)
        if len(looked) == 2:
            shutil.copytree(root / "other", root / "set", dirs_exist_ok=True)
        return is_there(folder, part)

    monkeypatch.setattr(preparation, "is_there", look)
    found = prepared(root / "set", "set", 1.0, lambda: parts)
    assert found.val is not None
    assert found.test is not None
