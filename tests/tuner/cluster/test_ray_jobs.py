"""The command that a head runs does what it says, whatever its paths are called."""

import os
import subprocess
from pathlib import Path

import pytest
from object_store import CREDENTIALS

from trainables.object_storage import RemoteFolder
from tuner.cluster.backend import JobRequest
from tuner.cluster.job_log import refusal_in
from tuner.cluster.ray_jobs import entrypoint_of

SHOW = '#!/bin/sh\nprintf "%s\\n" "$MLFLOW_TRACKING_URI" "$@"\n'
NASTY = 'it\'s $(touch owned) "a" `b`; c'


@pytest.fixture
def head(tmp_path, environment):
    """Runs an entrypoint in a job's folder, with a `vae-tuner` that prints its store and its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vae-tuner").write_text(SHOW)
    (tmp_path / "bin" / "vae-tuner").chmod(0o755)
    (tmp_path / "job").mkdir()

    def run(request, **variables):
        given = {**environment, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}", **variables}
        done = subprocess.run(
            ["sh", "-c", entrypoint_of(request)],
            cwd=tmp_path / "job", env=given, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert not list(tmp_path.rglob("owned"))
        return done

    return run


def request_of(storage, tmp_path, **fields):
    return JobRequest("s", "s", storage, tmp_path, ("sweep", "spec.yaml", "--storage", storage), **fields)


@pytest.mark.parametrize("name", ["shared", NASTY])
def test_the_heads_own_store_comes_before_the_one_beside_the_sweeps(name, head, tmp_path):
    storage = str(tmp_path / name)
    given = request_of(storage, tmp_path, tracking_default=f"sqlite:///{storage}/mlflow.db")
    lines = head(given).stdout.splitlines()
    assert lines == [f"sqlite:///{storage}/mlflow.db", "sweep", "spec.yaml", "--storage", storage]
    assert Path(storage).is_dir()
    assert head(given, MLFLOW_TRACKING_URI="http://head:5000").stdout.splitlines()[0] == "http://head:5000"


@pytest.mark.parametrize("name", ["shared", NASTY])
def test_what_is_shipped_to_stay_is_put_into_the_storage_once(name, head, tmp_path):
    storage = str(tmp_path / name)
    (tmp_path / "job" / "shipped" / "1f").mkdir(parents=True)
    file = tmp_path / "job" / "shipped" / "1f" / "own data.npy"
    file.write_text("first")
    given = request_of(storage, tmp_path, kept={f"{storage}/.data/1f": "shipped/1f"})
    for text in ("first", "second"):
        file.write_text(text)
        assert head(given).returncode == 0
        assert [path.name for path in Path(storage, ".data").iterdir()] == ["1f"]
        (kept,) = Path(storage, ".data", "1f").iterdir()
        assert (kept.name, kept.read_text()) == ("own data.npy", "first")


@pytest.mark.parametrize("name", ["own.npy", "it's own/of $(touch owned)"])
def test_object_storage_keeps_what_is_shipped_from_where_every_node_reads_it(
    name, head, tmp_path, remote_root, command
):
    (tmp_path / "bin" / "vae-tuner").write_text(f'#!/bin/sh\n[ "$1" = sweep ] || exec {command} "$@"\n')
    file = tmp_path / "job" / "shipped" / "1f" / name
    file.parent.mkdir(parents=True)
    file.write_text("all of it")
    stays = RemoteFolder(remote_root) / ".data" / "1f"
    done = head(request_of(remote_root, tmp_path, kept={str(stays): "shipped/1f"}), **CREDENTIALS)
    assert (done.returncode, done.stderr) == (0, "")
    assert stays.read(name) == b"all of it"
    assert RemoteFolder(remote_root).names() == [f".data/1f/{name}"]


def test_a_uri_with_options_is_one_word_where_data_are_kept(head, tmp_path):
    stays = "s3://bucket/it's/.data/1f?region=eu&x=$(touch owned)"
    given = request_of("s3://bucket/sweeps", tmp_path, kept={stays: "shipped/1f"})
    assert head(given).stdout.splitlines()[1:5] == ["jobs", "keep", "shipped/1f", stays]


def test_a_step_that_fails_starts_no_sweep(head, tmp_path):
    (tmp_path / "file").touch()
    below = str(tmp_path / "file" / "below")
    done = head(request_of(below, tmp_path, tracking_default=f"sqlite:///{below}/mlflow.db"))
    assert done.returncode != 0
    assert done.stdout == ""


def test_object_storage_needs_a_store_that_the_head_names(head, tmp_path):
    given = request_of("s3://bucket/sweeps", tmp_path, tracking_default="")
    assert head(given, MLFLOW_TRACKING_URI="http://head:5000").stdout.splitlines()[0] == "http://head:5000"
    done = head(given)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: s3://bucket/sweeps holds no database; set MLFLOW_TRACKING_URI on the head, or pass --tracking-uri\n"
    )
    assert not (tmp_path / "job" / "s3:").exists()


def test_an_environment_without_the_command_says_so(head, tmp_path):
    given = request_of(str(tmp_path / "shared"), tmp_path)
    done = head(given, PATH="/usr/bin:/bin")
    assert done.returncode == 127
    assert refusal_in(done.stderr) == (
        "Error: the environment of this job has no vae-tuner; install it where Ray was started on the head, and on its "
        "PATH"
    )
