"""Sweeps through the Python functions, on a Ray that is shared by the tests."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import ray
from drivers import PATIENCE

import tuner
from trainables.config.paths import plain
from trainables.worker.kappa_min import reach_config
from tuner.cluster.capacity import Capacity, Node
from tuner.running import exclusive_trials, kappa_min, search_loop
from tuner.running.driver import run_sweep
from tuner.sweeps.journal import read_journal
from tuner.sweeps.state import fold

pytestmark = pytest.mark.cluster


def spec(name, **parts):
    defaults = {"config": {"epochs": 6}, "search": {"trials": 4}, "resources": {"concurrency": 1}}
    return {**defaults, "name": name, **parts}


def story(workplace, name):
    """What a sweep did, without times."""
    sweep = fold(read_journal(workplace / "sweeps" / name / "journal.jsonl"))
    return [
        (trial.id, trial.config, trial.stop_reason, [(r.epoch, r.rung, _timeless(r.metrics)) for r in trial.reports])
        for trial in sweep.trials.values()
    ]


def _timeless(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def wait_for_free_cores(n):
    """A Ray of the caller's own has its cores back."""
    end = time.monotonic() + PATIENCE
    while ray.available_resources().get("CPU", 0) != n:
        assert time.monotonic() < end, ray.available_resources()
        time.sleep(0.1)


def test_a_sweep_at_concurrency_one_repeats_exactly(workplace):
    for name in ("first", "second"):
        tuner.sweep(spec(name))
    assert story(workplace, "first") == story(workplace, "second")


def test_a_sweep_leaves_its_process_as_it_was(workplace):
    def process():
        settings = {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "TUNE_"))}
        return settings | {number: signal.getsignal(number) for number in signal.valid_signals()}

    before = process()
    tuner.sweep(spec("neat", config={"epochs": 1}, search={"trials": 1}, tracking={"offline": True}))
    assert process() == before


def test_a_diverged_trial_stops_at_once_and_is_never_best(workplace):
    result = tuner.sweep(
        spec("wild", space="batch-size", config={"epochs": 6, "lr": {"base": 1e30, "scaling": "none"}})
    )
    assert result.stop_reasons == {"diverged": 4}
    assert result.best is None
    assert result.exit_code == 1
    sweep = fold(read_journal(workplace / "sweeps" / "wild" / "journal.jsonl"))
    assert all(trial.epochs == 1 for trial in sweep.trials.values())


def test_an_error_in_a_trial_is_kept_and_the_sweep_goes_on(workplace):
    np.save(workplace / "mine.npy", np.random.default_rng(0).random((200, 6)))
    config = {"data": {"name": "mine.npy"}, "epochs": 4, "batch_size": 32}
    plan = tuner.plan(spec("orphan", space="lr", config=config, search={"trials": 2}))
    (workplace / "mine.npy").unlink()
    result = run_sweep(plan)
    assert result.stop_reasons == {"error": 2}
    sweep = fold(read_journal(workplace / "sweeps" / "orphan" / "journal.jsonl"))
    assert all("mine.npy does not exist" in trial.error for trial in sweep.trials.values())


def test_own_arrays_give_a_best_configuration(workplace):
    np.savez(workplace / "mine.npz", x=np.random.default_rng(0).normal(size=(300, 2, 3)))
    result = tuner.sweep(
        spec("own", space="geco", config={"data": {"name": "mine.npz"}, "epochs": 5, "batch_size": 32})
    )
    assert result.best is not None
    assert result.best.config.data.likelihood == "gaussian"
    assert tuner.best(["own"])[0].trial == result.best.trial


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_mnist_is_prepared_once_and_searched(workplace, data_dir, binarize):
    config = {"data": {"name": "mnist", "n_train": 512, "binarize": binarize}, "epochs": 2, "batch_size": 64}
    result = tuner.sweep(spec(f"mnist-{binarize}", config=config, search={"trials": 2}), data_dir=data_dir)
    assert result.best is not None
    assert result.metric == ("val/elbo" if binarize == "dynamic" else "val/elbo_cal")
    assert (data_dir / "prepared" / "mnist" / "train.npy").exists()


def test_small_arrays_are_searched_with_a_small_batch(workplace):
    np.save(workplace / "small.npy", np.random.default_rng(0).random((60, 6)))
    plan = tuner.plan(spec("small", config={"data": {"name": "small.npy"}, "batch_size": 16, "epochs": 3}))
    assert plan.default.batch_size == 16


def test_the_sweeps_seed_is_every_trials(workplace):
    seeded = {"search": {"trials": 2, "seed": 7}}
    assert tuner.plan(spec("seven", **seeded)).default.seed == 7
    assert tuner.plan(spec("three", config={"seed": 3}, **seeded)).default.seed == 3


def test_validation_values_count_for_the_likelihood(workplace):
    bits = np.random.default_rng(0).integers(0, 2, (200, 6))
    np.savez(workplace / "late.npz", x_train=bits, x_val=5 * bits[:20])
    config = {"data": {"name": "late.npz"}, "batch_size": 16}
    assert tuner.plan(spec("late", config=config)).default.data.likelihood == "gaussian"


def test_a_sweep_runs_in_a_thread(workplace):
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(tuner.sweep, spec("threaded", space="lr", search={"trials": 1})).result()
    assert result.best is not None


def test_an_interrupt_in_python_interrupts_and_the_sweep_goes_on(workplace):
    """The exception is a KeyboardInterrupt, which no `except Exception` of a script takes."""
    journal = workplace / "sweeps" / "stopped" / "journal.jsonl"

    def interrupt():
        while not (journal.exists() and journal.read_bytes().count(b'"report"') > 2):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    long = spec("stopped", space="lr", config={"epochs": 60}, search={"trials": 2}, scheduler={"kind": "none"})
    threading.Thread(target=interrupt).start()
    with pytest.raises(
        tuner.StoppedError, match=r"^Stopped by SIGINT; what was finished of stopped is kept$"
    ) as stopped:
        tuner.sweep(long)
    wait_for_free_cores(2)
    result = stopped.value.result
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert (result.finished, result.exit_code, result.unsent) == ("interrupted", 130, 0)
    assert result.epochs == sum(event["event"] == "report" for event in read_journal(journal))
    assert tuner.resume("stopped").stop_reasons == {"completed": 2}


def test_a_cluster_measures_kappa_min_as_a_process_here_does_with_the_cores_of_a_trial(workplace):
    config = {"model": {"kind": "mlp", "latent_dim": 2, "hidden": [8]}, "epochs": 3}
    plan = tuner.plan(spec("reach", space="geco", config=config))
    run = json.dumps(plain(reach_config(plan.biggest)))
    request = {"config": run, "data_dir": str(plan.data_dir), "working_dir": str(workplace)}
    wait_for_free_cores(2)
    epochs = kappa_min.epochs_on_cluster(request, 3, cpus=1.5, gpus=0)
    first = next(epochs)
    wait_for_free_cores(0.5)
    assert [first, *epochs] == list(kappa_min.epochs_here(request))
    wait_for_free_cores(2)


ONCE = """
from pathlib import Path

import ray
import torch
from NETS import Net

def make(shape, latent_dim):
    mark = Path(__file__).with_name("mark")
    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() and not mark.exists():
        mark.touch()
        raise torch.OutOfMemoryError("CUDA out of memory")
    return Net(shape, latent_dim)
"""


def test_what_waits_for_a_node_that_is_gone_runs_on_another(workplace, nets, monkeypatch):
    (workplace / "once.py").write_text(ONCE.replace("NETS", nets))
    seen = [64.0]  # of the node that is there as the trial is handed out
    monkeypatch.setattr(search_loop, "cluster_now", lambda: Capacity((Node(seen.pop() if seen else 2.0),)))
    monkeypatch.setattr(exclusive_trials, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(exclusive_trials, "WAIT_SECONDS", 1.0)
    config = {"model": {"kind": "once:make"}, "epochs": 2}
    result = tuner.sweep(spec("waits", space="lr", config=config, search={"trials": 1}))
    assert (result.stop_reasons, seen) == ({"completed": 1}, [])
    events = read_journal(workplace / "sweeps" / "waits" / "journal.jsonl")
    assert [event["event"] for event in events] == [
        "header", "ask", "failure", "warning", "report", "report", "finish",
    ]  # fmt: skip
    assert "no node of 64 CPU, on which it was to run alone, came within" in events[3]["text"]


def test_several_metrics_end_in_their_pareto_set(workplace):
    search = {"trials": 6, "sampler": "nsga2", "metric": "val/mse,val/kl"}
    result = tuner.sweep(spec("front", space="geco+lr", config={"epochs": 2}, search=search))
    assert result.stop_reasons == {"completed": 6}
    assert result.best is result.ranked[0]
    points = [(trial.metrics["val/mse"], trial.metrics["val/kl"]) for trial in result.pareto]
    assert points == sorted(points)
    assert [kl for _, kl in points] == sorted((kl for _, kl in points), reverse=True)
    document = result.document()
    assert [trial["trial"] for trial in document["pareto"]] == [trial.trial for trial in result.pareto]
    assert document["pareto"][0] == document["best"]


def test_a_grid_ends_with_its_last_point_and_tells_the_next_sweep(workplace):
    grid = {"space": "batch-size", "config": {"epochs": 2, "lr": {"warmup": 0.1}}}
    result = tuner.sweep(spec("grid", **grid, search={"trials": 20, "sampler": "grid"}, scheduler={"kind": "none"}))
    assert result.stop_reasons == {"completed": 10}, "at the base size the three rules are one"
    wider = {**grid, "space": {"use": ["batch-size"], "batch_size": {"choice": [32, 64, 128, 256, 512]}}}
    tuner.sweep(spec("next", **wider, search={"trials": 1, "warm_start": ["grid"]}))
    journal = read_journal(workplace / "sweeps" / "next" / "journal.jsonl")
    assert [event["event"] for event in journal[:12]] == ["header", *["prior"] * 10, "ask"]
    values = {prior.source_trial: prior.values for prior in fold(journal).priors}
    assert values == {trial.trial: {result.metric: trial.metrics[result.metric]} for trial in result.ranked}
