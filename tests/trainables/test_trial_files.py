"""A trial's files: the same laws in a folder that every node sees and in object storage."""

import tempfile

import pytest

from trainables.errors import StorageError
from trainables.files import trial_files as module
from trainables.files.trial_files import FILE_NAME, trial_files
from trainables.folder import LocalFolder
from trainables.object_storage import RemoteFolder


@pytest.fixture
def files(trials_root):
    return trial_files(trials_root, "0000")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """This node's folder for what is there for a moment."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def put(files, **contents):
    with files.writing(last=FILE_NAME) as folder:
        for name, content in contents.items():
            (folder / name).write_text(content)


def text_of(files, name):
    with files.reading(name) as path:
        assert path.name == name
        return path.read_text()


def test_what_is_written_is_there_for_the_next_who_looks(files, trials_root, scratch):
    assert files.names() == []
    put(files, b="one", a="two")
    put(files, b="three")
    other = trial_files(trials_root, "0000")
    assert other.names() == ["a", "b"]
    assert (text_of(other, "a"), text_of(other, "b")) == ("two", "three")
    assert trial_files(trials_root, "0001").names() == []
    assert list(scratch.iterdir()) == []


def test_what_is_deleted_is_gone_and_deleting_it_again_no_error(files):
    put(files, a="one", b="two")
    files.delete("a")
    files.delete("a")
    assert files.names() == ["b"]


def test_a_node_that_loses_its_disk_loses_nothing_that_was_written(remote_root, tmp_path, monkeypatch):
    for node in ("first", "second"):
        (tmp_path / node).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / node))
        files = trial_files(remote_root, "0000")
        if node == "first":
            put(files, a="one")
            (tmp_path / node).rmdir()
    assert text_of(files, "a") == "one"


def test_the_final_checkpoint_is_put_there_after_all_others(remote_root, monkeypatch):
    order, write = [], RemoteFolder.write
    monkeypatch.setattr(RemoteFolder, "write", lambda self, name, data: (order.append(name), write(self, name, data)))
    put(trial_files(remote_root, "0000"), **{FILE_NAME: "last", "a": "", "z": ""})
    assert sorted(order) == ["a", FILE_NAME, "z"]
    assert order[-1] == FILE_NAME


@pytest.mark.parametrize("root", ["/proc/nothing", "file:///proc/nothing"])
def test_what_cannot_be_kept_says_why(root, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", ())
    with pytest.raises(StorageError, match=r"/proc/nothing/0000 cannot be written: .+; check the (path|address)"):
        put(trial_files(root, "0000"), a="one")


def half_written(files, error):
    with files.writing() as folder:
        (folder / "a").write_text("half")
        raise error


def test_a_node_without_space_says_so_and_puts_nothing_there(remote_root, scratch):
    files = trial_files(remote_root, "0000")
    with pytest.raises(StorageError, match=rf"{scratch}.* cannot be written: .*no space.*; free some space"):
        half_written(files, OSError(28, "no space left"))
    assert files.names() == []
    assert list(scratch.iterdir()) == []


def test_an_error_of_another_kind_is_left_as_it_is_and_puts_nothing_there(remote_root):
    files = trial_files(remote_root, "0000")
    with pytest.raises(ZeroDivisionError):
        half_written(files, ZeroDivisionError())
    assert files.names() == []


def test_a_path_is_a_folder_and_a_uri_is_not(tmp_path):
    assert trial_files(tmp_path, "0000") == trial_files(str(tmp_path), "0000") == LocalFolder(tmp_path / "0000")
    assert str(trial_files("s3://b/x?region=eu", "0000")) == "s3://b/x/0000?region=eu"
