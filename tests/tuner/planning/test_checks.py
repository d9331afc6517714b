"""Everything that can be known to fail before a start: found, with the fix beside it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
from http_server import serving

from trainables.config.paths import unflatten
from trainables.errors import ConfigError, UserError
from trainables.models import build_model, inspection
from trainables.object_storage import RemoteFolder
from tuner.planning import checks
from tuner.planning.checks import checkpoint_bytes, examine, require_ready
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import parse_spec

CHECKS = ["packages", "data", "model", "tracking", "storage", "disk", "device", "ray"]


@pytest.fixture
def found(tmp_path, vae_data_root, monkeypatch):
    """found(**{path: value}) → findings by check."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(**paths):
        spec = parse_spec(unflatten({"space": "lr", "tracking.uri": "sqlite:///m.db", **paths}))
        findings = examine(spec, vae_data_root)
        assert all(bool(finding.fix) == (finding.state != "ok") for finding in findings)
        return {finding.check: finding for finding in findings}

    return run


def failure(findings, check):
    assert findings[check].state == "failure"
    return findings[check].says, findings[check].fix


def test_where_all_is_well_every_check_says_so_and_nothing_is_written(found, tmp_path):
    findings = found()
    assert list(findings) == CHECKS
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert "digits" in findings["data"].says
    assert findings["tracking"].says == f"sqlite:///{tmp_path}/m.db will be created"
    assert list(tmp_path.iterdir()) == []


def test_packages_that_differ_or_are_missing_are_named_and_stop_nothing(found, monkeypatch):
    def other(name):
        if name == "optuna":
            raise PackageNotFoundError(name)
        return {"mlflow": "1.0", "torch": version("torch").partition("+")[0] + "+cpu"}.get(name) or version(name)

    monkeypatch.setattr(checks, "version", other)
    packages = found()["packages"]
    assert packages.state == "warning"
    assert packages.fix == "make install restores the pinned versions"
    pins = dict(checks.pins())
    assert (
        packages.says == f"mlflow 1.0 (tested with {pins['mlflow']}), optuna is missing (tested with {pins['optuna']})"
    )


# --- data and model ---------------------------------------------------------------------------------------------------


def test_data_that_cannot_be_read_are_named(found, tmp_path):
    says, fix = failure(found(**{"config.data.name": "missing.npy"}), "data")
    assert (says, fix) == (
        f"data.name: {tmp_path}/missing.npy does not exist",
        "give the path of a .npy or .npz file, or of a folder of images",
    )
    (tmp_path / "text.npy").write_text("not an array")
    assert "text.npy" in failure(found(**{"config.data.name": "text.npy"}), "data")[0]
    np.save(tmp_path / "nan.npy", np.full((10, 2), np.nan))
    assert failure(found(**{"config.data.name": "nan.npy"}), "data")[1] == "remove or impute them"


def test_a_users_model_is_tried_out(found, nets):
    assert "parameters" in found(**{"config.model.kind": f"{nets}:make"})["model"].says


def test_a_users_model_is_made_as_often_as_for_a_plan(found, nets, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(inspection, "build_model", lambda *args: made.append(args) or build_model(*args))
    make_plan(parse_spec(unflatten({"space": "lr", "config.model.kind": f"{nets}:make"})))
    of_a_plan = len(made)
    found(**{"config.model.kind": f"{nets}:make"})
    assert len(made) == 2 * of_a_plan


@pytest.mark.parametrize(
    ("factory", "fix"),
    [
        ("dropout", "remove Dropout and own random draws"),
        ("batch_norm", "use GroupNorm instead of BatchNorm"),
        ("raises", "fix it, or model.kwargs"),
        ("no_decode", "give it encode(x) → (mean, log_variance) and decode(z) → output"),
        ("mak", "did you mean `{nets}:make`?"),
    ],
)
def test_a_users_model_that_cannot_be_trained_is_named_with_its_fix(factory, fix, found, nets):
    findings = found(**{"config.model.kind": f"{nets}:{factory}"})
    says, found_fix = failure(findings, "model")
    assert says.startswith("model.kind: ")
    assert found_fix == fix.format(nets=nets)
    assert findings["tracking"].state == findings["storage"].state == "ok", "what needs no plan is checked all the same"


def test_what_else_cannot_be_planned_is_the_sweeps(found):
    assert failure(found(**{"scheduler.grace": 100}), "sweep")[1] == "allowed: 1 to 40"


# --- storage and disk -------------------------------------------------------------------------------------------------


def test_storage_that_cannot_be_written_is_named(found, tmp_path):
    (tmp_path / "file").touch()
    says, fix = failure(found(storage="file/sweeps"), "storage")
    assert says == f"storage: {tmp_path}/file cannot be written: Not a directory"
    assert fix == "check the path and its permissions, or choose another with --storage"


def test_object_storage_is_written_read_and_left_as_it_was(found, remote_root):
    storage = f"{RemoteFolder(remote_root) / 'sweeps'}"
    RemoteFolder(storage).write("other/a", b"1")
    findings = found(storage=storage)
    assert findings["storage"].says == f"{storage} can be written and read"
    assert findings["disk"].says.endswith(f"of objects will lie in {storage}")
    assert findings["storage"].state == findings["disk"].state == "ok"
    assert RemoteFolder(storage).names() == ["other/a"]


def test_object_storage_that_takes_nothing_is_named(found):
    says, fix = failure(found(storage="file:///proc/sweeps"), "storage")
    assert says.startswith("storage: file:///proc/sweeps cannot be written: ")
    assert fix == "check the address and the credentials, or choose another with --storage"


def test_object_storage_that_forgets_is_named(found, tmp_path, monkeypatch):
    monkeypatch.setattr(RemoteFolder, "read", lambda self, name: None)
    storage = tmp_path.as_uri()
    says, fix = failure(found(storage=storage), "storage")
    assert (says, fix) == (
        f"storage: {storage} does not give back what is written there",
        "choose another with --storage",
    )


def test_credentials_in_the_storage_are_refused_before_anything_is_planned():
    with pytest.raises(ConfigError, match=r"^storage: credentials in a URI .* AWS_ACCESS_KEY_ID and") as refusal:
        parse_spec({"storage": "s3://KEY:S3CR3T@bucket/sweeps"})
    assert "S3CR3T" not in str(refusal.value)


def test_the_disk_must_hold_what_a_sweep_writes_at_most(found, monkeypatch):
    usage = namedtuple("usage", "total used free")
    needed = 3 * 20 * checkpoint_bytes(_plan())
    for free, state in [(needed, "ok"), (needed - 1, "failure")]:
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage(0, 0, free))
        assert found()["disk"].state == state
    assert failure(found(), "disk")[1] == "choose another --storage, or fewer --trials"


def _plan():
    return make_plan(parse_spec({"space": "lr"}))


# --- tracking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_access_names_the_variables_and_prints_no_password(status, found):
    with serving(lambda *asked: (status, {})) as host:
        says, fix = failure(found(**{"tracking.uri": f"http://me:secret@{host}"}), "tracking")
    assert "refused access" in says
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in fix
    assert "secret" not in says + fix


def test_a_server_that_is_away_names_the_ways_out(found):
    says, fix = failure(found(**{"tracking.uri": "http://127.0.0.1:9"}), "tracking")
    assert says.startswith("tracking server http://127.0.0.1:9 cannot be reached")
    assert "start the server, or name another one with --tracking-uri" in fix
    assert "--offline" in fix
    assert found(**{"tracking.uri": "http://127.0.0.1:9", "tracking.offline": True})["tracking"].state == "ok"


WAYS_OUT = {
    "mssql+nothing://me:secret@127.0.0.1:9/db": "check driver, host, user, password and name of the database, or name "
    "another store with --tracking-uri",
    "postgresql://me:secret@127.0.0.1:9/db": "check driver, host, user, password and name of the database, or name "
    "another store with --tracking-uri",
    "mysql://me:secret@127.0.0.1:9/db": "pip install mysqlclient",
    "databricks": "set DATABRICKS_HOST and DATABRICKS_TOKEN, or write them down with `databricks configure`",
}


@pytest.mark.parametrize("uri", WAYS_OUT)
def test_a_store_that_cannot_be_queried_is_a_failure_with_its_own_fix_and_no_crash(uri, found, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    says, fix = failure(found(**{"tracking.uri": uri, "tracking.experiment": "/Users/me/x"}), "tracking")
    assert "cannot be queried" in says
    assert "secret" not in says
    assert fix == WAYS_OUT[uri]


@pytest.mark.parametrize("module", ["psycopg", "psycopg2"])
def test_a_database_whose_driver_is_missing_names_the_package(module, found, monkeypatch):
    def missing(uri, **options):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr("sqlalchemy.create_engine", missing)
    says, fix = failure(found(**{"tracking.uri": "postgresql://me:secret@127.0.0.1:9/db"}), "tracking")
    assert says == f"tracking postgresql://***@127.0.0.1:9/db cannot be queried: No module named {module!r}"
    assert fix in ("pip install 'psycopg[binary]'", "pip install psycopg2-binary")


def test_a_server_that_is_not_mlflow_is_not_told_to_be_upgraded(found):
    with serving(lambda *asked: (200, ["not", "mlflow"])) as host:
        says, fix = failure(found(**{"tracking.uri": f"http://{host}"}), "tracking")
    assert "cannot be queried" in says
    assert fix == "name an MLflow server with --tracking-uri"


def test_a_deleted_experiment_is_seen_before_anything_is_trained(found, uri):
    from tuner.tracking.mlflow_store import ensure_experiment, open_client

    client = open_client(uri)
    client.delete_experiment(ensure_experiment(client, "vae-tuner"))
    says, fix = failure(found(**{"tracking.uri": uri}), "tracking")
    assert says == "experiment 'vae-tuner' was deleted in MLflow"
    assert fix == "restore it there or choose another --experiment"
    assert found(**{"tracking.uri": uri, "tracking.experiment": "another"})["tracking"].state == "ok"


def test_databricks_needs_a_path(found):
    says, fix = failure(found(**{"tracking.uri": "databricks", "tracking.experiment": "mine"}), "tracking")
    assert says == "tracking.experiment: 'mine' is not a path"
    assert fix == "Databricks needs one such as --experiment /Users/you@example.com/mine"


def test_a_database_of_another_mlflow_names_the_upgrade(found, uri):
    assert found(**{"tracking.uri": uri})["tracking"].state == "ok"
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.commit()
    _forget_stores()
    says, fix = failure(found(**{"tracking.uri": uri}), "tracking")
    assert "cannot be queried" in says
    assert fix == f"if it is of an older MLflow: mlflow db upgrade {uri}"


def test_a_database_of_this_mlflow_is_known_without_importing_it(uri):
    path = uri.removeprefix("sqlite:///")
    code = (
        "import sys; from pathlib import Path; from tuner.tracking.store_checks import is_well;"
        f"assert is_well(Path({path!r}), 'vae-tuner'); assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _forget_stores():
    """MLflow keeps the stores it has opened."""
    from mlflow.tracking._tracking_service import utils

    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()


# --- laws -------------------------------------------------------------------------------------------------------------


def test_a_sweep_is_refused_for_exactly_what_the_doctor_finds(sweeps):
    plan = sweeps.plan("s", **{"tracking.offline": False, "tracking.uri": "http://127.0.0.1:9"})
    (failed,) = [finding for finding in examine(plan.spec, sweeps.data_dir) if finding.state == "failure"]
    with pytest.raises(UserError) as error:
        require_ready(plan)
    assert str(error.value) == f"{failed.says}; {failed.fix}"
    with pytest.raises(UserError):
        sweeps.run("s", **{"tracking.offline": False, "tracking.uri": "http://127.0.0.1:9"})
    assert not sweeps.storage.exists()


@pytest.mark.parametrize(
    "paths",
    [
        {"tracking.uri": "nonsense"},
        {"tracking.uri": "http://["},
        {"tracking.uri": "sqlite:////nowhere/m.db"},
        {"tracking.uri": "postgresql://"},
        {"storage": "\0"},
        {"storage": "/proc/sweeps"},
        {"storage": "x" * 300},
        {"config.data.name": "\0.npy"},
        {"config.data.name": "~nobody-of-that-name/x.npy"},
        {"config.data.name": f"{'x' * 300}.npy"},
        {"config.model.kind": "no.such.module:make"},
        {"space": "gecko"},
    ],
    ids=str,
)
def test_whatever_is_wrong_is_a_finding(paths, found):
    assert "failure" in {finding.state for finding in found(**paths).values()}
