"""Tables of a comparison that describe and claim nothing: what stands beside the three questions."""

from __future__ import annotations

from tuner.comparison.answer import Comparison
from tuner.pages.page import Table

__all__ = ["further_tables"]


def further_tables(comparison: Comparison) -> list[Table]:
    """Those of which something was trained."""
    return [*_placed(comparison)]


def _placed(comparison: Comparison) -> list[Table]:
    if not comparison.placed:
        return []
    rows = [
        (
            each.method,
            str(each.n),
            str(each.beside),
            " / ".join(f"{q:+.2f}" for q in each.above) if each.above else "–",
        )
        for each in comparison.placed
    ]
    caption = "What ends at no λ̂, beside the curve of constant β at the same error: no tests"
    return [Table(caption, ("method", "runs", "between its ends", "quartiles of their KL − the curve's"), rows)]
