"""A sweep as pandas tables: a row for each trial, and a row for each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.sweeps.state import Sweep
from tuner.sweeps.status import known_sweep, standing, unended_state

if TYPE_CHECKING:
    import pandas as pd


def trials_frame(storage: str | Path, name: str) -> pd.DataFrame:
    """A row for each trial, with the metrics of the epoch that it is ranked by.

    Raises UserError for a sweep that is not there.
    """
    import pandas as pd

    sweep = known_sweep(storage, name)
    states = {trial.trial: trial.state for trial in standing(sweep, name, unended_state(storage, name)).trials}
    rows = [
        {
            "trial": trial.id,
            "number": trial.number,
            "seed": trial.config["seed"],
            "method": trial.method,
            "state": states[trial.id],
            "outcome": trial.outcome,
            "error": trial.error,
            "epochs": trial.epochs,
            "ranked_epoch": trial.ranked_epoch,
            "begun": pd.Timestamp(trial.begun, unit="s", tz="UTC"),
            "seconds": trial.heard - trial.begun,
            **trial.assignment,
            **_metrics(trial.ranked),
        }
        for trial in sweep.trials.values()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial"]).set_index("trial")


def history_frame(storage: str | Path, name: str) -> pd.DataFrame:
    """A row for each epoch of each trial: what was decided on it and its metrics.

    Raises UserError for a sweep that is not there.
    """
    import pandas as pd

    rows = list(_epochs(known_sweep(storage, name)))
    return pd.DataFrame(rows, columns=None if rows else ["trial", "epoch"]).set_index(["trial", "epoch"])


def _epochs(sweep: Sweep) -> Iterator[dict[str, Any]]:
    for trial in sweep.trials.values():
        for report in trial.reports:
            yield {
                "trial": trial.id,
                "epoch": report.epoch,
                "decision": report.decision,
                "reason": report.reason,
                "rung": report.rung,
                **_metrics(report.metrics),
            }


def _metrics(reported: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in reported.items() if name != "epoch"}
