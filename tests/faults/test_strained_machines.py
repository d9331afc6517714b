"""Disks that are full in one place alone, clocks that are set, and models that fork, leak and start threads."""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from tempfile import TemporaryDirectory

import pytest
from drivers import Driver, record_of, runs_of, wait_until_gone

pytestmark = [pytest.mark.faults, pytest.mark.bench]

DAY = 86_400
SET_CLOCK = """#!{python}
import time
from pathlib import Path

real, step = time.time, Path("step")
time.time = lambda: real() + (float(step.read_text()) if step.exists() else 0.0)

from tuner.cli import main

main()
"""
SMALL = """#!/bin/sh
exec unshare --user --map-root-user --mount sh -c '
  mkdir -p "$1" && mount -t tmpfs -o size="$2" tmpfs "$1" || exit 99
  shift 2; exec "$@"' sh {folder} {size} {command} "$@"
"""
"""The command, for which a folder is a small disk of its own; what it writes there is gone with it."""
STRAINED = """
import os
import threading
import time
from {nets} import Net

CALLS_OF_AN_EPOCH = 5
KEPT = []


class Strained(Net):
    def encode(self, x):
        strain = STRAINS[os.environ["VAE_TUNER_STRAIN"]]
        KEPT.append(strain() if len(KEPT) % CALLS_OF_AN_EPOCH == 0 else None)
        return super().encode(x)


def leak():
    return bytearray(os.urandom(1)) * (50 * 2**20)


def fork():
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    return child


def thread():
    made = threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(60_000)], daemon=True)
    made.start()
    return made


STRAINS = {{"none": lambda: None, "leaks 50 MB": leak, "forks": fork, "starts threads": thread}}
"""
SPEC = """
name: s
space: linear
config: {model: {kind: "strained:Strained"}, data: {n_train: 200}, batch_size: 100, epochs: 10}
search: {sampler: random, trials: 4}
scheduler: {kind: none}
resources: {concurrency: 1}
"""


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_a_small_disk(tmp_path, environment, migrated_database, command):
    """on_a_small_disk(name, size, **variables) → a driver for which this folder of its own is a disk of so many kB."""
    if os.system("unshare --user --map-root-user --mount true 2> /dev/null") != 0:
        pytest.skip("this machine lets no user mount a disk of his own (unshare --user --mount)")
    made = []

    def make(name, size, **variables):
        folder = tmp_path / "driver"
        folder.mkdir()
        shutil.copy(migrated_database, folder / "mlflow.db")
        script = tmp_path / "small"
        script.write_text(SMALL.format(folder=folder / name, size=f"{size}k", command=command))
        script.chmod(0o755)
        made.append(Driver(folder, str(script), {**environment, **variables}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_disk_that_is_full_for_artifacts_alone(on_a_small_disk, start, undisturbed, projected, tally, cli):
    """Training and metrics go on; what is missing is said at the end and sent when there is room."""
    driver = on_a_small_disk("mlruns", 40)
    driver.start(*start).wait_for_lines(1)
    driver.wait_for(lambda: any(event.get("reason") == "completed" for event in driver.events))
    said = driver.seconds_until(lambda: "No space left on device" in driver.err)
    assert driver.end() == 0, driver.err
    uri = f"sqlite:///{driver.folder}/mlflow.db"
    assert "vae-tuner sync s" in driver.err
    assert "Traceback" not in driver.err
    assert record_of(driver.events) == record_of(undisturbed.events)
    tally.add("disk full for artifacts alone", 1, driver, uri, undisturbed, said)
    assert cli(driver.folder, "sync", "s").code == 0
    projected(driver.events, uri)


def test_a_temporary_folder_that_is_full(on_a_small_disk, start, undisturbed, tally, tmp_path):
    """Nothing of a sweep needs room there: Ray's own folder is elsewhere where its name is long."""
    driver = on_a_small_disk("tmp", 16, TMPDIR=str(tmp_path / "driver" / "tmp"))
    assert driver.start(*start, "--offline").end() == 0, driver.err
    assert "Traceback" not in driver.err
    tally.add("disk full for temporary files alone", 1, driver, reference=undisturbed)
    assert record_of(driver.events) == record_of(undisturbed.events)


def test_a_folder_of_rays_that_is_full(on_a_small_disk, start, undisturbed, tally, command, environment):
    """Ray does not come up; on a disk with room the sweep goes on."""
    with TemporaryDirectory(prefix="vt", dir="/tmp") as rays:
        driver = on_a_small_disk(rays, 16, RAY_TMPDIR=rays)
        driver.start(*start, "--offline").wait_for_lines(1)
        said = driver.seconds_until(lambda: "Stopped: Ray cannot be started: " in driver.err)
        assert driver.end() == 1, driver.err
    assert f"is its folder full (RAY_TMPDIR, here {rays})" in driver.err
    assert "Traceback" not in driver.err
    again = Driver(driver.folder, command, environment)
    try:
        assert again.start("resume", "s", "--offline").end() == 0, again.err
    finally:
        again.close()
    tally.add("disk full for Ray's folder alone", 1, again, reference=undisturbed, said=said)
    assert record_of(again.events) == record_of(undisturbed.events)


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_clock_that_is_set_in_mid_sweep(
    step, tmp_path, environment, start, undisturbed, migrated_database, projected, uri, tally
):
    """A budget of an hour is not spent by it, and nothing is out of order."""
    script = tmp_path / "vae-tuner"
    script.write_text(SET_CLOCK.format(python=sys.executable))
    script.chmod(0o755)
    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    driver = Driver(tmp_path, str(script), environment)
    try:
        driver.start(*start, "--time-budget", "1h").wait_for_lines(12)
        (tmp_path / "step").write_text(str(step))
        assert driver.end() == 0, driver.err
    finally:
        driver.close()
    assert driver.sweep.finished == "completed"
    times = [event["t"] for event in driver.events]
    assert times == sorted(times)
    assert driver.sweep.seconds < DAY / 2
    tally.add(f"clock set {'forward' if step > 0 else 'back'} by a day", 1, driver, uri, undisturbed)
    assert record_of(driver.events) == record_of(undisturbed.events)
    projected(driver.events, uri)


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unstrained():
    return {}


@pytest.mark.parametrize("strain", ["none", "leaks 50 MB", "forks", "starts threads"])
def test_a_model_that_strains_its_worker(strain, new_driver, nets, unstrained, tally):
    """The first of them is the one to compare by. Workers end with the sweep, and with them what they forked; what the
    model forks where the command itself tries it is the user's own."""
    driver = new_driver({"VAE_TUNER_STRAIN": strain})
    (driver.folder / "strained.py").write_text(STRAINED.format(nets=nets))
    (driver.folder / "sweep.yaml").write_text(SPEC)
    driver.start("sweep", "sweep.yaml").wait_for_lines(20)
    workers, forked = set(), set()
    while driver.running:
        forked |= set(driver.started(b"vae-tuner"))
        workers |= set(driver.started(b"ray::"))
        time.sleep(0.2)
    assert driver.end() == 0, driver.err
    wait_until_gone(workers)
    for pid in forked:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    metrics = {
        trial.id: [report.metrics["val/elbo"] for report in trial.reports] for trial in driver.sweep.trials.values()
    }
    assert all(trial.stop_reason == "completed" for trial in driver.sweep.trials.values())
    assert unstrained.setdefault("metrics", metrics) == metrics
    unstrained.setdefault("driver", driver)
    uri = f"sqlite:///{driver.folder}/mlflow.db"
    if strain != "none":
        tally.add(f"a model that {strain} again and again", 1, driver, uri)
    assert len(runs_of(uri)) == 5
    assert driver.run("rm", "s").returncode == 0, "what was forked holds nothing of the sweep"
