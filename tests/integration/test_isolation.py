"""What a sweep starts listens on this machine alone, and knows no secret of the tracker's."""

import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import tiny_net
from drivers import PATIENCE

from tuner.sweeps.journal import read_journal

pytestmark = pytest.mark.cluster

LISTENING = "0A"
SERVANTS = (b"dashboard.py", b"monitor.py", b"log_monitor.py")
SECRET = "a-secret-of-the-trackers"
SPY = f"""
import os

with open(os.path.join(os.path.dirname(__file__), f"environment.{{os.getpid()}}"), "w") as file:
    file.write(str(dict(os.environ)))

{Path(tiny_net.__file__).read_text()}
"""


def children_of(pid):
    """A process and all below it."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            found += children_of(int(child))
    return found


def listening(pids):
    """The addresses on which these processes take connections, in the kernel's own writing."""
    links = [link for pid in pids for link in Path(f"/proc/{pid}/fd").glob("*")]
    sockets = {name[8:-1] for name in map(_target, links) if name.startswith("socket:[")}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == LISTENING and row[9] in sockets}


def _target(link):
    try:
        return str(link.readlink())
    except OSError:
        return ""


def is_local(address):
    """127.0.0.1, ::1 or ::ffff:127.0.0.1 in the kernel's own writing."""
    return address in ("0100007F", f"{1 << 24:032X}", "0000000000000000FFFF00000100007F")


@pytest.fixture
def rays_folder():
    """Short, for the sockets in it."""
    with TemporaryDirectory(prefix="ray-") as folder:
        yield folder


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells by /proc/net/tcp who listens where")
def test_a_sweep_listens_on_this_machine_alone_and_its_workers_know_no_secret(
    tmp_path, command, environment, rays_folder
):
    """Whatever Ray runs elsewhere: its address in the environment is not ours to join."""
    names = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME", "DATABRICKS_TOKEN", "AWS_ACCESS_KEY_ID")
    others = ("AZURE_STORAGE_CONNECTION_STRING", "DATABASE_URL", "SSH_PRIVATE_KEY", "HF_TOKEN", "SOMETHING_OF_MINE")
    secrets = dict.fromkeys((*names, "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCESS_KEY", *others), SECRET)
    secrets["HTTPS_PROXY"] = f"http://me:{SECRET}@127.0.0.1:1"
    added = {"VAE_TUNER_WORKER_ENV": "MY_DATA", "MY_DATA": "asked for"}
    (tmp_path / "spy.py").write_text(SPY)
    store = f"postgresql://me:{SECRET}@127.0.0.1:9/db?password={SECRET}&odbc_connect=PWD%3D{SECRET}"
    options = [
        *("--name", "s", "--model", "spy:Net", "--space", "lr", "--trials", "30", "--epochs", "200"),
        *("--scheduler", "none", "--concurrency", "1", "--offline", "--tracking-uri", store),
    ]
    variables = {**environment, **secrets, **added, "RAY_TMPDIR": rays_folder, "RAY_ADDRESS": "127.0.0.1:1"}
    driver = subprocess.Popen(
        [command, "sweep", *options], cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True
    )
    try:
        journal = tmp_path / "sweeps" / "s" / "journal.jsonl"
        _wait_for(lambda: journal.exists() and b'"report"' in journal.read_bytes(), driver)
        pids = children_of(driver.pid)
        addresses = listening(pids)
        others = [Path("/proc", str(pid)) for pid in pids if pid != driver.pid]
        started = {place: (place / "environ").read_bytes() for place in others}
        called = [(place / "cmdline").read_bytes() for place in others]
        logged = {path.name: path.read_bytes() for path in Path(rays_folder).rglob("*") if path.is_file()}
    finally:
        driver.terminate()
        _, printed = driver.communicate(timeout=PATIENCE)
    assert len(pids) > 4, "Ray's processes are below the driver"
    assert not [said for said in called if any(name in said for name in SERVANTS)], "Ray starts what nobody asks for"
    assert any(b"RAY_" in known for known in started.values()), "their environment is read"
    assert not any(SECRET.encode() in known for known in (*started.values(), *called))
    assert addresses
    assert all(map(is_local, addresses)), addresses
    seen = {int(path.suffix[1:]): path.read_text() for path in tmp_path.glob("environment.*")}
    assert SECRET in seen.pop(driver.pid), "the model sees what its process knows"
    assert seen
    assert not any(SECRET in known for known in seen.values())
    assert all("asked for" in known for known in seen.values())
    assert driver.returncode == 143, printed
    written = [path for path in (tmp_path / "sweeps").rglob("*") if path.is_file()]
    assert "raylet.out" in logged
    assert not any(SECRET.encode() in content for content in logged.values())
    assert SECRET not in printed
    assert not any(SECRET.encode() in path.read_bytes() for path in written)
    assert read_journal(journal)[-1]["reason"] == "interrupted"


def _wait_for(condition, process):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
