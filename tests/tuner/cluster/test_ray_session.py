"""What Ray is started with, and what of its talk reaches the user."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ray._private import services

from trainables.errors import StorageError
from tuner.cluster.ray_session import end_ray, start_ray, stdout_on_stderr


@pytest.fixture(autouse=True)
def rays_base(monkeypatch):
    """Where Ray's folders are made; the Ray of other tests goes on."""
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with TemporaryDirectory(prefix="r") as base:
        monkeypatch.setenv("RAY_TMPDIR", base)
        yield Path(base)
        end_ray()
        assert [*Path(base).iterdir()] == [], "a folder of Ray is left"


@pytest.mark.parametrize("raised", [Exception, RuntimeError, OSError])
def test_a_ray_that_does_not_come_up_is_told_in_a_sentence(raised, monkeypatch, sweeps, rays_base):
    """On an overloaded machine Ray raises a bare Exception."""

    def init(**options):
        raise raised("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(StorageError, match=r"^Ray cannot be started: The current node timed out during startup\.; is"):
        start_ray(1, "")
    assert [*rays_base.iterdir()] == []


def test_ray_keeps_its_files_in_a_folder_of_its_own(rays_base, monkeypatch, sweeps):
    given = {}
    monkeypatch.setattr("ray.init", lambda **options: given.update(options))
    start_ray(1, "")
    assert [str(path) for path in rays_base.iterdir()] == [given["_temp_dir"]]


@pytest.mark.parametrize(("cpus", "cores"), [(1, 3), (4.5, 5)])
def test_ray_has_the_cores_that_are_allotted_or_that_were_asked_for(cpus, cores, monkeypatch):
    options = {}
    monkeypatch.setattr("ray.init", lambda **given: options.update(given))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    start_ray(cpus, "")
    assert options["num_cpus"] == cores


def test_ray_is_started_with_what_a_trial_needs_and_the_environment_stays(monkeypatch, sweeps):
    """Other threads read it meanwhile."""
    started, before = [], services.ConsolePopen
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/db")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    class Started(subprocess.Popen):
        def __init__(self, *command, **options):
            super().__init__(
                [sys.executable, "-c", "import os; print(dict(os.environ))"], stdout=-1, env=options["env"]
            )

    def init(**options):
        process = services.ConsolePopen(["raylet"], env=dict(os.environ))
        started.append((process.communicate()[0].decode(), dict(os.environ)))

    monkeypatch.setattr("ray._private.services.ConsolePopen", Started)
    monkeypatch.setattr("ray.init", init)
    start_ray(1, "")
    ((raylets, ours),) = started
    assert ("DATABASE_URL" in ours, "DATABASE_URL" in raylets) == (True, False)
    assert "OMP_NUM_THREADS" in raylets
    assert services.ConsolePopen is Started is not before


def test_what_ray_says_of_lost_workers_is_left_to_the_journal_and_nothing_else():
    code = (
        "from tuner.cluster.ray_session import stdout_on_stderr\n"
        "with stdout_on_stderr():\n"
        "    print('(raylet) The node with node id: 0f has been marked dead because the detector …\\n a second line')\n"
        "    print('(raylet) The disk is full.')\n"
        "    print('(raylet) A worker died or was killed while executing a task by an unexpected system error.')\n"
        "print('result')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr == "(raylet) The disk is full.\n"


def test_what_ray_prints_where_nobody_reads_ends_nothing():
    code = (
        "import os\n"
        "from tuner.cluster.ray_session import stdout_on_stderr\n"
        "with stdout_on_stderr():\n"
        "    print('(raylet) The disk is full.', flush=True)\n"
        "print('result')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, text=True, check=False)
    os.close(writing)
    assert done.stdout == "result\n"


def test_standard_output_is_itself_again(capfd):
    before = sys.stdout
    with stdout_on_stderr():
        os.write(1, b"of Ray\n")
    assert sys.stdout is before
    os.write(1, b"ours\n")
    assert capfd.readouterr() == ("ours\n", "of Ray\n")
