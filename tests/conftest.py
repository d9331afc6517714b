"""Where tests find data, without touching what they were given."""

import gc
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from disks import wait_for_no_disk
from drivers import Driver
from hypothesis import HealthCheck, settings
from object_store import CREDENTIALS, ObjectStore

from trainables.importing import uncollected

# The same examples on every machine, however slow.
settings.register_profile(
    "fixed", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")

wait_for_no_disk()
# A session in a shell's background ignores Ctrl-C, and so would the commands that it starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

GIVEN = Path(__file__).parents[2] / "shared" / "data"


HEAVY = ("faults", "cluster", "slow")
SHARING = {
    "swept": ("integration/test_best", "integration/test_export", "integration/test_sweep"),
    "undisturbed": ("faults/test_mlflow_away", "faults/test_orderly_stops"),
    "shared_ray": (
        "integration/test_compare",
        "integration/test_old_sweeps",
        "integration/test_pausing",
        "integration/test_stock_restore",
        "integration/test_sweep_in_process",
        "integration/test_user_model",
        "integration/test_workers",
    ),
}
"""Fixtures of the session that start Ray, and the files that use them: one process of tests runs all of those."""


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """All tests are imported in two thirds of the time, and what that has made is looked through no more."""
    with uncollected():
        collected = yield
    gc.freeze()
    return collected


def pytest_collection_modifyitems(items):
    """Files of the slow kinds come first, so that no process is left alone with one while the other has nothing."""
    check_sharing(items)
    heavy = {item.path for item in items if any(item.get_closest_marker(kind) for kind in HEAVY)}
    items.sort(key=lambda item: item.path not in heavy)


def check_sharing(items):
    """A file that uses a shared fixture of its folder, and is not listed, would start another Ray."""
    for fixture, names in SHARING.items():
        folder = names[0].partition("/")[0]
        using = {
            item.path.stem
            for item in items
            if item.path.parent.name == folder
            and not item.get_closest_marker("bench")
            and any(definition.scope == "session" for definition in item._fixtureinfo.name2fixturedefs.get(fixture, ()))
        }
        if missing := using - {name.partition("/")[2] for name in names}:
            raise pytest.UsageError(f"tests/conftest.py: SHARING[{fixture!r}] lacks {', '.join(sorted(missing))}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """By file, but for those that share what is dear (--dist loadgroup groups nothing under pytest 9)."""
    from xdist.scheduler import LoadFileScheduling

    groups = {f"tests/{name}.py": fixture for fixture, names in SHARING.items() for name in names}

    class Sharing(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return groups.get(file, file)

    return Sharing(config, log) if config.getvalue("dist") == "loadfile" else None


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str


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


@pytest.fixture(scope="session")
def environment(vae_data_root, command):
    """Of a user who has our environment activated, his data sets prepared, and the default tracker."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RAY_", "VAE_TUNER_"))}
    path = f"{Path(command).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "VAE_TUNER_DATA": str(vae_data_root)}


@pytest.fixture(scope="session")
def command():
    """The installed `vae-tuner`."""
    return str(Path(sys.executable).parent / "vae-tuner")


@pytest.fixture
def cli(monkeypatch, capfd, vae_data_root):
    """`vae-tuner` in this process: cli(folder, *arguments) → Finished."""
    from tuner.cli import run

    def call(folder, *arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(sys, "argv", ["vae-tuner", *map(str, arguments)])
        capfd.readouterr()
        code = run()
        printed = capfd.readouterr()
        return Finished(code, printed.out, printed.err)

    return call


@pytest.fixture
def mistake(cli):
    """mistake(folder, *arguments) → the one sentence of a command that refuses them and leaves nothing behind."""

    def call(folder, *arguments):
        def left():
            return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}

        before = left()
        done = cli(folder, *arguments)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert done.err.startswith("Error: ")
        assert left() == before
        return done.err.removeprefix("Error: ").removesuffix("\n")

    return call


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory):
    """An empty database of MLflow, to copy: making one takes seconds. `swept` makes its own, as a user's sweep does."""
    from tuner.tracking.mlflow_store import open_client

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_driver(tmp_path, command, environment, migrated_database):
    """new_driver(further variables of its environment, name of a folder) → a Driver, which is ended with the test.

    Its folder has a store as an earlier sweep there would have left it.
    """
    made = []

    def make(variables, name=""):
        (tmp_path / name).mkdir(exist_ok=True)
        shutil.copy(migrated_database, tmp_path / name / "mlflow.db")
        made.append(Driver(tmp_path / name, command, {**environment, **variables}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def driver(new_driver):
    return new_driver({})


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The name of a module of models in a user's working directory, `user_nets.py` of these tests, not yet imported."""
    name = f"nets_of_{tmp_path.name}".replace("-", "_")
    shutil.copy(Path(__file__).parent / "user_nets.py", tmp_path / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def object_store(tmp_path_factory):
    """An S3 server, for the whole session of tests."""
    pytest.importorskip("moto", reason="moto is not installed; it is one of the development dependencies")
    server = ObjectStore(tmp_path_factory.mktemp("s3") / "log")
    yield server
    server.close()


_BUCKETS = count()


@pytest.fixture
def new_bucket(object_store, monkeypatch):
    """new_bucket() → the URI of an empty bucket, to which this process has the credentials."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return lambda: object_store.new_bucket(f"bucket-{next(_BUCKETS)}")


@pytest.fixture(params=["file", "s3"])
def remote_root(request, tmp_path):
    """The URI of an empty folder in object storage, or on a disk that passes for it."""
    return request.getfixturevalue("new_bucket")() if request.param == "s3" else (tmp_path / "bucket").as_uri()


@pytest.fixture(params=["folder", "file", "s3"])
def trials_root(request, tmp_path):
    """Where trials keep their files: a path, or a URI."""
    if request.param == "folder":
        return str(tmp_path / "trials")
    return request.getfixturevalue("new_bucket")() if request.param == "s3" else (tmp_path / "bucket").as_uri()
