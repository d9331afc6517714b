"""Where tests find data, without touching what they were given."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, however slow.
settings.register_profile(
    "fixed", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")

GIVEN = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A data directory with a copy of the real MNIST."""
    given = Path(os.environ.get("VAE_TUNER_DATA", GIVEN)) / "MNIST" / "raw"
    files = sorted(given.glob("*.gz"))
    if not files:
        pytest.skip(f"no MNIST in {given}; set VAE_TUNER_DATA to a folder that holds MNIST/raw/*.gz")
    root = tmp_path_factory.mktemp("data")
    (root / "MNIST" / "raw").mkdir(parents=True)
    for file in files:
        shutil.copy(file, root / "MNIST" / "raw")
    return root


@pytest.fixture(scope="session")
def vae_data_root(tmp_path_factory):
    """A data directory for the digits, which need no files."""
    return tmp_path_factory.mktemp("digits")


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The name of a module of models in a user's working directory, `user_nets.py` of these tests, not yet imported."""
    name = f"nets_of_{tmp_path.name}".replace("-", "_")
    shutil.copy(Path(__file__).parent / "user_nets.py", tmp_path / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)
