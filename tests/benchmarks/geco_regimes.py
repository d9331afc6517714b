"""In which regimes GECO ends `ok`: budgets, batches, optimisers, schedules and data, each at three κ.

    python tests/benchmarks/geco_regimes.py DATA_DIR RESULTS.jsonl [SEED …]

First κ_min of each setting is measured, as the RMS error on training data of a run at β = 1e-4. κ is then 1.05·κ_min,
.6·κ_max (or 1.05·κ_min where that is more), and .8·κ_max; a setting whose κ_min is above .8/1.05·κ_max can meet none.
Seeds after the first train at the smallest κ alone, from 1,480 updates on. Results are written as they come; the same
command goes on, and ends with the table.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.objectives import updates_to_settle
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.values import steps_per_epoch

SCALING = {"base_batch_size": 32}
LR = {"kind": "constant", "base": 3e-3, **SCALING}
DIGITS = {
    "data": {"name": "digits"},
    "model": {"latent_dim": 8, "hidden": [128]},
    "lr": LR,
    "batch_size": 32,
    "device": "cpu",
    "threads": 1,
}
CYCLES = {"base": 5e-4, "max": 5e-3, **SCALING}
REGIMES = {
    **{f"batch {size}": {"batch_size": size} for size in (32, 128, 8, 4)},
    "sgd": {"optimizer": {"kind": "sgd"}, "lr": {**LR, "base": 1e-2}},
    "clr": {"lr": {"kind": "clr", **CYCLES}},
    "one-cycle": {"lr": {"kind": "one-cycle", "max": 5e-3, **SCALING}},
    "sparse table": {"data": {"name": "sparse.npz"}},
    "latent 32": {"model": {"latent_dim": 32, "hidden": [128]}},
    "unit / 20": {"data": {"name": "small.npz"}},
}
UPDATES = (1480, 740, 400, 3000, 200)
SHORT = ("batch 4", "batch 8", "batch 32", "batch 128")  # the others have no budget below 740


def write_arrays(folder: Path) -> None:
    """A table of 100 mostly empty columns made of 12 rare causes, and the digits in a unit 20 times as large."""
    draw = np.random.default_rng(0)
    loads = draw.normal(size=(12, 100)) * (draw.random((12, 100)) < 0.15)
    causes = draw.exponential(size=(1797, 12)) * (draw.random((1797, 12)) < 0.15)
    table = np.maximum(causes @ loads, 0) * (draw.random((1797, 100)) < 0.9)
    np.savez(folder / "sparse.npz", x=(0.25 * table / table.std()).astype(np.float32))
    np.savez(folder / "small.npz", x=(load_digits().images / 16 / 20).astype(np.float32))


def tree_of(regime: str, folder: Path) -> dict[str, object]:
    tree = {**DIGITS, **REGIMES[regime]}
    name = tree["data"]["name"]
    return {**tree, "data": {"name": str(folder / name) if name.endswith(".npz") else name}}


def trained(tree: dict[str, object], updates: int, root: Path) -> tuple[str, dict[str, float], float, int]:
    """Outcome, last metrics, κ_max and the updates that were made: whole epochs."""
    config = parse_config(tree)
    facts = data_facts(config.data, root)
    per_epoch = steps_per_epoch(facts.n_train, config.batch_size)
    epochs = max(1, round(updates / per_epoch))
    config = parse_config({**tree, "epochs": epochs, "metrics": {"every": epochs}})
    config = resolve(config, facts)
    trainer = Trainer(config, load(config.data, root, torch.device("cpu")))
    for _ in range(epochs - 1):
        for _ in trainer.steps():
            pass
    report = trainer.train_epoch()
    outcome = "diverged" if report.diverged else report.outcome
    return outcome, report.metrics, facts.kappa_max["re"], epochs * per_epoch


def kappas(least: float, most: float) -> list[float]:
    low, high = 1.05 * least, 0.8 * most
    if low > high:
        return []
    auto = min(max(0.6 * most, low), high)
    return sorted({low, auto, high})


def run(root: Path, results: Path, seeds: list[int]) -> None:
    """Every setting that the results do not have yet."""
    done = {(row["regime"], row["asked"]) for row in read(results) if row.get("last")}
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder))
        for updates, regime in itertools.product(UPDATES, REGIMES):
            if (regime, updates) not in done and (regime in SHORT or updates >= 740):
                rows = measured(regime, updates, tree_of(regime, Path(folder)), root, seeds)
                with results.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)


def measured(
    regime: str, updates: int, tree: dict[str, object], root: Path, seeds: list[int]
) -> list[dict[str, object]]:
    _, metrics, most, made = trained({**tree, "beta": {"end": 1e-4}}, updates, root)
    least = math.sqrt(metrics["train_eval/mse"])
    setting = {"regime": regime, "asked": updates, "updates": made, "kappa_min": least, "kappa_max": most}
    setting["needed"] = updates_to_settle(parse_config(tree))
    rows = [setting]
    for kappa, seed in trials(kappas(least, most), seeds if updates >= 1480 else seeds[:1]):
        geco = {**tree, "objective": {"kind": "geco", "kappa": kappa}, "seed": seed}
        outcome, found, _, _ = trained(geco, updates, root)
        kept = {"kl": found["train/kl"], "lambda": found["geco/lambda"], "own": found["train_eval/mse"] / kappa**2 - 1}
        kept |= {name: found.get(f"geco/{name}") for name in ("violation", "violation_se")}
        rows.append({**setting, "kappa": kappa, "seed": seed, "outcome": outcome, **kept})
    rows[-1]["last"] = True
    return rows


def trials(found: list[float], seeds: list[int]) -> list[tuple[float, int]]:
    """The smallest κ, which is the hardest to meet, with every seed, the others with the first."""
    return [(kappa, seed) for i, kappa in enumerate(found) for seed in (seeds if i == 0 else seeds[:1])]


def read(results: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(results: Path) -> str:
    """Markdown: a row a setting, and the shares of `ok` at and below the stated budget."""
    settings: dict[tuple[str, int], list[dict[str, object]]] = defaultdict(list)
    for row in read(results):
        rows = settings[row["regime"], row["updates"]]
        if not rows or rows[0]["asked"] == row["asked"]:  # budgets of one epoch are the same
            rows.append(row)
    lines = [
        "| regime | updates | stated | κ_min / κ_max | κ / κ_min: outcome, violation, KL |",
        "|---|---|---|---|---|",
    ]
    shares: dict[bool, list[str]] = {True: [], False: []}
    for (regime, _), rows in sorted(settings.items(), key=lambda item: (list(REGIMES).index(item[0][0]), item[0][1])):
        first, runs = rows[0], rows[1:]
        updates, enough = first["updates"], first["updates"] >= first["needed"]
        shares[enough] += [row["outcome"] for row in runs]
        cells = [
            f"{ratio}: {', '.join(map(_ending, of_one))}"
            for ratio, of_one in itertools.groupby(runs, lambda row: f"{row['kappa'] / row['kappa_min']:.2f}")
        ]
        share = first["kappa_min"] / first["kappa_max"]
        stated = "enough" if enough else "too few"
        lines.append(f"| {regime} | {updates} | {stated} | {share:.2f} | {'; '.join(cells) or 'no κ can be met'} |")
    for enough, outcomes in shares.items():
        ok = outcomes.count("ok")
        lines.append(f"\n{'At' if enough else 'Below'} the stated budget {ok} of {len(outcomes)} runs ended ok.")
    return "\n".join(lines)


def _ending(row: dict[str, object]) -> str:
    return f"{row['outcome']} {100 * row['violation']:+.1f} % {row['kl']:.1f}"


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), [int(seed) for seed in sys.argv[3:]] or [0])
    print(table(Path(sys.argv[2])))
