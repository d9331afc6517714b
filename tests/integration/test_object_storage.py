"""A sweep whose storage is a bucket: no node's disk is shared, and none has anything that a resume needs."""

from hashlib import sha256
from pathlib import Path

import pytest
from drivers import check_projection
from object_store import CREDENTIALS

import tuner
from trainables.object_storage import RemoteFolder
from tuner.sweeps.journal import JOURNAL

pytestmark = pytest.mark.cluster

SWEEP = ("--name", "s", "--trials", "3", "--epochs", "8", "--grace", "2", "--concurrency", "1")
RESULTS = {"checkpoint.safetensors", "config.yaml", "reconstructions.png", "samples.png"}


@pytest.fixture
def storage(new_bucket):
    return str(RemoteFolder(new_bucket()) / "sweeps")


@pytest.fixture
def driver(new_driver, storage, environment, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_TUNER_DATA", environment["VAE_TUNER_DATA"])
    made = new_driver({**CREDENTIALS, "VAE_TUNER_CACHE": str(tmp_path / "cache")})
    made.journal = tmp_path / "cache" / "storage" / sha256(storage.encode()).hexdigest()[:16] / "s" / JOURNAL
    return made


@pytest.mark.faults
def test_a_sweep_that_is_killed_goes_on_from_the_bucket(driver, storage, environment, tmp_path):
    driver.start("sweep", *SWEEP, "--storage", storage)
    driver.wait_for(lambda: any(event.get("epoch") == 3 for event in driver.events) if driver.n_lines else False).kill()
    driver.start("resume", "s", "--storage", storage)
    assert driver.end() == 0, driver.err

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert len({event["session"] for event in driver.events}) == 2
    assert not [event for event in driver.events if event["event"] == "warning"]
    check_projection(driver.events, uri)
    objects = (RemoteFolder(storage) / "s" / "trials").names()
    for trial in driver.sweep.trials.values():
        names = {name.partition("/")[2] for name in objects if name.startswith(f"{trial.id}/")}
        assert (names == RESULTS) if trial.stop_reason == "completed" else (1 <= len(names) <= 2)
    assert not list(Path(environment["VAE_TUNER_DATA"]).rglob("*.safetensors"))
    assert not list((tmp_path / "sweeps").glob("*"))

    (best,) = tuner.best(["s"], tracking_uri=uri, top=1)
    assert tuner.load(best.run_id, tracking_uri=uri).config == best.config
    assert f"MB in {RemoteFolder(storage) / 's'}" in " ".join(driver.out.split())
    assert driver.run("rm", "s", "--storage", storage).returncode == 0
    assert RemoteFolder(storage).names() == []
