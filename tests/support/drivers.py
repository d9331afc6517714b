"""Real drivers with their Ray, which are killed, starved and cut off, and what must be left of a sweep afterwards."""

import os
import resource
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from tuner.sweeps.journal import read_journal
from tuner.sweeps.state import fold

ORPHAN_SECONDS = 60.0  # on a busy machine: a worker that is still starting learns late that its node is gone
PATIENCE = 300.0  # seconds: what happens ends a wait at once, on a busy machine too
SWEEP = (
    "sweep", "--name", "s", "--space", "linear", "--trials", "8", "--epochs", "10", "--grace", "2",
    "--concurrency", "1",
)  # fmt: skip


class Driver:
    """A `vae-tuner` in a process group of its own, in a folder that one driver after the other works in."""

    def __init__(self, folder, command, environment):
        self.folder, self._command, self._environment = folder, command, environment
        self._process = None
        self.journal = folder / "sweeps" / "s" / "journal.jsonl"

    def start(self, *arguments):
        """Start the next driver; what it prints goes to files."""
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self._process = subprocess.Popen(
                [self._command, *arguments],
                cwd=self.folder, env=self._environment, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip
        return self

    def run(self, *arguments, **environment):
        """Another command beside it; what it returned and printed."""
        return subprocess.run(
            [self._command, *arguments],
            cwd=self.folder, env={**self._environment, **environment},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process.poll() is None

    @property
    def err(self):
        return (self.folder / "err").read_text()

    @property
    def out(self):
        return (self.folder / "out").read_text()

    @property
    def n_lines(self):
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    @property
    def events(self):
        return read_journal(self.journal)

    @property
    def sweep(self):
        return fold(self.events)

    def wait_for(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.running, f"the driver ended with {self._process.returncode}: {self.err}"
            assert time.monotonic() < end, "nothing happened"
            time.sleep(0.03)
        return self

    def seconds_until(self, condition):
        """From now on; the driver may end meanwhile."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + PATIENCE, "nothing happened"
            assert self.running or condition(), self.err
            time.sleep(0.03)
        return time.monotonic() - began

    def wait_for_lines(self, n):
        return self.wait_for(lambda: self.n_lines >= n)

    def end(self):
        """Wait for the driver; returns its exit code."""
        return self._process.wait(PATIENCE)

    def send(self, number, *, to_group=False):
        """A signal to the driver, or to its process group, as a terminal, `timeout` and Slurm send theirs."""
        (os.killpg if to_group else os.kill)(self.pid, number)
        return self

    def kill(self):
        """-9 to the driver; all that it started, Ray included, ends with it."""
        started = _descendants(self.pid)
        _kill(self.pid)
        self._process.wait()
        wait_until_gone(started)
        return self

    def close(self):
        if self._process is not None and self.running:
            self.kill()

    def workers(self, n):
        """The n processes that train, once there are so many: Ray titles them `LaneTrainable`, in a call
        `ResourceTrainable.train`, and not at all while it changes the title."""
        found = []
        self.wait_for(lambda: found.append(self.started(b"Trainable")) or len(found[-1]) == n)
        return found[-1]

    def started(self, part):
        """The processes that it has started, and those have, whose command holds this."""
        return [pid for pid in _descendants(self.pid) if part in _read(pid, "cmdline")]

    def hears(self, number):
        """Whether the driver has a handler of its own for a signal."""
        caught = [line for line in _read(self.pid, "status").splitlines() if line.startswith(b"SigCgt:")]
        return caught and int(caught[0].split()[1], 16) >> (number - 1) & 1

    def has_loaded(self, library):
        return library in _read(self.pid, "maps")

    def kill_workers(self, n, n_killed=None):
        """-9 to the n processes that train, or to so many of them."""
        for pid in self.workers(n)[:n_killed]:
            _kill(pid)

    def limit_files(self, size, *pids):
        """As on a full disk: these processes can let no file grow beyond `size` bytes."""
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class RayNode(Driver):
    """`ray start --block`, whose processes do not all end with it."""

    def kill(self):
        for pid in [self.pid, *_descendants(self.pid)]:
            _kill(pid)
        self._process.wait()
        return self


def wait_until_gone(pids):
    """Processes whose driver has ended end too, within seconds."""
    end = time.monotonic() + ORPHAN_SECONDS
    while left := [pid for pid in pids if _lives(pid)]:
        if time.monotonic() > end:
            titles = [_read(pid, "cmdline").strip(b"\0") for pid in left]
            for pid in left:
                _kill(pid)
            raise AssertionError(f"{titles} were left {ORPHAN_SECONDS:g} seconds after their driver")
        time.sleep(0.05)


def _kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _lives(pid):
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def _read(pid, name):
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _descendants(pid):
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry.name, "stat")):
            children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def record_of(events):
    """What a sweep amounts to, whoever ran it and however often it was cut short: all but times and sessions."""
    by_event = {
        "ask": ("trial", "number", "assignment", "memory", "config", "method"),
        "report": ("trial", "epoch", "metrics", "decision", "reason", "rung", "cutoff", "outcome"),
        "decision": ("trial", "decision", "reason", "rung", "cutoff"),
        "end": ("trial", "reason"),
    }
    kept = [event for event in events if event["event"] in by_event and event.get("reason") != "interrupted"]
    lines = [{name: event[name] for name in ("event", *by_event[event["event"]])} for event in kept]
    for line in lines:
        if "metrics" in line:
            line["metrics"] = {name: value for name, value in line["metrics"].items() if not name.startswith("time/")}
    sweep = fold(events)
    return lines, sweep.rungs, sweep.finished


def all_runs(uri):
    from tuner.tracking.mlflow_store import open_client

    client = open_client(uri)
    experiment = client.get_experiment_by_name("vae-tuner")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def runs_of(uri, sweep_id=None):
    """Trial → its run in MLflow, of one sweep where others are there; the parent under the empty name. Each is once."""
    runs = [run for run in all_runs(uri) if sweep_id in (None, run.data.tags["vae_tuner.sweep_id"])]
    by_trial = {run.data.tags.get("vae_tuner.trial", ""): run for run in runs}
    assert len(by_trial) == len(runs), "a trial has two runs"
    return by_trial


def check_projection(events, uri, store=None):
    """MLflow has every point of the journal, once, and nothing else; every run has the status of its trial.

    store: of a server its database, where points are read faster.
    """
    from tuner.tracking.mlflow_store import open_client, status_of
    from tuner.tracking.projection import points_of

    client, points, sweep = open_client(uri), open_client(store or uri), fold(events)
    runs = runs_of(uri, sweep.header["sweep_id"])
    assert set(runs) == {"", *sweep.trials}
    assert runs[""].info.status == status_of(sweep.finished)
    for trial in sweep.trials.values():
        run = runs[trial.id]
        reports = [event for event in events if event["event"] == "report" and event["trial"] == trial.id]
        expected = Counter(
            (point.key, point.value, point.timestamp, point.step)
            for event in reports
            for point in points_of(event["metrics"], event["t"], event["epoch"])
        )
        found = Counter(
            (point.key, point.value, point.timestamp, point.step)
            for key in run.data.metrics
            for point in points.get_metric_history(run.info.run_id, key)
        )
        assert found == expected
        assert run.info.status == status_of(trial.stop_reason)
        assert trial.epochs == len(trial.reports) == len(reports)
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert ("checkpoint.safetensors" in files) == (trial.stop_reason == "completed")
        assert ("error.txt" in files) == (trial.stop_reason == "error")


def longest_block(events):
    """Seconds a trial that went on waited for its next report, at most, over what its worker took for the epoch."""
    reports = [event for event in events if event["event"] == "report"]
    pairs = [(a, b) for a, b in pairwise(reports) if (a["session"], a["trial"]) == (b["session"], b["trial"])]
    return max((b["t"] - a["t"] - b["metrics"].get("time/epoch_s", 0.0) for a, b in pairs), default=0.0)
