"""Both ways to write into a database leave the same in all of its tables."""

import json
import math
import random
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from events import parsed
from postgresql import postgresql_server
from sqlalchemy import MetaData, create_engine, select, text

from tuner.tracking import database_records
from tuner.tracking.mlflow_store import MlflowException, RestStore, ensure_experiment, open_client
from tuner.tracking.projection import Projection
from tuner.tracking.records import Change, ClientRecords, NewRun, Point, ServerRecords, records_of


def contents(uri):
    """All rows of all tables, with runs by their names."""
    engine, schema = create_engine(uri), MetaData()
    with engine.connect() as connection:
        schema.reflect(connection)
        names = connection.execute(text("SELECT run_uuid, name FROM runs")).all()
        rows = {name: connection.execute(select(table)).mappings().all() for name, table in schema.tables.items()}
    engine.dispose()

    def named(row):
        said = repr(sorted(row.items()))
        for run_id, name in names:
            said = said.replace(run_id, name)
        return said

    return {table: sorted(map(named, found)) for table, found in rows.items()}


@pytest.fixture(scope="module")
def postgresql():
    """URIs of two databases that hold the same: MLflow's tables, and an experiment."""
    with postgresql_server() as folder:
        uris = [f"postgresql+psycopg://postgres@/{name}?host={folder}" for name in ("template1", "one", "two")]
        ensure_experiment(open_client(uris[0]), "vae-tuner")
        open_client(uris[0])._tracking_client.store.engine.dispose()
        control = create_engine(uris[0].replace("/template1", "/postgres"), isolation_level="AUTOCOMMIT")
        with control.connect() as connection:
            for name in ("one", "two"):
                connection.execute(text(f"CREATE DATABASE {name}"))
        control.dispose()
        yield uris[1:]
        for uri in uris[1:]:
            open_client(uri)._tracking_client.store.engine.dispose()


@pytest.fixture
def sqlite(new_store):
    first = new_store("one")
    ensure_experiment(open_client(first), "vae-tuner")
    second = new_store("two")
    shutil.copy(first.removeprefix("sqlite:///"), second.removeprefix("sqlite:///"))
    return [first, second]


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request):
    """Records of two like stores: ours, and those of MLflow's client."""
    ours, theirs = map(open_client, request.getfixturevalue(request.param))
    assert isinstance(records_of(ours), database_records.DatabaseRecords)
    return {ours: records_of(ours), theirs: ClientRecords(theirs)}


def assert_same(both):
    ours, theirs = (contents(client.tracking_uri) for client in both)
    assert ours.keys() == theirs.keys()
    for table, rows in theirs.items():
        assert ours[table] == rows, [pair for pair in zip(ours[table], rows, strict=False) if pair[0] != pair[1]]


@pytest.mark.parametrize("size", [3, 100])
def test_a_sweep_leaves_the_same_also_when_it_is_sent_twice(size, both, eventful_journal, monkeypatch):
    events = parsed(eventful_journal.events)
    for client, records in both.items():
        monkeypatch.setattr("tuner.tracking.projection.records_of", lambda _, records=records: records)
        for _ in range(2):
            projection = Projection(client, "vae-tuner", tags={"team": "vision"})
            for start in range(0, len(events), size):
                projection.project(events[start : start + size])
    assert_same(both)


def some_change(chance, run_id):
    """Few metrics, steps, times and values, so that points meet."""
    values = chance.sample([0.0, -0.0, 1.5, 0.1 + 0.2, float("nan"), float("inf"), float("-inf")], 3)
    points = [
        Point(chance.choice(["val/elbo", "m"]), chance.choice(values), chance.randrange(2), chance.randrange(2))
        for _ in range(chance.randrange(12))
    ]
    params = {name: f"{name} of this run" for name in chance.sample(["lr.base", "seed", "model.kind"], 2)}
    tags = {name: str(chance.random()) for name in chance.sample(["a", "b", "c"], 2)}
    ending = chance.choice([{}, {"status": "RUNNING"}, {"status": "FINISHED", "end": chance.randrange(1, 9)}])
    return Change(run_id, points, params, tags, **ending)


@pytest.mark.parametrize("seed", range(3))
def test_any_changes_leave_the_same(seed, both):
    for client, records in both.items():
        chance = random.Random(seed)
        new = [NewRun(f"{seed}-{n}", n + 1, {"mlflow.user": "me", "a": "made with it"}) for n in range(3)]
        runs = [made.run_id for made in records.create(ensure_experiment(client, "vae-tuner"), new)]
        for _ in range(8):
            records.write([some_change(chance, run_id) for run_id in chance.sample(runs, 2)])
        records.write([Change(runs[0], tags={"long": "x" * 9000}, params={"long": "y" * 7000})])
    assert_same(both)


@pytest.mark.parametrize("seed", range(3))
def test_a_server_is_sent_the_same(seed, monkeypatch):
    """Bodies of requests, none of which leaves."""
    sent = []
    monkeypatch.setattr(RestStore, "_call_endpoint", lambda store, api, body: sent.append((api, json.loads(body))))
    client, chance = open_client("http://127.0.0.1:9"), random.Random(seed)
    change = replace(some_change(chance, "0" * 32), status=None, end=None)
    finite = [point for point in change.points if math.isfinite(point.value)]
    for records in (ClientRecords(client), records_of(client)):
        records.write([replace(change, points=finite * 200)])
    assert type(records) is ServerRecords
    assert sent[: len(sent) // 2] == sent[len(sent) // 2 :] != []


# --- in a database ----------------------------------------------------------------------------------------------------


@pytest.fixture
def records(sqlite):
    client = open_client(sqlite[0])
    return records_of(client), ensure_experiment(client, "vae-tuner")


CHANGE = {"points": [Point("m", 1.0, 1, 1)], "params": {"a": "1"}, "tags": {"b": "2"}, "status": "FINISHED", "end": 9}


def test_a_batch_that_breaks_off_leaves_nothing(records, sqlite, monkeypatch):
    ours, experiment = records
    runs = [made.run_id for made in ours.create(experiment, [NewRun("x", 0, {}), NewRun("y", 0, {})])]
    before = contents(sqlite[0])

    def die(*_):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(database_records, "_set_statuses", die)
        with pytest.raises(MlflowException, match="killed"):
            ours.write([Change(run_id, **CHANGE) for run_id in runs])
    open_client(sqlite[0]).delete_run(runs[1])
    with pytest.raises(MlflowException, match="was deleted"):
        ours.write([Change(run_id, **CHANGE) for run_id in runs])
    open_client(sqlite[0]).restore_run(runs[1])
    assert contents(sqlite[0]) == before
    ours.write([Change(run_id, **CHANGE) for run_id in runs])
    assert contents(sqlite[0]) != before


def test_a_database_that_another_process_writes_to_is_waited_for(records, sqlite):
    ours, experiment = records
    (run,) = ours.create(experiment, [NewRun("x", 0, {})])
    with closing(sqlite3.connect(sqlite[0].removeprefix("sqlite:///"), check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.5, other.commit)
        release.start()
        ours.write([Change(run.run_id, **CHANGE)])
        release.join()
    assert open_client(sqlite[0]).get_run(run.run_id).data.metrics == {"m": 1.0}


def test_no_run_is_made_in_an_experiment_that_was_deleted(records, sqlite):
    ours, experiment = records
    open_client(sqlite[0]).delete_experiment(experiment)
    with pytest.raises(MlflowException, match=f"experiment {experiment} .* was deleted"):
        ours.create(experiment, [NewRun("x", 0, {})])


def test_tables_of_another_revision_are_left_to_mlflow(sqlite, monkeypatch):
    monkeypatch.setattr(database_records, "SCHEMA", "of another version")
    assert type(records_of(open_client(sqlite[0]))) is ClientRecords
