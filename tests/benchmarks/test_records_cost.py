"""What records in MLflow cost the driver: processor time of a trial and of an epoch, by where they go and how."""

import shutil
import time

import pytest
from events import new_event
from postgresql import postgresql_server
from tracking_server import TrackingServer

from trainables.config.paths import parse_config
from trainables.files.trial_files import RESULT_FILES, trial_files
from tuner.tracking import projection
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.records import ClientRecords, records_of

pytestmark = pytest.mark.bench

TRIALS, EPOCHS, METRICS, IN_FLIGHT = 64, 20, 24, 16
BATCH = 180  # events: a second's, of a sweep that lasts seven
FILE_BYTES = 50_000
GOALS = {"a trial": 15.0, "an epoch": 1.0}  # milliseconds


def events_of(epochs, name):
    """A sweep of trials that complete, so many at once."""
    config = parse_config({"epochs": epochs}).model_dump(mode="json")
    found = [new_event("header", name=name, sweep_id=f"id-of-{name}", metric="m/0", direction="max")]
    for first in range(0, TRIALS, IN_FLIGHT):
        trials = range(first, first + IN_FLIGHT)
        found += [
            new_event("ask", trial=f"{n:04}", number=n, assignment={}, config=config, method="elbo") for n in trials
        ]
        for epoch in range(1, epochs + 1):
            ended = {"decision": "stop", "reason": "completed"} if epoch == epochs else {}
            for n in trials:
                metrics = {"epoch": float(epoch), **{f"m/{i}": n + i / 7 for i in range(METRICS - 1)}}
                own = {"trial": f"{n:04}", "epoch": epoch, "metrics": metrics, "rung": None, "outcome": None}
                found.append(new_event("report", **{**own, "decision": "continue", "reason": None, **ended}))
    return [*found, new_event("finish", reason="completed")]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """The files that trials have left."""
    root = tmp_path_factory.mktemp("trials")
    for n in range(TRIALS):
        for name in RESULT_FILES:
            trial_files(root, f"{n:04}").write(name, b"x" * FILE_BYTES)
    return root


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def uri(request, tmp_path, environment, migrated_database):
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(migrated_database, tmp_path)}"
    elif request.param == "postgresql":
        with postgresql_server() as folder:
            found = f"postgresql+psycopg://postgres@/postgres?host={folder}"
            open_client(found).search_experiments()
            yield found
            open_client(found)._tracking_client.store.engine.dispose()
    else:
        with TrackingServer(tmp_path, environment, migrated_database) as server:
            yield server.wait().uri


def cost(uri, epochs, trials, way, monkeypatch):
    """Milliseconds of processor time of a trial. way: how records are written."""
    monkeypatch.setattr(projection, "records_of", way)
    sent = projection.Projection(open_client(uri), "bench", trials)
    events = events_of(epochs, f"{way.__name__}-{epochs}-{time.monotonic_ns()}")
    started = time.process_time()
    for start in range(0, len(events), BATCH):
        sent.project(events[start : start + BATCH])
    return 1e3 * (time.process_time() - started) / TRIALS


def test_what_a_trial_and_an_epoch_cost(uri, trials, monkeypatch, capsys):
    """Ours and by MLflow's client alone, in turn."""
    found = {}
    for way in (records_of, ClientRecords, records_of):
        whole, half = (cost(uri, epochs, trials, way, monkeypatch) for epochs in (EPOCHS, EPOCHS // 2))
        found[way] = {"a trial": whole, "an epoch": (whole - half) / (EPOCHS - EPOCHS // 2)}
    with capsys.disabled():
        print(f"\n{uri.partition(':')[0]}, {TRIALS} trials of {EPOCHS} epochs and {METRICS} metrics: ms of a processor")
        for way, costs in found.items():
            print(f"  {way.__name__:<16}", {name: round(cost, 2) for name, cost in costs.items()})
    if uri.startswith("sqlite"):
        for name, goal in GOALS.items():
            assert found[records_of][name] <= goal
