"""The NLL of the path's models at one level: a secondary result, an interval without a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tuner.comparison.design import Level, Trained
from tuner.comparison.statistics import Interval, mean_interval
from tuner.sweeps.metrics import unranked_by_nll

NLL_SAMPLES = 1_000


@dataclass(frozen=True)
class NllAnswer:
    """By method the mean over seeds with its 95 % interval, in nats.

    All models are weighed by one likelihood, the one that the level's λ̂ amounts to at β = 1. sigma: its pixel σ, None
    under bits. samples: K. examples: of the test set. bias: by method, what the estimates are too high by, at least.
    drop: by method NLL(K/10) − NLL(K), None of runs that did not record it: smaller differences rank nothing.
    """

    kappa: float
    sigma: float | None
    samples: int
    examples: int
    values: dict[str, Interval]
    bias: dict[str, float]
    drop: dict[str, float | None]

    @property
    def unranked(self) -> list[str]:
        """The methods, lowest NLL first, that cannot be told from the lowest; empty where the lowest is the best."""
        return unranked_by_nll({name: (value.mean, self.drop[name] or 0.0) for name, value in self.values.items()})

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**vars(self), "values": {method: vars(found) for method, found in self.values.items()}}


def measured_level(levels: Sequence[Level]) -> Level | None:
    """The level at which NLLs are taken: the middle one of those that are kept, since an NLL takes some 10 s a model.

    Parameters
    ----------
    levels
        All of them.

    Returns
    -------
    Level or None
        None where none is kept.
    """
    kept = [level for level in levels if level.kept]
    return kept[len(kept) // 2] if kept else None


def answer_nll(levels: Sequence[Level], path: Sequence[Trained]) -> NllAnswer | None:
    """The NLL of each method at the level at which it is measured.

    Parameters
    ----------
    levels
        All of them.
    path
        Their runs.

    Returns
    -------
    NllAnswer or None
        None where no run of that level trained to its end.
    """
    level = measured_level(levels)
    runs = [each for each in path if "test/nll" in each.test]
    if level is None or not runs:
        return None
    own = {method: [each.test for each in runs if each.run.method == method] for method in _methods(runs)}
    first = runs[0].test
    return NllAnswer(
        level.kappa,
        first.get("test/nll_sigma"),
        int(first["test/nll_samples"]),
        int(first["test/nll_examples"]),
        {method: mean_interval([test["test/nll"] for test in tests]) for method, tests in own.items()},
        {method: fmean(test["test/nll_bias"] for test in tests) for method, tests in own.items()},
        {method: _mean_of("test/nll_drop", tests) for method, tests in own.items()},
    )


def _mean_of(metric: str, tests: Sequence[Mapping[str, float]]) -> float | None:
    return fmean(test[metric] for test in tests) if all(metric in test for test in tests) else None


def _methods(runs: Sequence[Trained]) -> list[str]:
    return list(dict.fromkeys(each.run.method for each in runs))
