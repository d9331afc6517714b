"""Q1: is KL + λ̂·distortion lower where GECO led the way to it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from tuner.comparison.design import Design, Level, Trained
from tuner.comparison.verdicts import ALPHA, RivalResult, adjusted_p, judge

__all__ = ["PathAnswer", "answer_path", "differences", "rejected_under_shuffling"]

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

    pilots: GECO's and the rivals', on which the learning rates were chosen.
    """
    weights = {level.kappa: level.weight for level in levels if level.kept and level.weight}
    table: dict[Cell, dict[str, float]] = {}
    left_out = []
    for each in trained:
        kappa = each.run.kappa
        assert kappa is not None
        if each.whole:
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
    by_method: dict[str, list[bool]] = {}
    for each in trained:
        by_method.setdefault(each.run.method, []).append(not each.whole)
    return {method: fmean(diverged) for method, diverged in by_method.items()}


def differences(table: Table, rivals: Sequence[str]) -> dict[str, dict[float, dict[int, float]]]:
    """By rival, κ and seed GECO's J minus the rival's, where both have ended."""
    found: dict[str, dict[float, dict[int, float]]] = {}
    for rival in rivals:
        for (kappa, seed), cell in table.items():
            if rival in cell and "geco" in cell:
                found.setdefault(rival, {}).setdefault(kappa, {})[seed] = cell["geco"] - cell[rival]
    return found


def rejected_under_shuffling(table: Table, rivals: Sequence[str], seed: int = 0) -> float | None:
    """The null check: how often any rival is told from GECO once the labels of each cell are shuffled."""
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
