"""One sweep on several machines, as far as one machine goes: nodes that come, go, and are not what they should be."""

import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import tiny_net
from drivers import PATIENCE
from ports import free_port
from ray_cluster import ray_cluster

pytestmark = pytest.mark.cluster

SMALL = {"object_store_memory": 10**8}
EPOCHS = 12
HELD = f"""
import time
from pathlib import Path
{Path(tiny_net.__file__).read_text()}

class Held(Net):
    left = 30

    def encode(self, x):
        Held.left -= 1
        while Held.left < 0 and not Path(__file__).with_name("go").exists():
            time.sleep(0.05)
        return super().encode(x)
"""


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster whose head runs no trials."""
    from tuner.cluster.ray_session import quiet_ray

    quiet_ray()
    with ray_cluster(num_cpus=0, **SMALL) as made:
        yield made


def with_workers(cluster, n):
    """Bring a cluster to n nodes for one trial each."""
    for node in list(cluster.worker_nodes)[n:]:
        cluster.remove_node(node)
    for _ in range(n - len(cluster.worker_nodes)):
        cluster.add_node(num_cpus=1, **SMALL)
    return cluster


def sweep(address, *, trials, epochs):
    options = ("--name", "s", "--offline", "--scheduler", "none", "--sampler", "random", "--set", "data.n_train=200")
    return (
        "sweep", *options, "--space", "lr", "--concurrency", "2", "--trials", str(trials), "--epochs", str(epochs),
        "--ray-address", address,
    )  # fmt: skip


def epochs_of(driver, trial):
    return driver.sweep.trials[trial].epochs if driver.n_lines and trial in driver.sweep.trials else 0


def failures(driver):
    return [event for event in driver.events if event["event"] == "failure"]


def check_complete(driver, epochs):
    """Every trial is completed and has every epoch once, and none has used up a retry."""
    reports = [(event["trial"], event["epoch"]) for event in driver.events if event["event"] == "report"]
    trials = driver.sweep.trials
    assert sorted(reports) == [(trial, epoch) for trial in sorted(trials) for epoch in range(1, epochs + 1)]
    assert {trial.stop_reason for trial in trials.values()} == {"completed"}
    assert {trial.failures for trial in trials.values()} == {0}


def test_what_waits_starts_on_a_node_that_is_added_and_goes_on_elsewhere_when_one_is_killed(cluster, driver):
    """A process trains a few epochs, then waits for a file: no trial ends before its node is killed."""
    (driver.folder / "held.py").write_text(HELD)
    with_workers(cluster, 1)
    driver.start(*sweep(cluster.address, trials=2, epochs=EPOCHS), "--model", "held:Held")
    driver.wait_for(lambda: epochs_of(driver, "0000") >= 3)
    assert list(driver.sweep.trials) == ["0000", "0001"], "both are handed out at once"
    assert epochs_of(driver, "0001") == 0
    with_workers(cluster, 2)
    driver.wait_for(lambda: epochs_of(driver, "0001") >= 3)
    assert driver.sweep.trials["0000"].unfinished

    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    driver.wait_for(lambda: failures(driver))
    (driver.folder / "go").touch()
    assert driver.end() == 0, driver.err
    check_complete(driver, EPOCHS)
    (lost,) = failures(driver)
    assert (lost["kind"], lost["error"]) == ("node", "its node does not answer any more")
    assert f"Trial {lost['trial']} goes on from its last checkpoint: its node does not answer any more" in driver.err
    assert "raylet" not in driver.err, "Ray's own pages on it stay away"


# --- real processes ---------------------------------------------------------------------------------------------------

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
HASTE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1"}  # not half a minute


class Nodes:
    """Two `ray start` processes in a folder of their own, which takes tokens alone: a head, and a worker that sees a
    disk of its own under `elsewhere`."""

    def __init__(self, folder, command, environment):
        self.folder, self.elsewhere = folder, folder / "elsewhere"
        self._ray, self._environment = str(Path(command).parent / "ray"), {**environment, **TOKEN, **HASTE}
        self.address = f"127.0.0.1:{free_port()}"
        self.elsewhere.mkdir()
        self._head = self._start("--head", f"--port={self.address[10:]}", f"--temp-dir={folder}/ray")
        self._worker = None

    def worker(self):
        """The process of the worker node; another one where the last has ended."""
        if self._worker is None or self._worker.poll() is not None:
            mounted = f'mount -t tmpfs none {self.elsewhere} && exec "$@"'
            before = ["unshare", "-m", "bash", "-c", mounted, "-"] if can_mount() else []
            self._worker = self._start(f"--address={self.address}", before=before)
        return self._worker

    def end(self):
        """The worker before its head; `ray start --block` ends what it started."""
        for process in (self._worker, self._head):
            if process is not None:
                process.terminate()
                process.wait(PATIENCE)

    def _start(self, *arguments, before=()):
        options = ("--num-cpus=1", "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0")
        command = [*before, self._ray, "start", "--block", "--node-ip-address=127.0.0.1", *options, *arguments]
        log = self.folder / f"log{len(list(self.folder.iterdir()))}"
        with log.open("w") as file:
            process = subprocess.Popen(command, env=self._environment, stdout=file, stderr=file)
        end = time.monotonic() + PATIENCE
        while "runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return process


def can_mount():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def nodes(command, environment):
    with tempfile.TemporaryDirectory(prefix="vt", dir="/tmp") as folder:  # Ray's sockets need a short path
        made = Nodes(Path(folder), command, environment)
        yield made
        made.end()


@pytest.mark.bench
@pytest.mark.skipif(not can_mount(), reason="mounts a disk that one node alone sees, which needs root")
def test_a_node_with_another_disk_is_refused_before_anything_is_written(nodes, new_driver):
    nodes.worker()
    done = new_driver(TOKEN).run(*sweep(nodes.address, trials=1, epochs=1), "--storage", str(nodes.elsewhere))
    assert done.returncode == 2, done.stderr
    assert f": storage {nodes.elsewhere} is not the one that the driver writes to; mount one storage" in done.stderr
    assert list(nodes.elsewhere.iterdir()) == []


@pytest.mark.bench
def test_a_node_that_is_told_to_go_as_a_spot_machine_is(nodes, new_driver):
    worker, driver = nodes.worker(), new_driver(TOKEN)
    driver.start(*sweep(nodes.address, trials=2, epochs=5000))
    driver.wait_for(lambda: min(epochs_of(driver, "0000"), epochs_of(driver, "0001")) >= 5)
    worker.terminate()
    driver.wait_for(lambda: failures(driver))
    (lost,) = failures(driver)
    assert lost["kind"] == "node"
    # Ray says the latter where the node's last second ends before its leave is known.
    assert re.search(r"was lost: (preempted: Node|terminated expectedly:) received SIGTERM", lost["error"])
    assert driver.sweep.trials[lost["trial"]].failures == 0
    driver.send(signal.SIGTERM)
    assert driver.end() == 143, driver.err
