"""Configurations trained side by side: one step for all of them, some five times as cheap as one after the other.

What the studies in this folder share. Members differ in numbers (learning rate, β, κ, free bits) and agree in shapes.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from trainables.config.paths import parse_config
from trainables.data.dataset import DataFacts, Dataset, data_facts, load
from trainables.resolve import resolve
from trainables.training.members import train_together
from trainables.training.report import Report
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
    last = [train_together(trainers) for _ in range(trainers[0].config.epochs)][-1]
    return [replace(report, metrics={}) if report.diverged else report for report in last]
