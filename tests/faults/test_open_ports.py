"""What listens where, and who is let in without a token: the table of `docs/open-ports.md`, as Ray opens it here."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from drivers import PATIENCE
from ports import free_port

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "open-ports.md"
HEAD = ("started by", "process", "listens on", "port", "without the token")
STARTERS = ("head of cluster.yaml", "worker machine", "sweep on the cluster", "sweep, submit --cluster local")
DEFAULTS = {"port": 6379, "object-manager-port": 8076, "dashboard-port": 8265}
RAYS_DEFAULTS = {"ray-client-server-port": 10001}
OBJECTS = "raylet, its objects"
SERVICES = {
    "GCS": "NodeInfoGcsService/CheckAlive",
    "raylet": "NodeManagerService/GetNodeStats",
    OBJECTS: "ObjectManagerService/FreeObjects",
    "trial": "CoreWorkerService/NumPendingTasks",
    "node's agent, gRPC": "LogService/ListLogs",
    "Ray Client": "RayletDriver/ClusterInfo",
}
"""A method of each of Ray's own servers that changes nothing."""
PROGRAMS = {
    "dashboard/dashboard.py": "dashboard",
    "ray::DashboardAgent": "node's agent",
    "ray::RuntimeEnvAgent": "agent for environments",
    "monitor.py": "autoscaler, its figures",
}
TOKEN = "a-token-of-thirty-two-characters"
LISTENING = "0A"
QUIET_SECONDS = 12.0
WORK = """
import time
import ray
from tuner.cluster.ray_session import quiet_ray, start_ray

@ray.remote(num_cpus=1)
def work():
    time.sleep(1000)

quiet_ray()
start_ray(1, "./sweeps")
task = work.remote()
time.sleep(1000)
"""
"""A trial on a sweep's own Ray."""
WORK_THERE = """
import sys
import time
import ray
from tuner.cluster.ray_address import connect
from tuner.cluster.ray_session import quiet_ray

@ray.remote(num_cpus=1)
def work():
    time.sleep(1000)

quiet_ray()
connect(sys.argv[1])
tasks = [work.remote() for _ in range(2)]
time.sleep(1000)
"""
"""A trial on each node of a cluster, each of which has one core."""


# --- what a table is made of ------------------------------------------------------------------------------------------


def family(pid):
    """A process and all below it."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            found += family(int(child))
    return found


def listeners(pids):
    """(address, port, command) of each socket on which these processes take connections."""
    owners = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                owners[target[8:-1]] = pid
    tables = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    for row in tables:
        if row[3] == LISTENING and row[9] in owners:
            address, port = row[1].split(":")
            command = Path(f"/proc/{owners[row[9]]}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield numeric(address), int(port, 16), command


def place(address):
    if address == "::1" or address.endswith("127.0.0.1"):
        return "127.0.0.1"
    return "all addresses" if address in ("0.0.0.0", "::") else "the node's address"


def numeric(address):
    """An address in the kernel's writing as others write it."""
    words = b"".join(bytes.fromhex(address[n : n + 8])[::-1] for n in range(0, len(address), 8))
    shown = socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)
    return shown.removeprefix("::ffff:")  # of version 4


def answer_of_ray(target):
    """Which of Ray's servers it is, and what that does without a token; None for one that is none of them."""
    import grpc

    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        for name, method in SERVICES.items():
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=5)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                    return name, "refused"
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return None
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    continue
            return name, "answers"
    return None


def answer_to_http(target, path):
    try:
        with urllib.request.urlopen(f"http://{target}{path}", timeout=5):
            return "answers"
    except urllib.error.HTTPError as error:
        return "refused" if error.code in (401, 403) else f"answers {error.code}"
    except (OSError, http.client.HTTPException):
        return "not known"


def row_of(starter, address, port, command, fixed):
    host = "127.0.0.1" if place(address) != "the node's address" else address
    target = f"{host}:{port}"
    found = answer_of_ray(target)
    if found and found[0] == "trial" and not command.startswith("ray::"):
        found = "driver", found[1]
    if found is None:
        own = OBJECTS if "raylet/raylet " in command else None
        named = (name for part, name in PROGRAMS.items() if part in command)
        name = own or next(named, Path(command.split()[0]).name)
        says = answer_to_http(target, "/api/jobs/")
        if says not in ("refused", "not known") and answer_to_http(target, "/metrics") == "answers":
            name, says = f"{name.removesuffix(', its figures')}, its figures", "answers (Prometheus)"
        found = name, says
    return starter, found[0], place(address), fixed.get(port, "any free one"), found[1]


def table(rows):
    lines = [HEAD, ("---",) * len(HEAD), *sorted(set(rows), key=lambda row: (STARTERS.index(row[0]), row[1:]))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def documented():
    return "".join(re.findall(r"^\|.*\n", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_documents_table_is_one_that_this_script_wrote_of_the_pinned_ray():
    """Made anew by `make faults` after Ray's pin has changed."""
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in documented().splitlines()[2:]]
    assert table(rows) == documented()
    assert {row[0] for row in rows} == set(STARTERS)
    assert {row[2] for row in rows if row[0] == STARTERS[-1]} == {"127.0.0.1"}
    assert [row for row in rows if row[1] == "dashboard"] == [
        ("head of cluster.yaml", "dashboard", "127.0.0.1", "8265", "refused")
    ]
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert f"Ray {pinned}" in DOCUMENT.read_text(encoding="utf-8")


# --- Ray as it is started ---------------------------------------------------------------------------------------------


class Started:
    """Processes of Ray on this machine, by who starts them, until all are ended."""

    def __init__(self, stack, environment):
        self._stack, self._environment, self.pids = stack, environment, []

    def start(self, starter, *words, **variables):
        process = subprocess.Popen(
            words, env={**self._environment, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(self._end, process)
        self.pids.append((starter, process.pid))

    def _end(self, process):
        for pid in reversed(family(process.pid)):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        process.wait()

    def sockets(self):
        return [(starter, *found) for starter, pid in self.pids for found in listeners(family(pid))]

    def wait_for(self, *wanted):
        """Until these have a socket: (starter, part of the command)."""
        end = time.monotonic() + PATIENCE
        while missing := [
            (who, part)
            for who, part in wanted
            if not any(who == starter and part in command for starter, *_, command in self.sockets())
        ]:
            assert time.monotonic() < end, missing
            time.sleep(0.5)

    def settled(self):
        """What listens when nothing has been added for a while."""
        found, since = None, time.monotonic()
        while time.monotonic() < since + QUIET_SECONDS:
            if (now := sorted(self.sockets())) != found:
                found, since = now, time.monotonic()
            time.sleep(0.5)
        return found


@pytest.mark.bench
@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells by /proc/net/tcp who listens where")
def test_nothing_is_open_that_the_table_does_not_have(command, environment):
    ray, folder = str(Path(command).with_name("ray")), tempfile.mkdtemp(prefix="vt", dir="/tmp")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    chosen = {option: free_port() for option in (*DEFAULTS, *RAYS_DEFAULTS)}
    fixed = {chosen[option]: str(port) for option, port in DEFAULTS.items()}
    fixed |= {chosen[option]: f"{port}, Ray's default" for option, port in RAYS_DEFAULTS.items()}
    head, worker, joined, local = STARTERS
    small = ("--block", "--num-cpus=1", "--object-store-memory=100000000")
    address = f"127.0.0.1:{chosen['port']}"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        started = Started(stack, environment)
        options = ["--dashboard-agent-listen-port=0", *(f"--{option}={port}" for option, port in chosen.items())]
        more = ("--dashboard-host=127.0.0.1", "--disable-usage-stats", f"--temp-dir={folder}")
        started.start(head, ray, "start", "--head", *small, *options, *more, **token)
        started.start(local, sys.executable, "-c", WORK)
        started.wait_for((head, "dashboard.py"), (head, "raylet/raylet"))
        started.start(worker, ray, "start", f"--address={address}", *small, "--dashboard-agent-listen-port=0", **token)
        started.wait_for((worker, "raylet/raylet"))
        started.start(joined, sys.executable, "-c", WORK_THERE, address, **token)
        agents = [(who, "ray::DashboardAgent") for who in (head, worker, local)]
        started.wait_for(*((who, "ray::work") for who in (head, worker, local)), *agents)
        rows = [row_of(*socket, fixed) for socket in started.settled()]
    print(made := table(rows))
    assert set(made.splitlines()) <= set(documented().splitlines())
    assert {row[0] for row in rows} == set(STARTERS)
