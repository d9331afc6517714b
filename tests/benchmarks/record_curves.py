"""Record the learning curves that `replay_pruning.py` prunes: random trials of a space, trained to their end.

    python tests/benchmarks/record_curves.py SPACE [TRIALS] > tests/benchmarks/curves/SPACE.json

Digits, by their defaults; the metric is val/elbo_cal after each epoch. 45 trials take two to three minutes of CPU.
"""

from __future__ import annotations

import json
import sys

import optuna
import torch

from search_spaces.catalogue import parse_space
from search_spaces.compile import suggest_trial
from search_spaces.space import assemble
from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.data.readers import data_dir
from trainables.resolve import resolve
from trainables.training.trainer import Trainer

METRIC = "val/elbo_cal"
DATA = {"data": {"name": "digits"}}


def recorded(name: str, trials: int) -> dict[str, object]:
    """What is varied by each trial, and its metric by epoch; null once it has diverged."""
    root = data_dir(None)
    facts = data_facts(parse_config(DATA).data, root)
    space = parse_space(name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for number in range(trials):
        assignment = suggest_trial(study.ask(), space)
        config = resolve(parse_config(assemble(DATA, space, assignment)), facts)
        trainer = Trainer(config, load(config.data, root, torch.device("cpu")))
        curve: list[float | None] = []
        for _ in range(config.epochs):
            report = trainer.train_epoch()
            curve.append(None if report.diverged else round(report.metrics[METRIC], 3))
            if report.diverged:
                break
        found.append({"assignment": assignment, "curve": curve})
        print(name, number, curve[-1], file=sys.stderr)
    return {"space": space.to_mapping(), "n_train": facts.n_train, "metric": METRIC, "trials": found}


if __name__ == "__main__":
    print(json.dumps(recorded(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 45)))
