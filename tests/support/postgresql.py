"""A PostgreSQL server on this machine."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from drivers import PATIENCE

BINARIES = Path("/usr/lib/postgresql")


@contextmanager
def postgresql_server():
    """The folder of its socket; skips the test where there is no PostgreSQL."""
    binaries = sorted(BINARIES.glob("*/bin/initdb"))
    if not binaries:
        pytest.skip(f"no PostgreSQL in {BINARIES}: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg comes with the extra `server`")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path has at most 107 characters
    server = _as_nobody(folder)
    make = [*server, binaries[-1], "-D", folder / "data", "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([
        *server, binaries[-1].with_name("postgres"),
        "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off",
    ])  # fmt: skip
    try:
        _wait_for(folder / ".s.PGSQL.5432")
        yield folder
    finally:
        process.send_signal(signal.SIGINT)  # a fast shutdown
        process.wait(PATIENCE)
        shutil.rmtree(folder)


def _as_nobody(folder):
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "nobody")
    return ["setpriv", "--reuid=nobody", "--clear-groups"]


def _wait_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.1)
