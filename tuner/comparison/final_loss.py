"""Q1: is KL + λ̂·distortion lower where GECO led the way to it?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

import numpy as np

from trainables.grouping import grouped
from tuner.comparison.design import Design, Level, Trained
from tuner.comparison.statistics import Interval, holm, is_equivalent, mean_interval, sign_flip_p

SHUFFLES = 1_000
FEWEST_LEVELS = 3
FEWEST_RUNS = 0.8

Cell = tuple[float, int]  # κ and seed
Table = Mapping[Cell, Mapping[str, float]]  # J by method


@dataclass(frozen=True)
class PathAnswer:
    """rivals: in the order of the methods, those with a run beside one of GECO's. table: J by κ and seed, then by
    method. left_out: runs that diverged. lost: by method, their share. null: how often shuffled labels reject, which
    should be at most 5 %; None where there is nothing to test.
    """

    rivals: list[RivalResult]
    table: dict[Cell, dict[str, float]]
    left_out: list[str]
    lost: dict[str, float]
    null: float | None


def answer_path(
    design: Design, levels: Sequence[Level], pilots: Sequence[Trained], trained: Sequence[Trained]
) -> PathAnswer:
    """J = KL + λ̂·distortion on the test set, GECO's minus each rival's, by seed over the mean of the levels.

    Parameters
    ----------
    design
        The comparison's.
    levels
        With their λ̂; those that are dropped are passed over.
    pilots
        GECO's and the rivals', on which the learning rates were chosen.
    trained
        The path's runs.

    Returns
    -------
    PathAnswer
        `undecided` where fewer than three levels or four fifths of the runs are left.
    """
    weights = {level.kappa: level.weight for level in levels if level.kept and level.weight}
    table: dict[Cell, dict[str, float]] = {}
    left_out = []
    for each in trained:
        kappa = each.run.kappa
        assert kappa is not None
        if each.completed:
            cell = table.setdefault((kappa, each.run.seed), {})
            cell[each.run.method] = design.lagrangian(each.test, weights[kappa], "test")
        else:
            left_out.append(f"{each.run.method} at κ = {kappa:.4g}, seed {each.run.seed}: {each.stop_reason}")
    found = differences(table, design.rivals)
    judged = judge(found, design.selection_sds(levels, pilots)) if found else []
    lost = _lost(trained)
    return PathAnswer(
        [result if _can_be_told(result, weights, lost) else replace(result, verdict="undecided") for result in judged],
        table,
        left_out,
        lost,
        rejected_under_shuffling(table, design.rivals),
    )


def _can_be_told(result: RivalResult, levels: Sized, lost: Mapping[str, float]) -> bool:
    """Whether enough is left to judge by. On fewer than three levels one choice of a learning rate weighs too much:
    one method under two names was told apart in up to a tenth of simulated comparisons."""
    return len(levels) >= FEWEST_LEVELS and max(lost["geco"], lost[result.rival]) <= 1 - FEWEST_RUNS


def _lost(trained: Sequence[Trained]) -> dict[str, float]:
    by_method = grouped((each.run.method, not each.completed) for each in trained)
    return {method: fmean(diverged) for method, diverged in by_method.items()}


def differences(table: Table, rivals: Sequence[str]) -> dict[str, dict[float, dict[int, float]]]:
    """GECO's J minus each rival's, where both runs have ended.

    Parameters
    ----------
    table
        J by κ and seed, then by method.
    rivals
        Their names.

    Returns
    -------
    dict
        By rival, κ and seed; a rival without a pair is left out.

    Examples
    --------
    >>> differences({(0.1, 7): {"geco": 3.0, "beta": 5.0}, (0.1, 8): {"geco": 3.0}}, ["beta", "linear"])
    {'beta': {0.1: {7: -2.0}}}
    """
    found: dict[str, dict[float, dict[int, float]]] = {}
    for rival in rivals:
        for (kappa, seed), cell in table.items():
            if rival in cell and "geco" in cell:
                found.setdefault(rival, {}).setdefault(kappa, {})[seed] = cell["geco"] - cell[rival]
    return found


def rejected_under_shuffling(table: Table, rivals: Sequence[str], seed: int = 0) -> float | None:
    """The null check: how often any rival is told from GECO once the labels of each cell are shuffled.

    Parameters
    ----------
    table
        J by κ and seed, then by method.
    rivals
        Their names.
    seed
        Of the shuffling.

    Returns
    -------
    float or None
        A share of 1,000 shufflings, at most some 5 % for a valid test; None without a pair.
    """
    if not differences(table, rivals):
        return None
    draw = np.random.default_rng(seed)
    rejected = 0
    for _ in range(SHUFFLES):
        shuffled = {cell: _relabelled(values, draw) for cell, values in table.items()}
        rejected += any(p <= ALPHA for p in adjusted_p(differences(shuffled, rivals)).values())
    return rejected / SHUFFLES


def _relabelled(values: Mapping[str, float], draw: np.random.Generator) -> dict[str, float]:
    names = list(values)
    return {names[new]: value for new, value in zip(draw.permutation(len(names)), values.values(), strict=True)}


ALPHA = 0.05
MARGIN = 0.5

Verdict = Literal["lower", "equivalent", "higher", "undecided"]

Differences = Mapping[float, Mapping[int, float]]
"""GECO's J minus a rival's, by κ and then by seed."""


@dataclass(frozen=True)
class LevelResult:
    """The difference at one level: mean over seeds with its own 95 % interval. equivalent: surely within ±MARGIN."""

    kappa: float
    mean: float
    lo: float
    hi: float
    equivalent: bool


@dataclass(frozen=True)
class RivalResult:
    """GECO's J minus a rival's, mean over levels and seeds, in nats; lo, hi: what holds it, with 95 % for all rivals
    together.

    p: of the sign-flip test, adjusted for all rivals. verdict: `equivalent` where the difference is surely within half
    a nat at every level, however significant; else `lower` or `higher` where the mean is significant and its interval,
    which holds the uncertainty of the chosen learning rates too, leaves out 0; else `undecided`.
    """

    rival: str
    mean: float
    lo: float
    hi: float
    p: float
    verdict: Verdict
    levels: tuple[LevelResult, ...]

    @property
    def largest(self) -> LevelResult:
        """The level at which the two differ most."""
        return max(self.levels, key=lambda level: abs(level.mean))

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**vars(self), "levels": [vars(level) for level in self.levels]}


def judge(
    differences: Mapping[str, Differences], selection: Mapping[str, Mapping[float, float]] | None = None
) -> list[RivalResult]:
    """What the differences to each rival amount to.

    Equivalence needs two one-sided t tests at 5 % at every level (an intersection-union test, which needs no correction
    for the number of levels; Berger 1982): of effects of both signs the mean alone may be small. The 5 % are each
    rival's own.

    Parameters
    ----------
    differences
        GECO's J minus the rival's, by rival, κ and seed.
    selection
        By rival and κ, the standard deviation that the choice of both learning rates adds; None where nothing was
        chosen.

    Returns
    -------
    list of RivalResult
        In the order of the rivals.
    """
    adjusted = adjusted_p(differences)
    together = 1 - ALPHA / max(1, len(differences))
    return [
        _result(rival, found, adjusted[rival], (selection or {}).get(rival, {}), together)
        for rival, found in differences.items()
    ]


def adjusted_p(differences: Mapping[str, Differences]) -> dict[str, float]:
    """By rival, the sign-flip test over seeds with Holm's correction.

    Parameters
    ----------
    differences
        By rival, κ and seed.

    Returns
    -------
    dict of str to float
        By rival.
    """
    return holm({rival: sign_flip_p(means_by_seed(found)) for rival, found in differences.items()})


def means_by_seed(found: Differences) -> list[float]:
    """For each seed the mean over the levels that have it.

    Parameters
    ----------
    found
        Differences by κ, then by seed.

    Returns
    -------
    list of float
        By seed, in the order of their first level.
    """
    seeds = grouped(pair for values in found.values() for pair in values.items())
    return [fmean(values) for values in seeds.values()]


def _result(
    rival: str, found: Differences, p: float, selection: Mapping[float, float], confidence: float
) -> RivalResult:
    levels = tuple(_level(kappa, list(found[kappa].values()), selection.get(kappa, 0.0)) for kappa in sorted(found))
    common_sd = math.hypot(*selection.values()) / max(1, len(selection))
    mean = mean_interval(means_by_seed(found), confidence, common_sd)
    verdict = "equivalent" if all(level.equivalent for level in levels) else _verdict(mean, p)
    return RivalResult(rival, mean.mean, mean.lo, mean.hi, p, verdict, levels)


def _level(kappa: float, values: list[float], common_sd: float) -> LevelResult:
    found = mean_interval(values, 1 - ALPHA, common_sd)
    return LevelResult(kappa, found.mean, found.lo, found.hi, is_equivalent(values, MARGIN, common_sd))


def _verdict(found: Interval, p: float) -> Verdict:
    if p > ALPHA or found.lo <= 0 <= found.hi:
        return "undecided"
    return "lower" if found.mean < 0 else "higher"
