"""Q2 of the comparison on equal footing: the best of n trials of each method, each over its own whole range.

    python tests/benchmarks/quality_pools.py RESULTS.jsonl [METHOD…]       trains what is missing, and prints the table

10,000 MNIST images, 20 epochs, the `mlp`, learning rate 2e-3 for all. A method's main dial is drawn twice in each of 5
equal slices of its range (of its logarithm), its other dial at random; so the range shows whether the best lies inside.
Selected by val/elbo_cal, reported as test/elbo_cal. VAE_TUNER_DATA names the folder of MNIST.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search_spaces.catalogue import parse_space
from search_spaces.domains import Choice
from search_spaces.geco import in_numbers
from search_spaces.space import Space
from trainables.config.paths import parse_config, unflatten
from trainables.data.dataset import DataFacts, Dataset, data_facts, load
from trainables.data.readers import data_dir
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.worker.kappa_min import least, next_epoch, reach_config
from tuner.comparison.methods import LR, free_paths, pool_space
from tuner.comparison.request import Request, design_of
from tuner.comparison.statistics import expected_best

SLICES = (2, 0, 4, 1, 3)
ROUNDS = 2
METHODS = ("beta", "linear", "cyclical", "free-bits", "geco")
REQUEST = Request("quality-pools", "mnist", epochs=20, settings={"data.n_train": 10_000, "lr.base": 2e-3})
METRICS = ("val/elbo_cal", "test/elbo_cal", "val/mse", "val/kl")


def drawn(space: Space, dial: str, number: int, draw: np.random.Generator) -> dict[str, Any]:
    """The dial in its slice, the rest at random."""
    found: dict[str, Any] = {}
    for path, domain in space.dimensions.items():
        share = (SLICES[number % len(SLICES)] + draw.random()) / len(SLICES) if path == dial else draw.random()
        if isinstance(domain, Choice):
            found[path] = domain.options[int(share * len(domain.options))]
        elif domain.log:
            found[path] = math.exp(math.log(domain.low) + share * math.log(domain.high / domain.low))
        else:
            found[path] = domain.low + share * (domain.high - domain.low)
    return {**space.fixed, **found}


def trained(tree: dict[str, Any], dataset: Dataset, facts: DataFacts) -> dict[str, Any]:
    trainer = Trainer(resolve(parse_config(unflatten(tree)), facts), dataset)
    for _ in range(trainer.config.epochs - 1):
        for _ in trainer.steps():
            pass
    report = trainer.train_epoch()
    metrics = {**report.metrics, **trainer.test_metrics()}
    return {"outcome": report.outcome, "diverged": report.diverged, **{name: metrics.get(name) for name in METRICS}}


def rows(methods: list[str], known: set[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    root = data_dir(None)
    design, config = design_of(REQUEST, root)
    facts, dataset = data_facts(config.data, root), load(config.data, root, torch.device("cpu"))
    reach: dict[str, float] = {}
    if "geco" in methods:
        trainer = Trainer(reach_config(config), dataset)
        reach = least(next_epoch(trainer) for _ in range(trainer.config.epochs))
    scale = design.reaching(reach).scale
    for number in range(ROUNDS * len(SLICES)):
        for method in methods:
            if (method, number) in known:
                continue
            space = in_numbers(
                parse_space(pool_space(method, scale, design.rates)), "re", scale.kappa_max, scale.kappa_min
            )
            space = space.extended("", {LR: 2e-3}, {})
            dial = free_paths(method)[0]
            domain = space.dimensions[dial]
            assignment = drawn(space, dial, number, np.random.default_rng([number, METHODS.index(method)]))
            assert not isinstance(domain, Choice)
            found = trained({**design.base, **assignment}, dataset, facts)
            own = {path: assignment[path] for path in free_paths(method)}
            yield {"method": method, "number": number, "dials": own, "range": [domain.low, domain.high], **found}


def table(lines: list[dict[str, Any]]) -> None:
    print("| method | dial | range | best by validation at | its neighbours | best of 3 | best of all |")
    print("|---|---|---|---|---|---|---|")
    for method in METHODS:
        own = [line for line in lines if line["method"] == method]
        if not own:
            continue
        dial = free_paths(method)[0]
        own.sort(key=lambda line: line["dials"][dial])
        score = [-math.inf if line["diverged"] else line["val/elbo_cal"] for line in own]
        best = int(np.argmax(score))
        beside = [
            f"{own[i]['dials'][dial]:.3g}: {own[i]['test/elbo_cal']:.1f}"
            for i in (best - 1, best + 1)
            if 0 <= i < len(own)
        ]
        test = [line["test/elbo_cal"] for line in own]
        low, high = own[0]["range"]
        print(
            f"| {method} | {dial} | {low:.3g} to {high:.3g} | {own[best]['dials'][dial]:.3g} | {'; '.join(beside)} | "
            f"{expected_best(score, test, 3)[-1].mean:.1f} | {test[best]:.1f} |"
        )


def main(out: Path, methods: list[str]) -> None:
    torch.set_num_threads(1)
    before = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    lines = [json.loads(line) for line in before]
    with out.open("a", encoding="utf-8") as file:
        for line in rows(methods, {(line["method"], line["number"]) for line in lines}):
            print(json.dumps(line), file=file, flush=True)
            lines.append(line)
    table(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(METHODS))
