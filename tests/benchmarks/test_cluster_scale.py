"""What a trial costs beside its training, as nodes and trials grow: ratios within one run.

Trials are real but thin; nodes are Ray's own, several on this machine, with logical cores: what they add is concurrency
and Ray's work for it, not speed. The 1,000 trials of the driver's cost are not trained at all.
"""

import json
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from events import lines_of, new_event
from ray_cluster import ray_cluster

from search_spaces.compile import suggest_trial
from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from tuner.cluster.ray_session import quiet_ray
from tuner.planning.plans import make_plan
from tuner.running.decisions import Decisions
from tuner.running.driver import header_of, run_sweep
from tuner.running.handing_out import HandingOut
from tuner.search.optuna_study import study_of
from tuner.search.samplers import Sampling, new_sampler
from tuner.sweeps.events import Asked, Reported
from tuner.sweeps.journal import Journal, read_journal
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.state import fold
from tuner.tracking.projection import Projection, points_of

pytestmark = pytest.mark.bench

NODES, CPUS_PER_NODE, THIN_TRIALS = (1, 2, 4), 2, 200
DRIVEN_TRIALS, DRIVEN_EPOCHS = 1000, 3
WINDOW = 50  # trials that a cost is the mean of
ASKS = 10
HEAD = ("gcs_server", "raylet")  # Ray's processes on the driver's machine
WORK = ("driver", *HEAD)


# --- on 1, 2, 4 nodes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """Of one sweep, in seconds by the clock: until its first report; of a trial, and of its training, once all places
    are taken. work: processor seconds of a trial, by process."""

    start: float
    per_trial: float
    training: float
    work: dict[str, float]


class Meter:
    """The processor seconds that this driver and Ray's head have taken, read at every report."""

    def __init__(self, head):
        from psutil import Process  # which comes with Ray

        self._head = {name: Process(head.all_processes[name][0].process.pid) for name in HEAD}
        self.readings = []

    @contextmanager
    def progress(self, plan, sweep, uri):
        yield self

    def event(self, event):
        if isinstance(event, Reported):
            times = {name: process.cpu_times() for name, process in self._head.items()}
            spent = {name: seconds.user + seconds.system for name, seconds in times.items()}
            self.readings.append({"driver": time.process_time(), **spent})

    def per_report(self, begin):
        """By process, from the report of this number to the last."""
        first, last = self.readings[begin], self.readings[-1]
        return {name: (last[name] - first[name]) / (len(self.readings) - 1 - begin) for name in first}


def swept_on(nodes, trials, data_dir):
    """A sweep of thin trials over the nodes of a cluster, two at a time on each."""
    quiet_ray()
    concurrency = CPUS_PER_NODE * nodes
    node = {"num_cpus": CPUS_PER_NODE, "object_store_memory": 10**8}
    with ray_cluster(**node) as cluster:
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
        meter = Meter(cluster.head_node)
        assert run_sweep(make_plan(spec, data_dir), meter.progress).exit_code == 0
    return timed(read_journal(Path("sweeps", spec.name, "journal.jsonl")), meter, 2 * concurrency)


def timed(events, meter, begin):
    """From the report of the number `begin` on."""
    reports = [event for event in events if event["event"] == "report"]
    steady = reports[begin:]
    training = statistics.median(event["metrics"]["time/epoch_s"] for event in steady)
    per_trial = (steady[-1]["t"] - steady[0]["t"]) / (len(steady) - 1)
    return Swept(reports[0]["t"] - events[0]["t"], per_trial, training, meter.per_report(begin))


def test_a_trial_costs_the_same_on_more_nodes(tmp_path, vae_data_root, monkeypatch, capsys):
    """By the clock, on a machine that does nothing else, and by the driver's processor seconds. Ray's head works by the
    clock and the node too, to know of each that it lives."""
    monkeypatch.chdir(tmp_path)
    found = {nodes: swept_on(nodes, THIN_TRIALS, vae_data_root) for nodes in NODES}
    with capsys.disabled():
        print(f"\n{THIN_TRIALS} thin trials; seconds by the clock, milliseconds of a processor for a trial")
        columns = ("nodes", "at once", "to the first report", "a trial", "of that training", *WORK)
        print("  " + "  ".join(columns))
        for nodes, swept in found.items():
            clock = f"{swept.start:.1f}", f"{swept.per_trial:.3f}", f"{swept.training:.3f}"
            row = (nodes, CPUS_PER_NODE * nodes, *clock, *(f"{1e3 * swept.work[name]:.1f}" for name in WORK))
            print("  " + "  ".join(f"{cell:<{len(name)}}" for cell, name in zip(row, columns, strict=True)))
    first, last = found[NODES[0]], found[NODES[-1]]
    assert last.work["driver"] <= 2 * first.work["driver"]
    assert last.per_trial <= 2 * first.per_trial


# --- 1,000 trials -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plan(vae_data_root):
    spec = {"name": "driven", "config": {"epochs": DRIVEN_EPOCHS}, "search": {"trials": DRIVEN_TRIALS}}
    return make_plan(parse_spec({**spec, "scheduler": {"grace": 1}, "resources": {"concurrency": 100}}), vae_data_root)


@pytest.fixture
def metrics(vae_data_root):
    """What a real epoch reports."""
    config = parse_config({"data": {"n_train": 128}, "epochs": 1})
    config = resolve(config, data_facts(config.data, vae_data_root))
    return dict(Trainer(config, load(config.data, vae_data_root, torch.device("cpu"))).train_epoch().metrics)


def drive(plan, journal, metrics, sampler):
    """All trials of a plan one after the other, without training; processor seconds of each ask, and of each report
    with its trial's number."""
    journal.append(new_event("header", **header_of(plan, "driven", "sqlite:///mlflow.db")))
    search = plan.spec.search
    decisions = Decisions(journal, plan.metric, plan.epochs, plan.rule)
    handing_out = HandingOut(
        journal, plan.space, {}, plan.trial,
        sampler=sampler, seed=0, n_trials=search.trials, concurrency=plan.concurrency,
        settle=decisions.settle,
    )  # fmt: skip
    asks, reports = [], []
    for number in range(search.trials):
        started = time.process_time()
        trial = handing_out.next_trial()["trial"]
        asks.append(time.process_time() - started)
        for epoch in range(1, plan.epochs + 1):
            report = {"trial": trial, "epoch": epoch, "outcome": None, "checkpoint": f"{epoch:06}", "diverged": False}
            # One in three is better than all before it.
            value = metrics[plan.metric] + (number if number % 3 == 0 else -number)
            text = json.dumps({**report, "metrics": {**metrics, plan.metric: value}})
            started = time.process_time()
            goes_on = decisions.hear(json.loads(text))
            reports.append((number, time.process_time() - started))
            if not goes_on:
                break
    return asks, reports


def project(journal, uri):
    """Seconds that MLflow takes for each window of trials, and points a second over all."""
    from tuner.tracking.mlflow_store import open_client

    projection, seconds, window = Projection(open_client(uri), "bench"), [], []
    for event in [*journal.events, None]:
        if event is None or (isinstance(event, Asked) and event.number % WINDOW == 0 and event.number):
            started = time.perf_counter()
            projection.project(window)
            seconds.append(time.perf_counter() - started)
            window = []
        if event is not None:
            window.append(event)
    reports = [event for event in journal.events if isinstance(event, Reported)]
    points = sum(len(points_of(report.metrics, report.t, report.epoch)) for report in reports)
    return seconds, points / sum(seconds)


def up_to(journal, trials):
    """The sweep as it stood when so many trials had been handed out."""
    asked = [i for i, event in enumerate(journal.events) if isinstance(event, Asked)]
    return fold(lines_of(journal.events)[: asked[trials] if trials < len(asked) else None])


def tpe_alone(plan, sweep):
    """Processor seconds that Optuna's sampler takes for an ask of a study that is there."""
    sampling, seconds = Sampling("tpe", 0, DRIVEN_TRIALS, True, plan.first), []
    for _ in range(ASKS):
        study = study_of(sweep, plan.space, new_sampler(sampling, plan.space, len(sweep.trials)))
        started = time.process_time()
        suggest_trial(study.ask(), plan.space)
        seconds.append(time.process_time() - started)
    return statistics.mean(seconds)


def test_what_a_trial_costs_the_driver_at_100_and_at_1000(plan, metrics, tmp_path, capsys):
    early, late = DRIVEN_TRIALS // 10, DRIVEN_TRIALS
    journals = {sampler: Journal.create(tmp_path / f"{sampler}.jsonl") for sampler in ("random", "tpe")}
    driven = {sampler: drive(plan, journal, metrics, sampler) for sampler, journal in journals.items()}
    _, reports = driven["random"]
    sent, rate = project(journals["random"], f"sqlite:///{tmp_path}/mlflow.db")
    rows = {
        "a report": [statistics.mean(s for i, s in reports if n - WINDOW <= i < n) for n in (early, late)],
        **{
            f"a new trial, {sampler}": [statistics.mean(asks[n - WINDOW : n]) for n in (early, late)]
            for sampler, (asks, _) in driven.items()
        },
        "  of that Optuna's TPE": [tpe_alone(plan, up_to(journals["tpe"], n)) for n in (early, late)],
        "a trial to MLflow": [sent[n // WINDOW - 1] / WINDOW for n in (early, late)],
    }
    size = (tmp_path / "random.jsonl").stat().st_size
    with capsys.disabled():
        print(f"\n{DRIVEN_TRIALS} trials, {len(reports)} reports; milliseconds\n{'':<26}at {early:<8} at {late}")
        for name, (before, after) in rows.items():
            print(f"  {name:<24}{1e3 * before:<11.2f} {1e3 * after:.2f}")
        print(f"  journal: {size / DRIVEN_TRIALS / 1e3:.1f} kB a trial; MLflow on SQLite: {rate:.0f} points a second")
    for name in ("a report", "a new trial, random", "a trial to MLflow"):
        before, after = rows[name]
        assert after <= 2 * before
    # TPE reads all that it has seen; what is ours does not come to as much.
    assert rows["a new trial, tpe"][1] <= 1.5 * rows["  of that Optuna's TPE"][1]
    for journal in journals.values():
        journal.close()
