"""Object storage, tried on pyarrow's local file system, which has the same interface as the buckets."""

import pytest

from trainables.errors import StorageError
from trainables.remote import RemoteFolder, is_remote


@pytest.fixture
def remote(tmp_path):
    return RemoteFolder((tmp_path / "bucket").as_uri())


@pytest.mark.parametrize("storage", ["s3://bucket/sweeps", "gs://b", "file:///tmp/x", "abfs://c@a/x"])
def test_a_uri_is_remote(storage):
    assert is_remote(storage)


@pytest.mark.parametrize("storage", ["./sweeps", "/mnt/x", "C:/sweeps", "sweeps", "a:b"])
def test_a_path_is_not(storage):
    assert not is_remote(storage)


def test_what_is_written_is_read_again(remote):
    (remote / "sweep").write("trials/0000/x.bin", b"\x00one")
    (remote / "sweep").write("trials/0000/x.bin", b"two")
    assert remote.read("sweep/trials/0000/x.bin") == b"two"
    assert remote.names() == ["sweep/trials/0000/x.bin"]
    assert (remote / "sweep" / "trials").names() == ["0000/x.bin"]


def test_what_is_not_there_is_none_and_deleting_it_no_error(remote):
    assert remote.read("nothing") is None
    assert remote.names() == []
    remote.delete("nothing")


def test_what_is_deleted_is_gone(remote):
    remote.write("a", b"1")
    remote.delete("a")
    assert remote.read("a") is None


def test_the_query_of_a_uri_stays_at_its_end():
    assert (RemoteFolder("s3://b/x?region=eu") / "y" / "z").uri == "s3://b/x/y/z?region=eu"


@pytest.mark.parametrize("uri", ["nosuch://bucket/x", "file:///proc/nothing"])
def test_what_cannot_be_written_says_why(uri):
    with pytest.raises(StorageError, match=r"cannot be (opened|written): .+; check the address"):
        RemoteFolder(uri).write("a", b"1")
