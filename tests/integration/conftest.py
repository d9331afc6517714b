"""One real sweep and one Ray start for the whole session of tests."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def swept(tmp_path_factory, command, environment):
    """A folder in which `vae-tuner sweep` ran as a user runs it, and what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    arguments = ["sweep", "--trials", "6", "--epochs", "9", "--concurrency", "2", "--format", "json"]
    done = subprocess.run(
        [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.fixture(scope="session")
def result(swept):
    return json.loads(swept[1])


@pytest.fixture
def cli(monkeypatch, capfd, vae_data_root):
    """`vae-tuner` in this process: cli(folder, *arguments) → Finished."""
    from tuner.cli import main

    def run(folder, *arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(sys, "argv", ["vae-tuner", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        printed = capfd.readouterr()
        return Finished(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def shared_ray():
    """Ray, started once for the sweeps that run in this process."""
    import ray

    from tuner.running.ray_session import quiet_ray

    quiet_ray()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=10**8,
    )
    yield
    ray.shutdown()
