"""Configurations trained side by side: one step for all of them, some five times as cheap as one after the other.

What the studies in this folder share. Members differ in what is a tensor of the step (learning rate, β, κ, free bits)
and agree in all else: model, optimiser, kind of objective, batch size, epochs, seed.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from trainables.config.paths import parse_config
from trainables.data.dataset import DataFacts, Dataset, data_facts, load
from trainables.resolve import resolve
from trainables.training.report import Report
from trainables.training.step import members_step
from trainables.training.trainer import Trainer


def run_study(measure: Callable[[str, Path], None], table: Callable[[Path], str], parts: Sequence[str]) -> None:
    """`FOLDER [PART…]` measures the parts, all by default, into a folder; `--table FOLDER` prints what is there."""
    torch.set_num_threads(1)
    if sys.argv[1] == "--table":
        print(table(Path(sys.argv[2])))
        return
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    for part in sys.argv[2:] or parts:
        measure(part, into)


def data_of(tree: dict, root: Path) -> tuple[DataFacts, Dataset]:
    """The facts and the examples of a configuration's data."""
    config = parse_config(tree).data
    return data_facts(config, root), load(config, root, torch.device("cpu"))


def train(trees: Sequence[dict], facts: DataFacts, dataset: Dataset) -> list[Report]:
    """The last report of each configuration; its metrics are empty where the member diverged."""
    trainers = [Trainer(resolve(parse_config(tree), facts, threads=1), dataset) for tree in trees]
    _train(trainers)
    return [_last_report(trainer) for trainer in trainers]


def _train(trainers: Sequence[Trainer]) -> None:
    first, total = trainers[0], trainers[0].total_steps
    params, state = _stacked([t.params for t in trainers]), _stacked([t.state for t in trainers])
    optimizer = {moment: _stacked([t.optimizer[moment] for t in trainers]) for moment in first.optimizer}
    constants = _stacked([t._constants for t in trainers])
    for epoch in range(first.config.epochs):
        first.epoch = epoch
        begin = epoch * first.steps_per_epoch
        steps = np.arange(begin, begin + first.steps_per_epoch, dtype=np.float64)
        curves = _stacked([{k: torch.stack(v) for k, v in t._scheduled(steps).items()} for t in trainers])
        rates = [t.config.lr.at(steps, total, t.config.batch_size) for t in trainers]
        curves["lr"] = torch.tensor(np.array(rates), dtype=torch.float32)
        size = first.config.batch_size
        order = torch.split(first._order()[: first.steps_per_epoch * size], size)
        batches = first.dataset.train_batches(order, first.config.seed, begin)
        for i, (batch, noise) in enumerate(zip(batches, first._noise(begin), strict=True)):
            hyper = constants | {name: curve[:, i] for name, curve in curves.items()}
            shared = [x.expand(len(trainers), *x.shape) for x in (batch, noise)]
            params, _, optimizer, state, _ = members_step(first.program, params, {}, optimizer, state, *shared, hyper)
    for member, trainer in enumerate(trainers):
        trainer.epoch = trainer.config.epochs
        trainer.params = {name: value[member].detach() for name, value in params.items()}
        trainer.state = {name: value[member].detach() for name, value in state.items()}


def _last_report(trainer: Trainer) -> Report:
    if not all(value.isfinite().all() for value in trainer.params.values()):
        return Report(trainer.epoch, {}, True, None)
    val, train_eval = trainer.evaluation("val"), trainer.evaluation("train_eval")
    metrics = trainer._evaluate(val, train_eval)
    return Report(trainer.epoch, metrics, False, trainer._ending(val, train_eval).outcome)


def _stacked(trees: Sequence[dict]) -> dict:
    return {name: torch.stack([tree[name].detach() for tree in trees]) for name in trees[0]}
