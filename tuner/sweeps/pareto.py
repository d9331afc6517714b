"""Which of several results no other beats in every respect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["pareto_front"]


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """The rows of values [n, m] that are not dominated, in their order.

    A row dominates another if it is at least as good in every column and better in one. Equal rows stay together; a row
    with a value that is not finite is never on the front and dominates nothing.

    directions: `max` or `min` of each column. Raises ValueError where their number is not that of the columns.
    """
    if not len(values):
        return []
    scores = np.array(values, dtype=float)
    if scores.shape[1] != len(directions):
        raise ValueError(f"{scores.shape[1]} columns and {len(directions)} directions")
    scores *= [1 if direction == "max" else -1 for direction in directions]
    finite = np.flatnonzero(np.isfinite(scores).all(axis=1))
    own = scores[finite]
    return [int(row) for row in finite if not _is_dominated(scores[row], own)]


def _is_dominated(score: np.ndarray, others: np.ndarray) -> bool:
    return bool(np.any((others >= score).all(axis=1) & (others > score).any(axis=1)))
