"""What a trial costs beside its training, as nodes and trials grow: ratios within one run.

Trials are real but thin; nodes are Ray's own, several on this machine, with logical cores: what they add is concurrency
and Ray's work for it, not speed. The 1,000 trials of the driver's cost are not trained at all.
"""

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from trainables.data import data_facts, load
from trainables.paths import parse_config
from trainables.reporting import RESULT_KEY
from trainables.resolve import resolve
from trainables.trainer import Trainer
from tuner.planning.plans import make_plan
from tuner.pruning.schedulers import JournalScheduler
from tuner.running.driver import header_of, run_sweep
from tuner.running.ray_session import quiet_ray
from tuner.search.samplers import Sampling
from tuner.search.searchers import JournalSearcher, ask
from tuner.spec import parse_spec
from tuner.storage.journal import Journal, read_journal
from tuner.storage.sweep_state import fold
from tuner.tracking.projection import Projection, points_of

pytestmark = pytest.mark.bench

NODES, CPUS_PER_NODE, THIN_TRIALS = (1, 2, 4), 2, 200
DRIVEN_TRIALS, DRIVEN_EPOCHS = 1000, 3
WINDOW = 50  # trials that a cost is the mean of
ASKS = 10


# --- on 1, 2, 4 nodes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """Of one sweep, in seconds: until its first report; of a trial, and of its training, once all places are taken."""

    start: float
    per_trial: float
    training: float


def swept_on(nodes, trials, data_dir):
    """A sweep of thin trials over the nodes of a cluster, two at a time on each."""
    quiet_ray()
    import ray
    from ray.cluster_utils import Cluster

    concurrency = CPUS_PER_NODE * nodes
    node = {"num_cpus": CPUS_PER_NODE, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**node)
        config = {"data": {"n_train": 128}, "model": {"hidden": [16], "latent_dim": 2}, "epochs": 1}
        spec = parse_spec({
            "name": f"on-{nodes}",
            "config": config,
            "space": "lr",
            "search": {"sampler": "random", "trials": trials},
            "scheduler": {"kind": "none"},
            "resources": {"ray_address": cluster.address, "concurrency": concurrency},
            "tracking": {"offline": True},
        })  # fmt: skip
        assert run_sweep(make_plan(spec, data_dir)).exit_code == 0
    finally:
        ray.shutdown()
        cluster.shutdown()
    return timed(read_journal(Path("sweeps", spec.name, "journal.jsonl")), concurrency)


def timed(events, concurrency):
    reports = [event for event in events if event["event"] == "report"]
    steady = reports[2 * concurrency :]
    training = statistics.median(event["metrics"]["time/epoch_s"] for event in steady)
    first = steady[0]["t"]
    return Swept(reports[0]["t"] - events[0]["t"], (steady[-1]["t"] - first) / (len(steady) - 1), training)


def test_a_trial_costs_the_same_on_more_nodes(tmp_path, vae_data_root, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = {nodes: swept_on(nodes, THIN_TRIALS, vae_data_root) for nodes in NODES}
    with capsys.disabled():
        print(f"\n{THIN_TRIALS} thin trials; seconds\n  nodes  at once  to the first report  a trial  of that training")
        for nodes, swept in found.items():
            print(
                f"  {nodes:<5}  {CPUS_PER_NODE * nodes:<7}  {swept.start:<19.1f}  {swept.per_trial:<7.3f}  "
                f"{swept.training:.3f}"
            )
    assert found[NODES[-1]].per_trial <= 2 * found[NODES[0]].per_trial


# --- 1,000 trials -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plan(vae_data_root):
    search = {"sampler": "random", "trials": DRIVEN_TRIALS}
    spec = {"name": "driven", "config": {"epochs": DRIVEN_EPOCHS}, "search": search, "scheduler": {"grace": 1}}
    return make_plan(parse_spec({**spec, "resources": {"concurrency": 100}}), vae_data_root)


@pytest.fixture
def metrics(vae_data_root):
    """What a real epoch reports."""
    config = parse_config({"data": {"n_train": 128}, "epochs": 1})
    config = resolve(config, data_facts(config.data, vae_data_root))
    return dict(Trainer(config, load(config.data, vae_data_root, torch.device("cpu"))).train_epoch().metrics)


def drive(plan, journal, metrics):
    """All trials of a plan one after the other, without training; seconds of each ask and of each report, by trial."""
    search = plan.spec.search
    scheduler = JournalScheduler(journal, plan.metric, plan.epochs, plan.rule, lambda event: None)
    searcher = JournalSearcher(
        journal, plan.space, {}, plan.trial,
        sampler=search.sampler, seed=0, n_trials=search.trials, concurrency=plan.concurrency,
        on_event=lambda event: None, settle=scheduler.settle,
    )  # fmt: skip
    asks, reports = [], []
    for number in range(search.trials):
        started = time.perf_counter()
        trial = searcher.suggest("")["trial"]
        asks.append(time.perf_counter() - started)
        for epoch in range(1, plan.epochs + 1):
            report = {"trial": trial, "epoch": epoch, "outcome": None, "checkpoint": f"{epoch:06}", "diverged": False}
            # One in three is better than all before it.
            value = metrics[plan.metric] + (number if number % 3 == 0 else -number)
            text = json.dumps({**report, "metrics": {**metrics, plan.metric: value}})
            started = time.perf_counter()
            decision = scheduler.on_trial_result(None, None, {RESULT_KEY: text})
            reports.append((number, time.perf_counter() - started))
            if decision == "STOP":
                break
    return asks, reports


def project(journal, uri):
    """Seconds that MLflow takes for each window of trials, and points a second over all."""
    from tuner.tracking.mlflow_store import open_client

    projection, seconds, window = Projection(open_client(uri), "bench"), [], []
    for event in [*journal.events, None]:
        if event is None or (event["event"] == "ask" and event["number"] % WINDOW == 0 and event["number"]):
            started = time.perf_counter()
            projection.project(window)
            seconds.append(time.perf_counter() - started)
            window = []
        if event is not None:
            window.append(event)
    points = sum(len(points_of(event)) for event in journal.events if event["event"] == "report")
    return seconds, points / sum(seconds)


def up_to(journal, trials):
    """The sweep as it stood when so many trials had been handed out."""
    asked = [i for i, event in enumerate(journal.events) if event["event"] == "ask"]
    return fold(journal.events[: asked[trials] if trials < len(asked) else None])


def seconds_to_ask(plan, sweep, sampler):
    sampling = Sampling(sampler, 0, plan.spec.search.trials + 1, True, plan.first)
    started = time.perf_counter()
    for _ in range(ASKS):
        ask(sweep, plan.space, sampling)
    return (time.perf_counter() - started) / ASKS


def test_what_a_trial_costs_the_driver_at_100_and_at_1000(plan, metrics, tmp_path, capsys):
    early, late = DRIVEN_TRIALS // 10, DRIVEN_TRIALS
    journal = Journal.create(tmp_path / "journal.jsonl")
    journal.append("header", **header_of(plan, "driven", "sqlite:///mlflow.db"))
    asks, reports = drive(plan, journal, metrics)
    sent, rate = project(journal, f"sqlite:///{tmp_path}/mlflow.db")
    rows = {
        "a new trial, random": [statistics.mean(asks[n - WINDOW : n]) for n in (early, late)],
        "a new trial, tpe": [seconds_to_ask(plan, up_to(journal, n), "tpe") for n in (early, late)],
        "a report": [statistics.mean(s for i, s in reports if n - WINDOW <= i < n) for n in (early, late)],
        "a trial to MLflow": [sent[n // WINDOW - 1] / WINDOW for n in (early, late)],
    }
    size = (tmp_path / "journal.jsonl").stat().st_size
    with capsys.disabled():
        print(f"\n{DRIVEN_TRIALS} trials, {len(reports)} reports; milliseconds\n{'':<24}at {early:<8} at {late}")
        for name, (before, after) in rows.items():
            print(f"  {name:<22}{1e3 * before:<11.2f} {1e3 * after:.2f}")
        print(f"  journal: {size / DRIVEN_TRIALS / 1e3:.1f} kB a trial; MLflow on SQLite: {rate:.0f} points a second")
    for name in ("a report", "a trial to MLflow"):
        before, after = rows[name]
        assert after <= 2 * before
    journal.close()
