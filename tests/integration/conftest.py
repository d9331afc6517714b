"""One real sweep and one Ray start for the whole session of tests."""

import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from drivers import PATIENCE


@pytest.fixture(scope="session")
def rays_base():
    """Where the Ray of `swept` has its folder; short, for the sockets in it."""
    with TemporaryDirectory(prefix="ray-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def swept(tmp_path_factory, command, environment, rays_base):
    """A folder in which `vae-tuner sweep` ran as a user runs it, and what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    arguments = ["sweep", "--trials", "6", "--epochs", "9", "--concurrency", "2", "--format", "json"]
    done = subprocess.run(
        [command, *arguments],
        cwd=folder,
        env={**environment, "RAY_TMPDIR": str(rays_base)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
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

    from tuner.cluster.ray_session import quiet_no_more, quiet_ray

    quiet_ray()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=10**8,
    )
    quiet_no_more()
    yield
    ray.shutdown()


@pytest.fixture
def workplace(tmp_path, monkeypatch, shared_ray, vae_data_root, migrated_database):
    """The working directory of sweeps in this process, with a store, on a Ray that they share."""
    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
