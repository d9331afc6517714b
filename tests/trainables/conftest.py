"""Trials on arrays in memory."""

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config
from trainables.data.dataset import DataFacts, Dataset
from trainables.resolve import resolve
from trainables.training.trainer import Trainer


def facts_of(dataset):
    x = dataset.floats(dataset.train)
    kappa_max = {"re": float(x.var(0, correction=0).mean().sqrt()), "nll": 0.6}
    sizes = (len(dataset.train), len(dataset.val), len(dataset.test))
    return DataFacts(
        dataset.shape, *sizes, float(x.min()), float(x.max()), bool(((x == 0) | (x == 1)).all()), kappa_max
    )


@pytest.fixture
def in_memory():
    """Examples [N, *shape] that are training, validation and test set at once."""

    def build(x, scale=1.0, dynamic=False):
        flat = x.reshape(len(x), -1)
        return Dataset(tuple(x.shape[1:]), flat, flat.clone(), flat.clone(), scale, dynamic)

    return build


@pytest.fixture
def trial():
    """The trainer of a configuration, its `auto` values resolved for a data set in memory."""

    def build(dataset, **tree):
        tree["data"] = {"name": "memory.npy", **tree.get("data", {})}
        config = parse_config({"device": "cpu", "threads": 1, "batch_size": len(dataset.train), **tree})
        return Trainer(resolve(config, facts_of(dataset)), dataset)

    return build


@pytest.fixture
def finish():
    """Train what is left of the budget; the last report."""

    def run(trainer):
        while trainer.epoch < trainer.config.epochs:
            report = trainer.train_epoch()
        return report

    return run


@pytest.fixture
def gaussian():
    """n examples whose sample covariance is exactly diag(eigenvalues), of mean 0."""

    def draw(eigenvalues, n, seed=0):
        noise = np.random.default_rng(seed).normal(size=(n, len(eigenvalues)))
        columns, _ = np.linalg.qr(np.column_stack([np.ones(n), noise]))
        return torch.tensor(columns[:, 1:] * np.sqrt(n * np.asarray(eigenvalues)), dtype=torch.float32)

    return draw
