"""How the learning rate should follow the batch size: linearly, by its root, or not at all.

For each optimiser and batch size a grid of constant rates, factors of 2 apart, is trained for equal epochs. The best
rate at a batch of 64 is then taken to 16, 256 and 1024 by each rule, which lands on the grid again (×4, ×2, ×1), and
compared with the best rate there.

    VAE_TUNER_DATA=DIR python tests/benchmarks/batch_scaling.py FOLDER [DATA…]   # writes FOLDER/batch-scaling.jsonl
    python tests/benchmarks/batch_scaling.py --table FOLDER                      # the table in docs/learning-rates.md
"""

import json
import os
from pathlib import Path

import numpy as np
from side_by_side import data_of, run_study, train

BASE_BATCH = 64
BATCHES = (16, 64, 256, 1024)
RULES = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}
RATES = {"adam": 1.25e-4 * 2.0 ** np.arange(10), "sgd": 8e-6 * 2.0 ** np.arange(13)}
DATA = ("table", "digits", "mnist")


def tree_of(data: str, folder: Path) -> dict:
    """What is trained on each data set: a constant β of 1; on the digits by default, else a smaller model."""
    match data:
        case "digits":
            return {"data": {"name": "digits"}, "epochs": 40}
        case "mnist":
            return {"data": {"name": "mnist", "n_train": 2048}, "model": {"kind": "mlp", "hidden": [128]}, "epochs": 10}
        case _:
            model = {"kind": "mlp", "latent_dim": 8, "hidden": [64]}
            return {"data": {"name": str(_table(folder))}, "model": model, "epochs": 100}


def _table(folder: Path) -> Path:
    """scikit-learn's 569 breast-cancer rows of 30 columns, standardised."""
    from sklearn.datasets import load_breast_cancer

    path = folder / "table.npy"
    x = load_breast_cancer().data
    np.save(path, ((x - x.mean(0)) / x.std(0)).astype(np.float32))
    return path


def measure(data: str, folder: Path) -> None:
    root = Path(os.environ.get("VAE_TUNER_DATA", folder))
    tree = tree_of(data, folder)
    facts, dataset = data_of({"data": tree["data"]}, root)
    for optimizer, rates in RATES.items():
        for batch in BATCHES:
            if batch > facts.n_train:
                continue
            common = {**tree, "batch_size": batch, "optimizer": {"kind": optimizer}, "threads": 1}
            trees = [{**common, "lr": {"base": rate, "base_batch_size": batch}} for rate in rates.tolist()]
            found = [report.metrics.get("val/elbo_cal") for report in train(trees, facts, dataset)]
            row = {"data": data, "optimizer": optimizer, "batch": batch, "rates": rates.tolist(), "elbo_cal": found}
            with (folder / "batch-scaling.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")


def table(folder: Path) -> str:
    """By data set, optimiser and batch: the best rate, and what each rule reaches, in nats below the best there."""
    rows = [json.loads(line) for line in (folder / "batch-scaling.jsonl").read_text().splitlines()]
    lines = [
        "| data | optimiser | batch | best rate | its elbo_cal | linear | sqrt | none |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data, optimizer in dict.fromkeys((row["data"], row["optimizer"]) for row in rows):
        reached = {
            row["batch"]: dict(zip(row["rates"], row["elbo_cal"], strict=True))
            for row in rows
            if (row["data"], row["optimizer"]) == (data, optimizer)
        }
        start = _best(reached[BASE_BATCH])
        for batch, values in reached.items():
            best = _best(values)
            cells = [f"{best:.2g}", f"{values[best]:.1f}"]
            cells += [_shortfall(values, start * (batch / BASE_BATCH) ** power, best) for power in RULES.values()]
            lines.append(f"| {data} | {optimizer} | {batch} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _best(values: dict) -> float:
    return max((rate for rate in values if values[rate] is not None), key=values.__getitem__)


def _shortfall(values: dict, rate: float, best: float) -> str:
    value = next((values[tried] for tried in values if np.isclose(tried, rate)), "off the grid")
    if isinstance(value, float):
        return f"−{values[best] - value:.1f}"
    return value or "diverged"


if __name__ == "__main__":
    run_study(measure, table, list(DATA))
