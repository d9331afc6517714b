"""A store that may be read and not written is told before anything is trained, and one that cannot be opened always."""

import re
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
from http_server import serving

import tuner
from trainables.config import TrialConfig
from trainables.config.paths import parse_config
from trainables.errors import UserError
from tuner.comparison.request import Request
from tuner.planning.checks import check_tracking
from tuner.running.comparison_stages import ComparisonRun
from tuner.running.comparisons import recorded
from tuner.running.single_run import retrain
from tuner.sweeps.spec import parse_spec
from tuner.tracking.database_file import check_undamaged
from tuner.tracking.reachability import check_reachable
from tuner.tracking.registry import register, run_of
from tuner.tracking.removal import remove_sweep
from tuner.tracking.store_checks import PROBE, begin_experiment, check_artifacts, check_store
from tuner.tracking.store_errors import answering

EXPERIMENT = {
    "experiment_id": "7",
    "name": "team",
    "artifact_location": "mlflow-artifacts:/7",
    "lifecycle_stage": "active",
}
RECORDS, FILES, NEW = "set-experiment-tag", f"artifacts/7/{PROBE}", "experiments/create"


@contextmanager
def server(refused=(), known=True, files=EXPERIMENT["artifact_location"]):
    """An MLflow server that refuses some requests; yields its URI and what was asked of it."""
    experiment = {**EXPERIMENT, "artifact_location": files}
    asked, experiments = [], [experiment] if known else []

    def answer(method, path):
        asked.append(f"{method} {path}")
        absent = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        if any(word in f"{method} {path}" for word in refused):
            return 403, {"error_code": "PERMISSION_DENIED", "message": "Permission denied"}
        if "name=other" in path:
            return absent
        if "get-by-name" in path or "experiments/get?" in path:
            return (200, {"experiment": experiment}) if experiments else absent
        if "registered-models/get?name=known" in path:
            return 200, {"registered_model": {"name": "known"}}
        if any(word in path for word in ("runs/get?", "registered-models/get?")):
            return absent
        if NEW in path:
            experiments.append(experiment)
            return 200, {"experiment_id": "7"}
        return 200, {"experiments": experiments}

    with serving(answer) as host:
        yield f"http://{host}", asked


def wrote(asked, what):
    return [line for line in asked if what in line and not line.startswith(("GET", "DELETE"))]


def test_a_store_that_takes_both_is_asked_for_both_and_the_file_is_taken_away():
    with server() as (uri, asked):
        check_store(uri, "team")
    assert len(wrote(asked, RECORDS)) == len(wrote(asked, FILES)) == 1
    assert any(line.startswith("DELETE") and PROBE in line for line in asked)


def test_who_may_write_need_not_be_allowed_to_delete():
    with server(["DELETE"]) as (uri, asked):
        check_store(uri, "team")
    assert any(line.startswith("DELETE") for line in asked)


@pytest.mark.parametrize(("refused", "what"), [(RECORDS, "records"), (FILES, "files")])
def test_a_refusal_of_either_is_told_with_the_way_out(refused, what):
    with server([refused]) as (uri, _), pytest.raises(UserError) as error:
        check_store(uri, "team")
    told = str(error.value)
    assert told.startswith(f"tracking {uri} does not accept {what} of experiment 'team': ")
    assert "403" in told or "Permission denied" in told or "Forbidden" in told
    assert told.endswith("; ask for the right to write there, or name another --experiment")


def test_a_missing_experiment_is_made_at_the_start_alone():
    with server(known=False) as (uri, asked):
        check_store(uri, "team")
        assert not wrote(asked, NEW)
        begin_experiment(uri, "team")
    assert len(wrote(asked, NEW)) == len(wrote(asked, RECORDS)) == len(wrote(asked, FILES)) == 1
    with (
        server([NEW], known=False) as (uri, asked),
        pytest.raises(UserError, match="does not accept records of experiment"),
    ):
        begin_experiment(uri, "team")


@pytest.mark.parametrize("refused", [RECORDS, FILES])
def test_nothing_is_begun_or_trained_where_records_would_be_refused(refused, sweeps, vae_data_root, monkeypatch):
    """Of a sweep nothing is left, and a single run is not trained first."""
    monkeypatch.setattr("tuner.running.single_run.make_ready", lambda *given: pytest.fail("trained"))
    monkeypatch.setattr("tuner.running.driver._run", lambda *given: pytest.fail("begun"))
    with server([refused]) as (uri, _):
        with pytest.raises(UserError, match="does not accept"):
            sweeps.run("s", **{"tracking.offline": False, "tracking.uri": uri, "tracking.experiment": "team"})
        with pytest.raises(UserError, match="does not accept"):
            retrain(TrialConfig.model_validate({}), uri, "team", vae_data_root)
    assert not sweeps.storage.exists()


SMALL = parse_config({"data": {"n_train": 64}, "epochs": 1, "model": {"hidden": [8]}, "threads": 1})
SAYING = {
    "refused": lambda sweeps, uri: begin_experiment(uri, "other"),
    "no folder for files": lambda sweeps, uri: check_artifacts(uri, "team"),
    "unknown experiment": lambda sweeps, uri: tuner.best(tracking_uri=uri, experiment="other"),
    "unknown run": lambda sweeps, uri: tuner.load("0123", tracking_uri=uri),
    "unknown model": lambda sweeps, uri: run_of(uri, "models:/m"),
    "no server": lambda sweeps, uri: check_reachable(re.sub(r"\d+$", "9", uri)),
    "refused records": lambda sweeps, uri: tuner.sync("s", storage=sweeps.storage, tracking_uri=uri),
    "refused run": lambda sweeps, uri: retrain(SMALL, uri, "team", sweeps.data_dir),
    "refused page": lambda sweeps, uri: recorded(ComparisonRun(Request("c"), Path(), tracking_uri=uri), None, Path()),
}


@pytest.mark.parametrize("place", SAYING)
def test_wherever_a_store_is_named_its_password_is_not(place, sweeps):
    sweeps.run("s")
    files = "file:///proc/files" if place == "no folder for files" else EXPERIMENT["artifact_location"]
    with server([NEW, "log-batch", "runs/create"], files=files) as (uri, _), pytest.raises(UserError) as error:
        SAYING[place](sweeps, uri.replace("//", "//me:hush@"))
    said = str(error.value)
    assert "hush" not in said
    assert "http://***@127.0.0.1:" in said


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("registered-models/get", lambda uri: run_of(uri, "models:/m")),
        ("model-versions/get", lambda uri: run_of(uri, "models:/known/1")),
        ("runs/get", lambda uri: tuner.load("0123", tracking_uri=uri)),
    ],
)
def test_what_may_not_be_read_is_not_called_missing(path, ask):
    with server([path]) as (uri, _), pytest.raises(UserError, match=f"^tracking {uri} cannot be queried: .*denied"):
        ask(uri)


def test_the_command_that_makes_an_experiment_can_be_copied():
    with server(files="file:///proc/files") as (uri, _), pytest.raises(UserError, match="--experiment-name 'our team'"):
        check_artifacts(uri, "our team")


def test_doctor_names_a_store_that_answers_without_its_password():
    with server() as (uri, _):
        found = check_tracking(parse_spec({"tracking": {"uri": uri.replace("//", "//me:hush@"), "experiment": "team"}}))
    assert (found.state, found.says) == ("ok", f"{uri.replace('//', '//***@')} answers")


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("postgresql://me:hush@h/db", "'postgresql://***@h/db'"),
        ("sqlite:////my runs/mlflow.db", "'sqlite:////my runs/mlflow.db'"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
    ],
)
def test_the_command_that_upgrades_a_store_can_be_copied_and_holds_no_password(uri, word):
    with pytest.raises(UserError) as error, answering(uri):
        raise RuntimeError("out of date: run `mlflow db upgrade <database_uri>`")
    assert str(error.value).endswith(f"; if it is of an older MLflow: mlflow db upgrade {word}")
    assert "hush" not in str(error.value)


# --- stores that cannot be opened -------------------------------------------------------------------------------------


def alter(uri, *statements):
    """A change that MLflow in this process does not remember."""
    from mlflow.tracking._tracking_service import utils

    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()


@pytest.fixture
def older(uri):
    """A database whose last migration MLflow takes for one of long ago."""
    alter(uri, "UPDATE alembic_version SET version_num = 'bf29a5ff90ea'")
    return uri


VERBS = {
    "best": lambda sweeps, uri: tuner.best(tracking_uri=uri),
    "load": lambda sweeps, uri: tuner.load("0123", tracking_uri=uri),
    "registered": lambda sweeps, uri: run_of(uri, "models:/m"),
    "register": lambda sweeps, uri: register(uri, Winner(), "m"),
    "train": lambda sweeps, uri: retrain(TrialConfig.model_validate({}), uri),
    "sweep": lambda sweeps, uri: sweeps.run("t", **{"tracking.offline": False, "tracking.uri": uri}),
    "resume": lambda sweeps, uri: sweeps.resume("s", more_trials=1, tracking_uri=uri, offline=False),
    "sync": lambda sweeps, uri: tuner.sync("s", storage=sweeps.storage, tracking_uri=uri),
    "rm": lambda sweeps, uri: remove_sweep(sweeps.storage, "s", with_runs=True, uri=uri),
}


class Winner:
    run_id = "0123"

    def require_config(self):
        return None


@pytest.mark.parametrize("verb", VERBS)
def test_a_database_of_an_older_mlflow_is_one_sentence_for_every_verb(verb, older, sweeps):
    sweeps.run("s")
    with pytest.raises(UserError) as error:
        VERBS[verb](sweeps, older)
    assert re.match(rf"tracking {older} (cannot be queried|refused the records): ", str(error.value))
    assert "db upgrade" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_database_of_a_newer_mlflow_is_told_before_a_start(uri):
    alter(uri, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(UserError, match=f"^tracking {uri} cannot be queried: [^\n]*$"):
        check_store(uri, "vae-tuner")


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_whose_driver_is_missing_is_one_sentence_for_every_verb(verb, sweeps):
    sweeps.run("s")
    with pytest.raises(UserError, match=r"^tracking mysql://\*\*\*@127\.0\.0\.1:9/db .*No module named 'MySQLdb'"):
        VERBS[verb](sweeps, "mysql://me:hush@127.0.0.1:9/db")


# --- a file that is damaged -------------------------------------------------------------------------------------------

NOISE = Random(0).randbytes(3000)
DAMAGES = {
    "begins with zeros": lambda data: bytes(16) + data[16:],
    "list of tables": lambda data: data[:100] + NOISE + data[100 + len(NOISE) :],
    "half of it": lambda data: data[: len(data) // 2],
    "pages of tables": lambda data: b"".join(_spoilt(data, page) for page in range(0, len(data), PAGE)),
}
PAGE = 4096


def _spoilt(data, start):
    """A page of rows (a leaf of a table) with noise for them, but for those of the list of tables."""
    page = data[start : start + PAGE]
    return page[:8] + NOISE + page[8 + len(NOISE) :] if start and page[:1] == b"\x0d" else page


@pytest.fixture
def database(uri):
    return Path(uri.removeprefix("sqlite:///"))


def damage(database, kind):
    from mlflow.tracking._tracking_service import utils

    database.write_bytes(DAMAGES[kind](database.read_bytes()))
    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_damaged_file_is_told_so_with_what_to_do_by_every_verb(verb, kind, database, uri, sweeps, monkeypatch):
    monkeypatch.setattr("tuner.running.single_run.make_ready", lambda *given: pytest.fail("trained"))
    sweeps.run("s")
    damage(database, kind)
    with pytest.raises(UserError) as error:
        VERBS[verb](sweeps, uri)
    said = str(error.value)
    assert f"{database} is damaged (" in said or f"{database} is not an SQLite database; " in said
    assert (
        "put a copy of it back, or move it away: `vae-tuner sync NAME` writes the records of a sweep anew, into a new "
        "file"
    ) in said


def test_damage_that_only_a_look_at_all_of_it_finds_is_told_before_a_start(database, uri):
    """MLflow would open it, and train: pages that belong to nothing."""
    alter(
        uri, "PRAGMA writable_schema = ON", "DELETE FROM sqlite_master WHERE type = 'index' AND name LIKE '%metrics%'"
    )
    with pytest.raises(UserError, match=rf"^the database {database} is damaged \([^\n]*\); put a copy of it back"):
        check_store(uri, "vae-tuner")


def test_the_advice_of_a_damaged_file_holds(database, uri, new_store, sweeps):
    """Moved away, it is made anew from the journals, and has what a whole one has."""
    other, found = new_store("other"), []
    sweeps.run("s")
    damage(database, "half of it")
    database.rename(database.with_suffix(".damaged"))
    for store in (uri, other):
        tuner.sync("s", storage=sweeps.storage, tracking_uri=store)
        best = tuner.best("s", top=None, tracking_uri=store)
        found.append([(trial.trial, trial.metrics, trial.config) for trial in best])
    assert found[0] == found[1] != []


def test_a_whole_file_that_is_locked_passes(database, uri):
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        check_undamaged(uri)
        check_reachable(uri)
