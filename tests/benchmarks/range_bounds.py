"""Which lower bound cycles want under the upper one that the range test suggests.

VAE_TUNER_DATA=DIR python tests/benchmarks/range_bounds.py FOLDER [DATA…]   # writes FOLDER/range-bounds.jsonl
python tests/benchmarks/range_bounds.py --table FOLDER                      # the table in docs/learning-rates.md
"""

import json
import os
from pathlib import Path

from side_by_side import data_of, run_study, train

from trainables.config.paths import parse_config
from trainables.resolve import resolve
from trainables.training import range_test
from trainables.training.trainer import Trainer

SHARES = (2, 4, 10, 30, 100, 400)
MODES = ("triangular", "triangular2")
TREES = {
    "digits": {"data": {"name": "digits"}},
    "mnist": {"data": {"name": "mnist", "n_train": 4096}, "epochs": 12},
    "fashion-mnist": {"data": {"name": "fashion-mnist", "n_train": 4096}, "epochs": 12},
}


def measure(data: str, folder: Path) -> None:
    tree = {**TREES[data], "threads": 1}
    facts, dataset = data_of({"data": tree["data"]}, Path(os.environ.get("VAE_TUNER_DATA", folder)))
    config = range_test.ramped(parse_config(tree), 1e-6, 1.0, 3)
    bounds = range_test.run(Trainer(resolve(config, facts), dataset)).bounds
    assert bounds is not None
    cases = [(mode, share) for mode in MODES for share in SHARES]
    cycles = [{"kind": "clr", "mode": mode, "base": bounds.max / share, "max": bounds.max} for mode, share in cases]
    reports = train([{**tree, "lr": {**cycle, "scaling": "none"}} for cycle in cycles], facts, dataset)
    with (folder / "range-bounds.jsonl").open("a") as file:
        for (mode, share), report in zip(cases, reports, strict=True):
            row = {"data": data, "max": bounds.max, "suggested": bounds.max / bounds.base, "mode": mode, "share": share}
            file.write(json.dumps({**row, "elbo_cal": report.metrics.get("val/elbo_cal")}) + "\n")


def table(folder: Path) -> str:
    """By data set and mode: elbo_cal at max over each share."""
    rows = [json.loads(line) for line in (folder / "range-bounds.jsonl").read_text().splitlines()]
    lines = [f"| data | max | mode | {' | '.join(f'max/{share}' for share in SHARES)} |", f"|---|---|{'---|' * 7}"]
    for data in dict.fromkeys(row["data"] for row in rows):
        for mode in MODES:
            here = [row for row in rows if (row["data"], row["mode"]) == (data, mode)]
            values = " | ".join(f"{row['elbo_cal']:.1f}" for row in here)
            lines.append(f"| {data} | {here[0]['max']:.2g} | {mode} | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_study(measure, table, list(TREES))
