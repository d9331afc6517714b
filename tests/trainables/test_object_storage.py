"""Object storage: an S3 server over HTTP, and pyarrow's local file system, which has the same interface."""

import pytest

from trainables import object_storage as module
from trainables.errors import ConfigError, StorageError
from trainables.object_storage import RemoteFolder, checked_storage, is_remote


@pytest.mark.parametrize("storage", ["s3://bucket/sweeps", "gs://b", "file:///tmp/x", "abfs://c@a/x"])
def test_a_uri_is_remote(storage):
    assert is_remote(storage)
    assert checked_storage(storage) == storage


@pytest.mark.parametrize("storage", ["./sweeps", "/mnt/x", "C:/sweeps", "sweeps", "a:b", "me:x@y?secret=1"])
def test_a_path_is_not(storage):
    assert not is_remote(storage)
    assert checked_storage(storage) == storage


@pytest.mark.parametrize(
    ("storage", "variables"),
    [
        ("s3://KEY:S3CR3T@bucket/x", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3://KEY:S3/CR3T@bucket/x?region=eu", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket/x?region=eu&secret_key=S3CR3T", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://bucket?access_token=S3CR3T", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("abfs://:S3CR3T@account/c", "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"),
        ("abfss://c@account/x?sig=S3CR3T", "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"),
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(storage, variables):
    for take in (checked_storage, RemoteFolder):
        with pytest.raises(ConfigError) as refusal:
            take(storage)
        assert str(refusal.value) == (
            "storage: credentials in a URI would be written into the journal; leave them out and set "
            f"{variables} on every node, or give the nodes a role"
        )


def test_the_query_of_a_uri_stays_at_its_end():
    assert (RemoteFolder("s3://b/x?region=eu") / "y" / "z").uri == "s3://b/x/y/z?region=eu"


def test_a_small_file_costs_one_request(new_bucket, object_store):
    folder = RemoteFolder(new_bucket()) / "s"
    before = len(object_store.requests)
    folder.write("a", b"1")
    assert [request.split("?")[0] for request in object_store.requests[before:]] == [
        f"PUT /{folder.uri[5:].partition('?')[0]}/a"
    ]


@pytest.mark.parametrize("uri", ["nosuch://bucket/x", "file:///proc/nothing"])
def test_what_cannot_be_written_says_why(uri):
    with pytest.raises(StorageError, match=r"cannot be written: .+; check the address"):
        RemoteFolder(uri).write("a", b"1")


def test_a_bucket_that_is_not_there_says_so(new_bucket):
    uri = new_bucket().replace("s3://bucket", "s3://no-bucket")
    with pytest.raises(StorageError, match=r"s3://no-bucket.* cannot be written: .*bucket.*; check the address"):
        RemoteFolder(uri).write("a", b"1")


def test_an_outage_shorter_than_the_pauses_is_not_noticed(tmp_path, monkeypatch):
    (tmp_path / "bucket").touch()
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            (tmp_path / "bucket").unlink()

    monkeypatch.setattr(module.time, "sleep", sleep)
    uri = (tmp_path / "bucket").as_uri()
    with pytest.raises(StorageError):
        RemoteFolder(uri).write("a", b"1")
    patient = RemoteFolder(uri, (3.0, 7.0, 20.0)) / "s"
    patient.write("a", b"1")
    assert slept == [3.0, 7.0]
    assert patient.read("a") == b"1"
