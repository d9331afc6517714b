"""Each method of the default space over constant and one-cycle learning rates on the digits.

Whether "GECO won" is a statement about the method or about the rate.

    python tests/benchmarks/default_rates.py FOLDER [SEED…]    # adds to FOLDER/default-rates.jsonl; seeds 0 and 1
    python tests/benchmarks/default_rates.py --table FOLDER    # the table in docs/learning-rates.md
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from side_by_side import data_of, run_study, train

SCHEDULES = [
    *({"kind": "constant", "base": rate} for rate in (1.5e-3, 3e-3, 6e-3, 0.012, 0.024)),
    *({"kind": "one-cycle", "max": rate} for rate in (5e-3, 0.01, 0.02, 0.04, 0.08)),
]
ENDS = (0.35, 0.6, 1.0)
DIALS = {
    "geco": [{"objective": {"kind": "geco", "kappa": kappa}} for kappa in (0.1, 0.11, 0.12, 0.135)],
    "linear": [{"beta": {"kind": "linear", "end": end, "warmup": 0.25}} for end in ENDS],
    "cyclical": [{"beta": {"kind": "cyclical", "end": end}} for end in ENDS],
    "free-bits": [{"objective": {"kind": "free-bits", "free_bits": bits}} for bits in (0.03, 0.1, 0.3)],
}


def measure(seed: int, folder: Path) -> None:
    facts, dataset = data_of({}, folder)
    for method, dials in DIALS.items():
        cases = [(dial, lr) for dial in dials for lr in SCHEDULES]
        reports = train([{**dial, "lr": lr, "seed": seed} for dial, lr in cases], facts, dataset)
        with (folder / "default-rates.jsonl").open("a") as file:
            for (dial, lr), report in zip(cases, reports, strict=True):
                found = {name: report.metrics.get(f"val/{name}") for name in ("elbo_cal", "elbo")}
                row = {"method": method, "dial": dial, "lr": lr, "seed": seed, **found, "outcome": report.outcome}
                file.write(json.dumps(row) + "\n")


def table(folder: Path) -> str:
    """By schedule and method: elbo_cal at the dial that is best there, as the mean over seeds, and that dial."""
    rows = [json.loads(line) for line in (folder / "default-rates.jsonl").read_text().splitlines()]
    lines = [f"| learning rate | {' | '.join(DIALS)} |", f"|---|{'---|' * len(DIALS)}"]
    for lr in SCHEDULES:
        cells = []
        for method, dials in DIALS.items():
            here = [row for row in rows if row["method"] == method and row["lr"] == lr]
            means = [_mean(row["elbo_cal"] for row in here if row["dial"] == dial) for dial in dials]
            best = max(range(len(dials)), key=means.__getitem__)
            cells.append(f"{means[best]:.1f} ({_dial(dials[best])})")
        rate = f"{lr['kind']} {lr.get('base', lr.get('max')):g}"
        lines.append(f"| {rate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Iterable[float | None]) -> float:
    """Over seeds, −∞ where one diverged."""
    return fmean(-math.inf if value is None else value for value in values)


def _dial(dial: dict) -> str:
    [section] = dial.values()
    name = next(name for name in ("kappa", "end", "free_bits") if name in section)
    return f"{'κ' if name == 'kappa' else name} {section[name]:g}"


if __name__ == "__main__":
    run_study(lambda seed, into: measure(int(seed), into), table, ["0", "1"])
