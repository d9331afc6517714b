"""Where between its reach and the mean image GECO's κ is best, and how long a run has to be to know the reach.

    python tests/benchmarks/kappa_reach.py RESULTS.jsonl [SET…]

Each set is trained at β → 0 (the curve of the training error over epochs, at several budgets) and by GECO at κ from the
reach κ_min to what the mean image reaches, κ_max. A line of JSON is written as soon as it is known; the tables in
docs/kappa-reach.md are printed at the end. VAE_TUNER_DATA names the folder of MNIST and FashionMNIST.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

from trainables.config.paths import parse_config, unflatten
from trainables.data.dataset import DataFacts, Dataset, data_facts, load
from trainables.data.readers import data_dir
from trainables.resolve import resolve
from trainables.training.trainer import Trainer

BETAS = (1e-4, 1e-3, 1e-2, 1e-1)
NO_BETA = 1e-3
PARTS = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
MULTIPLES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.6, 2.0)
SMALL = {"batch_size": 32, "lr.base_batch_size": 32, "lr.base": 2e-3, "model.latent_dim": 8, "model.hidden": [128]}
LARGE = {"data.n_train": 10_000, "epochs": 20, "lr.base": 2e-3}

SETS: dict[str, tuple[int, dict[str, Any]]] = {  # seeds, and the configuration
    "digits": (2, {"data.name": "digits", "epochs": 40}),
    "digits-bits": (2, {"data.name": "digits", "data.binarize": "dynamic", "epochs": 40}),
    "faces": (2, {"data.name": "faces.npz", "epochs": 40, **SMALL}),
    "breast-cancer": (2, {"data.name": "breast-cancer.npz", "epochs": 100, **SMALL}),
    "factors": (1, {"data.name": "factors.npz", "epochs": 20, **SMALL}),
    "mnist": (1, {"data.name": "mnist", **LARGE}),
    "fashion-mnist": (2, {"data.name": "fashion-mnist", **LARGE}),
}

LARGE_SETS = ("mnist", "fashion-mnist")


def write_arrays(folder: Path) -> None:
    """The sets that are no built-in ones.

    faces: synthetic, in place of Frey's 1,965 images of 20×28: an oval head that moves, turns its gaze and opens its
    mouth before a lit ground. breast-cancer: scikit-learn's table, standardised. factors: synthetic, 6,000 rows of 40
    columns by 6 factors, with noise of standard deviation .5 in columns of variance 1.
    """
    draw = np.random.default_rng(0)
    np.savez(folder / "faces.npz", x=faces(draw, 1_965))
    table = load_breast_cancer().data
    np.savez(folder / "breast-cancer.npz", x=((table - table.mean(0)) / table.std(0))[draw.permutation(len(table))])
    loadings = draw.normal(size=(6, 40))
    loadings *= math.sqrt(0.75) / np.linalg.norm(loadings, axis=0)
    np.savez(
        folder / "factors.npz", x=np.tanh(draw.normal(size=(6_000, 6))) @ loadings + 0.5 * draw.normal(size=(6_000, 40))
    )


def faces(draw: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    """[N, 28, 20] in [0, 1], smooth in six factors, with a little noise as a camera has."""
    y, x = np.mgrid[-1.4:1.4:28j, -1:1:20j]
    dx, dy, gaze, mouth, light, frown = np.clip(draw.normal(size=(6, n, 1, 1)), -2, 2)
    u, v = x - 0.12 * dx, y - 0.12 * dy
    head = 1 / (1 + np.exp(12 * ((u / 0.75) ** 2 + (v / 1.15) ** 2 - 1)))
    image = 0.25 + head * (0.45 + 0.12 * light * u + 0.08 * light)
    for side in (-0.32, 0.32):
        image -= 0.35 * head * np.exp(-(((u - side - 0.05 * gaze) / 0.13) ** 2) - ((v + 0.3) / 0.09) ** 2)
        image -= 0.2 * head * np.exp(-(((u - side) / 0.2) ** 2) - ((v + 0.52 + 0.05 * frown) / 0.05) ** 2)
    image -= 0.35 * head * np.exp(-((u / 0.28) ** 2) - ((v - 0.5) / (0.08 + 0.04 * (mouth + 2))) ** 2)
    return np.clip(image + draw.normal(scale=0.02, size=image.shape), 0, 1).astype(np.float32)


class Bench:
    """A set ready to train."""

    def __init__(self, settings: dict[str, Any], arrays: Path) -> None:
        name = settings["data.name"]
        self.base = {**settings, "data.name": str(arrays / name) if name.endswith(".npz") else name}
        data = parse_config(unflatten(self.base)).data
        self.facts: DataFacts = data_facts(data, data_dir(None))
        self.constraint = "nll" if data.binarize == "dynamic" else "re"
        self.dataset: Dataset = load(self.config().data, data_dir(None), torch.device("cpu"))

    def config(self, **paths: Any) -> Any:
        return resolve(parse_config(unflatten({**self.base, **paths})), self.facts)

    def trainer(self, **paths: Any) -> Trainer:
        return Trainer(self.config(**paths), self.dataset)

    def error(self, trainer: Trainer) -> float:
        """Of the first training examples, as κ counts it."""
        found = trainer.evaluation("train_eval")
        if self.constraint == "re":
            return math.sqrt(float(found.sse.mean()) / self.facts.n_elements)
        return float(found.recon_nll.mean()) / self.facts.n_elements


def at_no_beta(bench: Bench, beta: float) -> list[float]:
    """The training error after each epoch of a trial's budget."""
    trainer = bench.trainer(**{"beta.end": beta})
    errors = []
    for _ in range(trainer.config.epochs):
        for _ in trainer.steps():
            pass
        errors.append(bench.error(trainer))
    return errors


def by_geco(bench: Bench, kappa: float, seed: int) -> dict[str, Any]:
    """How a run at κ ends."""
    trainer = bench.trainer(**{"objective.kind": "geco", "objective.kappa": kappa, "seed": seed})
    for _ in range(trainer.config.epochs - 1):
        for _ in trainer.steps():
            pass
    report = trainer.train_epoch()
    names = ("val/elbo", "val/elbo_cal", "val/kl", "val/mse", "val/recon_nll", "geco/lambda", "geco/constraint")
    values = {name: report.metrics.get(name) for name in names}
    return {"outcome": report.outcome, "train_error": bench.error(trainer), **values}


def study(name: str, arrays: Path) -> Iterator[dict[str, Any]]:
    seeds, settings = SETS[name]
    bench = Bench(settings, arrays)
    full = settings["epochs"]
    kappa_max = bench.facts.kappa_max[bench.constraint]
    yield {"set": name, "what": "facts", "kappa_max": kappa_max, "epochs": full, "n_train": bench.facts.n_train}
    reach = {beta: at_no_beta(bench, beta) for beta in ((NO_BETA,) if name in LARGE_SETS else BETAS)}
    for beta, errors in reach.items():
        yield {"set": name, "what": "reach", "beta": beta, "errors": errors}
    kappa_min = reach[NO_BETA][-1]
    for multiple in MULTIPLES:
        if name in LARGE_SETS and multiple == 2.0:
            continue
        kappa = multiple * kappa_min
        for seed in range(seeds):
            if kappa < kappa_max:
                yield {"set": name, "what": "geco", "kappa": kappa, "seed": seed, **by_geco(bench, kappa, seed)}


def tables(lines: list[dict[str, Any]]) -> None:
    """What docs/kappa-reach.md shows."""
    names = list(dict.fromkeys(line["set"] for line in lines))
    print("| set | κ_max | κ_min | κ_min/κ_max | error/κ_min after 1/8, 1/4, 1/2, 3/4 of the budget | at other β |")
    print("|---|---|---|---|---|---|")
    for name in names:
        facts, reach = _of(name, "facts", lines)[0], {line["beta"]: line for line in _of(name, "reach", lines)}
        errors = reach[NO_BETA]["errors"]
        early = ", ".join(f"{errors[max(1, round(part * len(errors))) - 1] / errors[-1]:.2f}" for part in PARTS)
        others = [f"{beta:g}: {reach[beta]['errors'][-1] / errors[-1]:.3f}" for beta in reach if beta != NO_BETA]
        limit = facts["kappa_max"]
        print(f"| {name} | {limit:.4g} | {errors[-1]:.4g} | {errors[-1] / limit:.2f} | {early} | {', '.join(others)} |")
    print("\n| set | " + " | ".join(f"{multiple:g}" for multiple in MULTIPLES) + " |")
    print("|---" * (1 + len(MULTIPLES)) + "|")
    for name in names:
        kappa_min = next(line for line in _of(name, "reach", lines) if line["beta"] == NO_BETA)["errors"][-1]
        runs = {m: [r for r in _of(name, "geco", lines) if math.isclose(r["kappa"], m * kappa_min)] for m in MULTIPLES}
        print(f"| {name} | {' | '.join(map(_cell, runs.values()))} |")


def _of(name: str, what: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if (line["set"], line["what"]) == (name, what)]


def _cell(runs: list[dict[str, Any]]) -> str:
    """The mean of the metric over seeds, and how many of them were `ok`."""
    if not runs:
        return "–"
    values = [run["val/elbo_cal"] if run["val/elbo_cal"] is not None else run["val/elbo"] for run in runs]
    return f"{sum(values) / len(values):.1f} ({sum(run['outcome'] == 'ok' for run in runs)}/{len(runs)})"


def main(out: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder, out.open("a", encoding="utf-8") as lines:
        write_arrays(Path(folder))
        for name in names or SETS:
            for line in study(name, Path(folder)):
                print(json.dumps(line), file=lines, flush=True)
    tables([json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
