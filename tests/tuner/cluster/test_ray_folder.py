"""Ray's folder fits its sockets wherever temporary files lie, and nothing of it is left."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner.cluster.ray_folder import LOCK, MOST_BYTES, PREFIX, SOCKET, RayFolder, base_folder


@pytest.fixture
def short():
    """A short folder for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def temporary(monkeypatch, short):
    """temporary(folder) makes it the one for temporary files."""

    def choose(folder):
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    choose(short)
    return choose


def of_length(folder, n):
    return folder / ("x" * (n - len(str(folder)) - 1))


def test_a_socket_fits_below_the_longest_folder_that_is_taken(short, temporary):
    longest = temporary(of_length(short, MOST_BYTES))
    assert base_folder() == longest
    path = Path(f"{longest}{SOCKET}")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))


def test_one_byte_more_and_another_folder_is_taken(short, temporary):
    temporary(of_length(short, MOST_BYTES + 1))
    assert base_folder() == Path("/tmp")


def test_a_folder_of_the_users_is_taken_or_refused(short, temporary, monkeypatch):
    temporary(short / "other")
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    assert base_folder() == short
    for folder, fault in [
        (of_length(short, MOST_BYTES + 1), "is longer than the"),
        (short / "none", "is not a folder"),
    ]:
        monkeypatch.setenv("RAY_TMPDIR", str(folder))
        with pytest.raises(UserError, match=rf"^RAY_TMPDIR: {folder} {fault}.*; set a shorter one that can be written"):
            base_folder()


def test_a_folder_is_its_own_and_goes_with_all_that_is_in_it(short):
    first, second = RayFolder(), RayFolder()
    assert first.path != second.path
    assert first.path.stat().st_mode & 0o777 == 0o700
    (first.path / "session" / "logs").mkdir(parents=True)
    (first.path / "session" / "logs" / "raylet.out").write_text("…")
    (first.path / "session_latest").symlink_to("session")
    first.remove()
    assert {*short.iterdir()} == {second.path}
    second.remove()
    assert not any(short.iterdir())


def test_what_a_driver_that_died_has_left_goes_with_the_next_start_and_nothing_else(short, temporary):
    code = (
        "import os, sys, tempfile\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "from tuner.cluster.ray_folder import RayFolder\n"
        "print(RayFolder().path, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"}
    died = subprocess.run(
        [sys.executable, "-c", code, str(short)], env=environment, capture_output=True, text=True, check=False
    )
    assert died.returncode == -9
    left = Path(died.stdout.strip())
    living = RayFolder()
    assert not left.exists()
    others = [short / f"{PREFIX}made-just-now", short / "ray", short / f"{PREFIX}linked"]
    for folder in others:
        folder.mkdir()
    (others[2] / LOCK).symlink_to(living.path / LOCK)
    RayFolder().remove()
    assert all(folder.exists() for folder in (*others, living.path))
    living.remove()
