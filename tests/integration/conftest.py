"""One real sweep and one Ray start for the whole session of tests."""

import json
import subprocess

import pytest


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
