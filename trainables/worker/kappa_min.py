"""κ_min: how near a model comes to its training data in a run at β → 0, the least that GECO can ask of it.

`python -m trainables.worker.kappa_min REQUEST` takes it as JSON, prints a line of JSON an epoch, and ends with its
standard input.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from threading import Thread

import torch

from trainables.config import TrialConfig
from trainables.config.paths import parse_config, plain
from trainables.data.dataset import load
from trainables.data.readers import on_this_node
from trainables.models.user import make_importable
from trainables.training.trainer import Trainer
from trainables.values import steps_per_epoch

NO_BETA = 1e-3
MOST_STEPS = 2_000

Reach = dict[str, float]
"""By constraint, the error per element of training examples: the RMS error (`re`), under bits the nats (`nll`)."""


def reach_config(config: TrialConfig) -> TrialConfig:
    """The run that measures how near a resolved configuration's model comes: as the trial, but at β = 0.001.

    It has the trial's epochs, of many updates only as many as take 2,000. A smaller β changes the error by under 1 %.
    """
    assert config.data.n_train is not None
    epochs = min(config.epochs, math.ceil(MOST_STEPS / steps_per_epoch(config.data.n_train, config.batch_size)))
    tree = plain(config)
    return parse_config(
        {
            **tree,
            "model": {**tree["model"], "learn_sigma": False},
            "objective": {"kind": "elbo"},
            "beta": {"kind": "constant", "end": NO_BETA},
            "epochs": epochs,
            "metrics": {},
        }
    )


def next_epoch(trainer: Trainer) -> Reach:
    """Train an epoch more; the error then, not finite where the run diverged."""
    for _ in trainer.steps():
        pass
    found, n = trainer.evaluation("train_eval"), trainer.n_elements
    errors = {"re": math.sqrt(float(found.sse.mean()) / n), "nll": float(found.recon_nll.mean()) / n}
    return {name: error for name, error in errors.items() if name in trainer.program.likelihood.constraints}


def least(epochs: Iterable[Reach]) -> Reach:
    """The least errors of a run's epochs; empty where it diverges."""
    found: Reach = {}
    for reach in epochs:
        if not all(map(math.isfinite, reach.values())):
            return {}
        found = {constraint: min(value, found.get(constraint, value)) for constraint, value in reach.items()}
    return found


class ReachRun:
    """A run that was asked for by another process, or from another node.

    request: `config` (of the run, as JSON), `data_dir`, and the asking `working_dir`, in which a user's model and data
    are found.
    """

    def __init__(self, request: Mapping[str, str]) -> None:
        working_dir = Path(request["working_dir"])
        make_importable(working_dir)
        config = parse_config(json.loads(request["config"]))
        name = on_this_node(config.data.name, working_dir, Path.cwd())
        data = config.data.model_copy(update={"name": name})
        self._trainer = Trainer(config, load(data, Path(request["data_dir"]), torch.device(config.device)))

    def epoch(self) -> Reach:
        """`next_epoch` of it."""
        return next_epoch(self._trainer)


def _end_with_parent() -> None:
    """Whoever asks keeps the pipe open as long as he lives. Python's own reader would hold a lock at the exit."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    request = json.loads(sys.argv[1])
    Thread(target=_end_with_parent, daemon=True).start()
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        run = ReachRun(request)
        for _ in range(json.loads(request["config"])["epochs"]):
            print(json.dumps(run.epoch()), file=answers, flush=True)


if __name__ == "__main__":
    main()
