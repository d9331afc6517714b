"""Data in object storage are fetched once on a node, and are what was put there."""

import threading

import numpy as np
import pytest

from trainables.config import DataConfig
from trainables.data.dataset import data_facts
from trainables.data.readers import absolute, is_path, read
from trainables.data.readers.fetched import DATA, digest_of, file_name, put
from trainables.errors import DataError
from trainables.object_storage import RemoteFolder


@pytest.fixture
def own(tmp_path):
    """A folder as it is shipped: the digest's, with an array in it."""
    made = tmp_path / "here" / "own.npy"
    made.parent.mkdir()
    np.save(made, np.random.default_rng(0).random((60, 4, 4), dtype=np.float32))
    folder = tmp_path / digest_of({"own.npy": made})
    made.parent.rename(folder)
    return folder


def place_of(own, root):
    return RemoteFolder(root) / DATA / own.name


def kept(own, root):
    """What is shipped, put there; the name of its one file or folder."""
    put(own, place_of(own, root))
    (name,) = {path.relative_to(own).parts[0] for path in own.rglob("*")}
    return str(place_of(own, root) / name)


def refused(uri, tmp_path):
    with pytest.raises(DataError) as refusal:
        read(uri, tmp_path / "data")
    return str(refusal.value)


def test_a_nodes_copy_is_the_file(own, remote_root, tmp_path):
    uri = kept(own, remote_root)
    assert (is_path(uri), absolute(uri), file_name(uri)) == (True, uri, "own.npy")
    facts = data_facts(DataConfig(name=uri), tmp_path / "data")
    assert facts == data_facts(DataConfig(name=str(own / "own.npy")), tmp_path)
    copies = [path for path in (tmp_path / "data" / "fetched" / own.name).rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in copies] == [(own / "own.npy").read_bytes()]


def test_a_folder_of_images_is_one_there_too(remote_root, tmp_path):
    from PIL import Image

    files = {f"faces/{part}/{i}.png": tmp_path / f"faces/{part}/{i}.png" for part in ("train", "val") for i in range(3)}
    for i, path in enumerate(files.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(path)
    folder = tmp_path / digest_of(files)
    folder.mkdir()
    (tmp_path / "faces").rename(folder / "faces")
    uri = kept(folder, remote_root)
    there, here = (read(name, tmp_path / "data") for name in (uri, str(folder / "faces")))
    assert np.array_equal(there.train, here.train)
    assert np.array_equal(there.val, here.val)


def test_whoever_asks_at_the_same_time_one_fetches(own, new_bucket, object_store, tmp_path):
    uri = kept(own, new_bucket())
    before, found = len(object_store.requests), []
    threads = [
        threading.Thread(target=lambda: found.append(read(uri, tmp_path / "data").train.sum())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [np.load(own / "own.npy").sum()] * 4
    assert len([line for line in object_store.requests[before:] if "own.npy" in line and line.startswith("GET")]) == 1


def test_what_a_killed_fetch_left_is_removed_by_the_next(own, remote_root, tmp_path):
    parent = tmp_path / "data" / "fetched"
    for left in (f".{own.name}-abc", ".0123456789abcdef-abc"):
        (parent / left / own.name).mkdir(parents=True)
        (parent / left / own.name / "own.npy").write_bytes(b"half")
    read(kept(own, remote_root), tmp_path / "data")
    assert {path.name for path in parent.iterdir()} - {f"{own.name}.lock"} == {own.name, ".0123456789abcdef-abc"}


@pytest.mark.parametrize("where", ["before it is read", "after"])
def test_without_a_lock_a_fetch_overtaken_by_another_ends_well(where, own, remote_root, tmp_path, monkeypatch):
    def no_lock(*arguments, **options):
        raise OSError("no locks here")

    def overtaken(folder, name):
        overtake("before it is read")
        content = original(folder, name)
        overtake("after")
        return content

    def overtake(at):
        if at == where and not others:
            others.append(None)
            others[0] = read(uri, tmp_path / "data")

    original, others = RemoteFolder.read, []
    monkeypatch.setattr("trainables.data.readers.prepared.FileLock", no_lock)
    monkeypatch.setattr(RemoteFolder, "read", overtaken)
    uri = kept(own, remote_root)
    assert np.array_equal(read(uri, tmp_path / "data").train, np.load(own / "own.npy"))
    assert np.array_equal(others[0].train, np.load(own / "own.npy"))
    assert [path.name for path in (tmp_path / "data" / "fetched").iterdir()] == [own.name]


def test_what_is_there_is_put_once(own, new_bucket, object_store):
    root = new_bucket()
    kept(own, root)
    before = len(object_store.requests)
    kept(own, root)
    assert not [line for line in object_store.requests[before:] if line.startswith(("PUT", "POST"))]
    place_of(own, root).write("own.npy", b"cut")
    kept(own, root)
    assert place_of(own, root).read("own.npy") == (own / "own.npy").read_bytes()


def test_what_was_changed_there_is_not_trained_on(own, remote_root, tmp_path):
    uri = kept(own, remote_root)
    place_of(own, remote_root).write("own.npy", b"x" * (own / "own.npy").stat().st_size)
    assert refused(uri, tmp_path) == (
        f"data.name: the content of {place_of(own, remote_root)} is not what was put there; remove it, and submit the "
        "sweep again"
    )
    assert not [path for path in (tmp_path / "data" / "fetched").iterdir() if path.is_dir()]


def test_what_is_gone_there_is_named(own, remote_root, tmp_path):
    uri, place = kept(own, remote_root), place_of(own, remote_root)
    again = "submit the sweep again from where its data are"
    assert refused(uri.replace("own", "other"), tmp_path) == f"data.name: there is no other.npy in {place}; {again}"
    assert read(uri, tmp_path / "data").train.shape == (60, 4, 4)
    place.clear()
    assert read(uri, tmp_path / "data").train.shape == (60, 4, 4)
    assert refused(uri, tmp_path / "new") == f"data.name: there is nothing in {place}; {again}"


@pytest.mark.parametrize("uri", ["s3://bucket/own.npy", "s3://b/.data/xyz/own.npy", "s3://b/.data/0123456789abcdef"])
def test_other_objects_are_no_data_sets(uri, tmp_path):
    assert refused(uri, tmp_path) == (
        f"data.name: {uri} is not a data set; in object storage only data that `submit` has put there can be used, as "
        "STORAGE/.data/DIGEST/NAME: submit a sweep with the path of a file of this machine"
    )


def test_names_of_objects_lead_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(RemoteFolder, "names", lambda folder: ["../../../owned"])
    monkeypatch.setattr(RemoteFolder, "read", lambda folder, name: b"1")
    uri = f"s3://bucket/{DATA}/{'0' * 16}/own.npy"
    assert "'../../../owned' in s3://bucket/.data/0000000000000000 leads out of it" in refused(uri, tmp_path)
    assert not list(tmp_path.rglob("owned"))


def test_a_data_directory_that_takes_nothing_is_named(own, remote_root, tmp_path):
    (tmp_path / "data").touch()
    assert refused(kept(own, remote_root), tmp_path).endswith(
        "choose a writable folder with --data-dir or VAE_TUNER_DATA"
    )
