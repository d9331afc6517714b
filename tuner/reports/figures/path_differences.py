"""Q1 as a picture: the difference to each rival with its interval, beside the margin of equivalence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.comparison.verdicts import MARGIN, means_by_seed
from tuner.reports.figures.method_looks import colour_of
from tuner.reports.figures.style import legend_above, style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["path_differences_figure"]


def path_differences_figure(comparison: Comparison) -> Figure | None:
    """Mean and 95 % interval for each rival, over single seeds and single levels."""
    results = comparison.path.rivals
    if not results:
        return None
    from tuner.comparison.final_loss import differences

    found = differences(comparison.path.table, [result.rival for result in results])
    figure, [axes] = wide_figure()
    figure.set_figheight(1.5 + 0.7 * len(results))
    style_axes(axes, "J of GECO − J of the rival  [nats per example]\n← GECO lower · GECO higher →", "")
    axes.axvspan(-MARGIN, MARGIN, color="0.5", alpha=0.12, linewidth=0, label=f"equivalent: ±{MARGIN:g} nat")
    axes.axvline(0, color="0.4", linewidth=0.8)
    for row, result in enumerate(reversed(results)):
        colour = colour_of(result.rival)
        values = means_by_seed(found[result.rival])
        levels = [level.mean for level in result.levels]
        axes.plot(values, [row - 0.22] * len(values), "|", color=colour, markersize=8, label=_once("one seed", row))
        axes.plot(levels, [row + 0.22] * len(levels), "d", color=colour, markersize=4, label=_once("one level", row))
        axes.plot([result.lo, result.hi], [row, row], color=colour, linewidth=2, label=_once("95 % interval", row))
        axes.plot([result.mean], [row], "o", color=colour, markersize=7)
    axes.set_yticks(range(len(results)), [f"{each.rival}\n{each.verdict}" for each in reversed(results)])
    axes.set_ylim(-0.6, len(results) - 0.4)
    legend_above(axes)
    return figure


def _once(label: str, row: int) -> str | None:
    return None if row else label
