"""One story on the stock stack and on ours: a good trial ends, a poor one begins, MLflow is away for a moment, the
driver is gone, and the sweep goes on."""

import gc
import shutil
import signal
import threading
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

import tuner
from tuner.cluster.signals import handler_kept
from tuner.running.driver import run_sweep
from tuner.sweeps.journal import read_journal
from tuner.sweeps.state import fold
from tuner.tracking.database_records import DatabaseRecords
from tuner.tracking.mlflow_store import MlflowClient, MlflowException, Tag, open_client
from tuner.tracking.tracker import Tracker

pytestmark = pytest.mark.cluster

EPOCHS = 3
GOOD, POOR = 3e-3, 1e-9
TINY = {"epochs": EPOCHS, "data": {"n_train": 64}, "batch_size": 32, "model": {"hidden": [8], "latent_dim": 2}}


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest.fixture(scope="module")
def store(tmp_path_factory, migrated_database):
    return f"sqlite:///{shutil.copy(migrated_database, tmp_path_factory.mktemp('store'))}"


@contextmanager
def away(owner, method, is_away):
    """A call that fails while MLflow is away; yields the threads that have waited for it."""
    original, waited = getattr(owner, method), []

    def call(self, *arguments, **options):
        if is_away():
            waited.append(threading.current_thread())
            raise MlflowException("MLflow is away")
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, call)
        yield waited


@contextmanager
def files_closed():
    """Close the logs that Tune leaves open when its loop dies, before their warnings fall into a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def runs_of(store, experiment, tag):
    """Trial → its runs, as (id, status, steps of all points of its epoch)."""
    client = open_client(store)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    found = {}
    for run in (run for run in runs if tag in run.data.tags):
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "epoch")]
        found.setdefault(run.data.tags[tag], []).append((run.info.run_id, run.info.status, steps))
    return found


@pytest.fixture(scope="module")
def stock(store, shared_ray, tmp_path_factory, patch):
    """tune.Tuner with ASHA and Ray's own callback for MLflow."""
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    def train(config):
        for epoch in range(1, EPOCHS + 1):
            tune.report({"value": config["value"], "epoch": epoch})

    def runs():
        return runs_of(store, "stock", "trial_name")

    patch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")  # its state is as fresh as it can be
    patch.setenv("MLFLOW_TRACKING_URI", store)  # as the callback does, which leaves it so
    folder = str(tmp_path_factory.mktemp("stock"))
    asha = tune.schedulers.ASHAScheduler(
        time_attr="epoch", metric="value", mode="max", grace_period=1, max_t=EPOCHS, reduction_factor=3
    )

    def death_of_the_first():
        made = tune.Tuner(
            train,
            param_space={"value": tune.grid_search([GOOD, POOR])},
            tune_config=tune.TuneConfig(scheduler=asha, max_concurrent_trials=1),
            run_config=tune.RunConfig(
                name="s", storage_path=folder, callbacks=[MLflowLoggerCallback(store, experiment_name="stock")]
            ),
        )
        with pytest.raises(Exception, match="is away") as death:
            made.fit()
        return str(death.value)

    with handler_kept(signal.SIGINT):  # Tune's own would swallow the next Ctrl-C
        with away(MlflowClient, "log_metric", lambda: len(runs()) == 2) as waited, files_closed():
            death = death_of_the_first()
        before = runs()
        results = tune.Tuner.restore(f"{folder}/s", train).fit()
    epochs = {result.config["value"]: result.metrics["epoch"] for result in results}
    return SimpleNamespace(asha=asha, waited=waited, death=death, before=before, after=runs(), epochs=epochs)


@pytest.fixture(scope="module")
def ours(store, shared_ray, tmp_path_factory, patch, vae_data_root):
    """A sweep all of whose training falls into the outage; then its journal ends where the stock driver died."""
    folder = tmp_path_factory.mktemp("ours")
    patch.setenv("VAE_TUNER_DATA", str(vae_data_root))
    patch.setattr("tuner.tracking.tracker.NOTE_SECONDS", 0.1)
    plan = tuner.plan({
        "name": "s", "storage": str(folder), "config": TINY, "tracking": {"uri": store, "experiment": "ours"},
        "space": {"lr.base": {"choice": [GOOD, POOR]}}, "search": {"trials": 2, "sampler": "grid"},
        "scheduler": {"kind": "asha", "grace": 1}, "resources": {"concurrency": 1},
    })  # fmt: skip
    back = threading.Event()

    @contextmanager
    def progress(*_):
        yield SimpleNamespace(event=lambda event: None, silent=print, sending=lambda *_: waited and back.set())

    with away(DatabaseRecords, "write", lambda: not back.is_set()) as waited:
        result = run_sweep(plan, progress)
    journal = folder / "s" / "journal.jsonl"
    lines, before = journal.read_bytes().splitlines(keepends=True), read_journal(journal)
    reported = [n for n, event in enumerate(before) if event["event"] == "report"]
    journal.write_bytes(b"".join(lines[: reported[EPOCHS]]))
    runs = runs_of(store, "ours", Tag.TRIAL)
    tuner.resume("s", storage=folder)
    return SimpleNamespace(
        waited=waited, result=result, before=before, after=read_journal(journal),
        runs_before=runs, runs_after=runs_of(store, "ours", Tag.TRIAL),
    )  # fmt: skip


def test_trap_04_a_restored_tuner_has_forgotten_the_rungs_of_asha(stock, ours):
    undisturbed = SimpleNamespace(trial_id="poor")
    stock.asha.on_trial_add(None, undisturbed)
    assert stock.asha.on_trial_result(None, undisturbed, {"epoch": 1, "value": POOR}) == "STOP"
    assert stock.epochs == {GOOD: EPOCHS, POOR: EPOCHS}, "with nothing to compare with, the poor one passes"

    def decided(events):
        names = ("trial", "epoch", "decision", "reason", "rung", "cutoff")
        return [tuple(event[name] for name in names) for event in events if event["event"] == "report"]

    assert decided(ours.after) == decided(ours.before)
    assert decided(ours.after)[-1][:5] == ("0001", 1, "stop", "pruned", 1)
    assert fold(ours.after).rungs == fold(ours.before).rungs


def test_trap_05_a_restored_trial_has_two_runs_and_the_first_runs_for_ever(stock, ours):
    assert {len(runs) for runs in stock.before.values()} == {1}
    (poor,) = [runs for runs in stock.after.values() if len(runs) == 2]
    assert sorted(status for _, status, _ in poor) == ["FINISHED", "RUNNING"]

    assert ours.runs_after == ours.runs_before
    states = {trial: [(status, steps) for _, status, steps in runs] for trial, runs in ours.runs_after.items()}
    assert states == {"0000": [("FINISHED", [1, 2, 3])], "0001": [("KILLED", [1])]}


def test_trap_06_an_mlflow_outage_kills_the_search(stock, ours):
    assert stock.waited == [threading.main_thread()], "the search itself waits for MLflow"
    assert "MLflow is away" in stock.death

    assert ours.waited
    assert all(isinstance(thread, Tracker) for thread in ours.waited)
    assert (ours.result.exit_code, ours.result.stop_reasons) == (0, {"completed": 1, "pruned": 1})
    assert ours.result.unsent == 0, "and MLflow has got all of it since"
