"""A folder of files: the same laws on a disk, on an S3 server over HTTP and on pyarrow's local file system."""

import threading

import pytest

from trainables.errors import StorageError
from trainables.folder import LocalFolder, bytes_in, replacing
from trainables.object_storage import RemoteFolder, folder_at


@pytest.fixture
def files(trials_root):
    return folder_at(trials_root)


def test_what_is_written_is_read_again(files):
    (files / "sweep").write("trials/0000/x.bin", b"\x00one")
    (files / "sweep").write("trials/0000/x.bin", b"two")
    files.write("empty", b"")
    assert files.read("sweep/trials/0000/x.bin") == b"two"
    assert files.read("empty") == b""
    assert files.names() == ["empty", "sweep/trials/0000/x.bin"]
    assert (files / "sweep" / "trials").sizes() == {"0000/x.bin": 3}


def test_what_is_not_there_is_none_and_deleting_it_no_error(files):
    assert files.read("nothing") is None
    assert (files / "nothing").names() == []
    files.delete("nothing")
    (files / "nothing").clear()


def test_what_is_deleted_is_gone(files):
    files.write("a/b", b"1")
    files.write("c", b"1")
    files.delete("a/b")
    assert files.read("a/b") is None
    assert files.names() == ["c"]


def test_a_folder_goes_with_all_that_is_in_it_and_nothing_else(files):
    for name in ("s/a", "s/b/c", "s-1/a", "t"):
        files.write(name, b"1")
    (files / "s").clear()
    assert files.names() == ["s-1/a", "t"]


def test_a_reader_finds_a_file_whole_or_not_at_all(files):
    contents = [bytes([n]) * 100_000 * (1 + 7 * n % 5) for n in range(12)]
    files.write("a", contents[0])
    found, ended = [], threading.Event()

    def read():
        while not ended.is_set():
            found.append(folder_at(str(files)).read("a"))

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        files.write("a", content)
    ended.set()
    reader.join()
    assert found
    assert set(found) <= set(contents)


def test_what_is_right_in_a_folder_are_its_files_and_folders(files):
    for name in ("s/a", "s/b/c", "t"):
        files.write(name, b"12")
    assert files.children() == ["s", "t"]
    assert (files / "nothing").children() == []
    assert bytes_in(files) == 6


def test_there_is_room_for_what_is_read_again(files):
    assert files.existing().free() is None or files.free() > 0
    assert str(files.absolute() / "a") == str((files / "a").absolute())
    assert not files.is_link()


# --- a disk -----------------------------------------------------------------------------------------------------------


def test_what_a_link_leads_to_is_neither_counted_nor_removed(tmp_path):
    ours, others = LocalFolder(tmp_path / "ours"), LocalFolder(tmp_path / "others")
    for folder in (ours, others):
        folder.write("a", b"1")
    (tmp_path / "ours" / "b").symlink_to(others.path / "a")
    (tmp_path / "ours" / "c").symlink_to(others.path)
    assert ours.names() == ["a"]
    assert (ours / "c").is_link()
    assert (ours / "c").children() == []
    (ours / "c").clear()
    assert ours.children() == ["a", "b"]
    ours.clear()
    assert others.read("a") == b"1"


def test_the_folder_nearest_to_one_that_is_not_there_says_what_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_at("a/b/c").existing() == LocalFolder(tmp_path)
    assert folder_at("a/b/c").free() == folder_at(tmp_path).free()
    assert folder_at("s3://b/x").existing() == RemoteFolder("s3://b/x")
    for none in ("\0", "x" * 300):
        with pytest.raises(StorageError, match=r"is not a path: .*; check it"):
            folder_at(none).existing()


@pytest.mark.parametrize("act", ["write", "read"])
def test_what_the_disk_refuses_names_the_folder_and_the_reason(tmp_path, act):
    (tmp_path / "a").mkdir()
    folder = LocalFolder(tmp_path)
    with pytest.raises(StorageError) as refusal:
        folder.write("a", b"1") if act == "write" else folder.read("a")
    verb = {"write": "written", "read": "read"}[act]
    assert str(refusal.value) == f"{tmp_path} cannot be {verb}: Is a directory; check the path and its permissions"
    assert folder_at(tmp_path).children() == ["a"]


def half_written(file):
    with replacing(file) as part:
        part.write_text("half")
        raise ZeroDivisionError


def test_what_fails_while_it_is_written_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(ZeroDivisionError):
        half_written(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "before"
    assert folder_at(tmp_path).children() == ["a"]
