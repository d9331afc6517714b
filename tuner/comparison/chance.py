"""The chance that n trials of a pool hold one that hits."""

from __future__ import annotations

__all__ = ["chance_of_a_hit"]


def chance_of_a_hit(pool: int, hits: int, n: int) -> float:
    """1 − C(N − K, n)/C(N, n): of n drawn without replacement from N with K hits, at least one is a hit."""
    missed = 1.0
    for k in range(n):
        missed *= max(0, pool - hits - k) / (pool - k)
    return 1 - missed
