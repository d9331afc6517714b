"""Speed as ratios within one run: an epoch against a bare loop, a sweep against the stock stack."""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.resolve import resolve
from trainables.training.members import Epoch
from trainables.training.trainer import Trainer

pytestmark = pytest.mark.bench

STOCK = Path(__file__).with_name("stock_sweep.py")


class BareVae(nn.Module):
    def __init__(self, n_elements, hidden, latent_dim):
        super().__init__()
        self.encoder, self.head = nn.Linear(n_elements, hidden), nn.Linear(hidden, 2 * latent_dim)
        self.decoder, self.output = nn.Linear(latent_dim, hidden), nn.Linear(hidden, n_elements)

    def forward(self, x):
        mean, log_variance = self.head(torch.relu(self.encoder(x))).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.output(torch.relu(self.decoder(z))).sigmoid(), mean, log_variance


def bare_epochs(x, config):
    """Epochs of what one writes by hand: a module, a permutation, torch's fused Adam, nothing recorded."""
    model = BareVae(x.shape[1], config.model.hidden[0], config.model.latent_dim)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    weight = 1 / (2 * config.model.sigma**2)
    while True:
        order = torch.randperm(len(x))
        for i in range(len(x) // config.batch_size):
            batch = x[order[i * config.batch_size : (i + 1) * config.batch_size]]
            output, mean, log_variance = model(batch)
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            loss = ((output - batch).square().sum() * weight + kl) / config.batch_size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "goal"), [("mnist", 0.9), ("digits", None)])
def test_an_epoch_against_a_bare_loop(name, goal, threads, request, capsys):
    root = request.getfixturevalue("data_dir" if name == "mnist" else "vae_data_root")
    n_train = 10_000 if name == "mnist" else None
    config = parse_config({"data": {"name": name, "n_train": n_train}, "epochs": 1000})
    config = resolve(config, data_facts(config.data, root), threads=threads)
    dataset = load(config.data, root, torch.device("cpu"))
    trainer = Trainer(config, dataset)
    bare = bare_epochs(dataset.floats(dataset.train.tensor(trainer.device)), config)
    ratios = []
    for i in range(12):
        started = time.perf_counter()
        next(bare)
        bare_s = time.perf_counter() - started
        ours_s = trainer.steps_per_epoch * config.batch_size / trainer.train_epoch().metrics["time/samples_per_s"]
        if i > 1:
            ratios.append(bare_s / ours_s)
    with capsys.disabled():
        spread = f"[{min(ratios):.2f}, {max(ratios):.2f}]"
        print(f"\n{name}, {threads} threads: {statistics.median(ratios):.3f} {spread} of the bare loop's throughput")
    assert goal is None or statistics.median(ratios) >= goal


def step_times(trainer):
    """Seconds of processor time of each train step."""
    while True:
        steps = trainer.steps()
        started = time.process_time()
        for _ in steps:
            yield time.process_time() - started
            started = time.process_time()


def test_the_step_of_many_members_against_a_bare_loop(vae_data_root, capsys):
    """Processor time of a digits step a member, in turn: 1 and 16 members, and a loop written by hand."""
    config = parse_config({"data": {"name": "digits"}, "batch_size": 32, "epochs": 1000})
    config = resolve(config, data_facts(config.data, vae_data_root), threads=1)
    dataset = load(config.data, vae_data_root, torch.device("cpu"))
    bare = bare_epochs(dataset.floats(dataset.train.tensor(torch.device("cpu"))), config)
    groups = {n: [Trainer(config, dataset) for _ in range(n)] for n in (1, 16)}
    found = {name: [] for name in ("bare", *groups)}
    for _ in range(12):
        started = time.process_time()
        next(bare)
        found["bare"].append(time.process_time() - started)
        for n, trainers in groups.items():
            epoch = Epoch(trainers)
            started = time.process_time()
            n_steps = sum(1 for _ in epoch.steps())
            found[n].append((time.process_time() - started) / n)
            epoch.hand_back()
    cost = {name: 1e3 * min(values) / n_steps for name, values in found.items()}
    ratios = {n: cost["bare"] / cost[n] for n in groups}
    with capsys.disabled():
        print(f"\na digits step of batch 32, ms a member: { {n: round(ms, 3) for n, ms in cost.items()} }, {ratios}")
    assert ratios[16] >= 4


@pytest.mark.parametrize("batch_size", [32, 128])
def test_steps_on_the_mapped_file_against_steps_on_a_copy(batch_size, data_dir, capsys):
    """In turn. The copy is what a trial held for itself; the file's pages are shared by all trials of a node."""
    config = parse_config({"data": {"name": "mnist"}, "batch_size": batch_size, "epochs": 1000})
    config = resolve(config, data_facts(config.data, data_dir), threads=1)
    mapped = load(config.data, data_dir, torch.device("cpu"))
    copied = replace(mapped, train=mapped.train.tensor(mapped.device).clone())
    streams = [step_times(Trainer(config, dataset)) for dataset in (copied, mapped)]
    copy_s, file_s = (
        statistics.median(times) for times in zip(*(map(next, streams) for _ in range(1000)), strict=True)
    )
    with capsys.disabled():
        print(f"\nbatches of {batch_size} from the mapped file: {copy_s / file_s:.3f} of a copy's throughput")
    assert copy_s / file_s >= 0.97


def wall(command, folder, environment):
    folder.mkdir()
    started = time.time()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=1800)
    return time.time() - started, started


def parts(folder, seconds, started):
    """Of a sweep's seconds: until the first epoch was reported, until the last was, and until the command ended."""
    (journal,) = folder.glob("sweeps/*/journal.jsonl")
    lines = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    times = [line["t"] for line in lines if line["event"] == "report"]
    found = times[0] - started, times[-1] - times[0], started + seconds - times[-1]
    return dict(zip(("start", "training", "end"), found, strict=True))


RIVALS = {"stock_sweep.py": {64: 18.0, "further": 60.0}, "plain_sweep.py": {16: 1.0, 64: 2.8, "further": 6.0}}


def test_a_sweep_against_what_else_one_would_write(tmp_path, vae_data_root, capsys):
    """Digits trials × 20 epochs at the default concurrency, logged to SQLite, timed from outside.

    Ours is the median of three. Against the stock stack, and against Optuna alone in two processes.
    """
    environment = {**os.environ, "VAE_TUNER_DATA": str(vae_data_root), "RAY_USAGE_STATS_ENABLED": "0"}
    ours = [Path(sys.executable).parent / "vae-tuner", "sweep", "--space", "linear", "--epochs", "20"]
    times, missed = {}, []
    for trials in (16, 64):
        runs = []
        for i in range(3):
            folder = tmp_path / f"ours-{trials}-{i}"
            runs.append((*wall([*ours, "--trials", str(trials)], folder, environment), folder))
        seconds, started, folder = sorted(runs)[1]
        times["ours", trials] = seconds
        with capsys.disabled():
            shares = {name: round(share, 1) for name, share in parts(folder, seconds, started).items()}
            print(f"\n{trials} trials: {seconds:.1f} s, of which {shares}")
        for rival in RIVALS:
            folder = tmp_path / f"{rival}-{trials}"
            command = [sys.executable, STOCK.with_name(rival), str(trials), "20", folder / "out"]
            times[rival, trials] = wall(command, folder, environment)[0]
    for who in ("ours", *RIVALS):
        times[who, "further"] = (times[who, 64] - times[who, 16]) / 48
    for rival, goals in RIVALS.items():
        for what in (16, 64, "further"):
            ratio = times[rival, what] / times["ours", what]
            with capsys.disabled():
                print(f"{rival}, {what}: {times[rival, what]:.2f} s against {times['ours', what]:.2f} s, {ratio:.1f}×")
            if ratio < goals.get(what, 0):
                missed.append(f"{rival}, {what}: {ratio:.1f} of {goals[what]}")
    assert missed == []
