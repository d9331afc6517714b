"""The range test's curve as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.style import BLUE, GREEN, ORANGE, style_axes, wide_figure

if TYPE_CHECKING:
    from trainables.training.range_test import RangeTest


def lr_range_figure(test: RangeTest, dataset: str, batch_size: int, *, linear: bool = False) -> Figure:
    """The loss against the learning rate it was seen at, with the suggested bounds."""
    x = f"learning rate, as used with batches of {batch_size}"
    figure, [axes] = wide_figure()
    style_axes(axes, x, "loss [nats per example]")
    axes.set_title(f"Learning-rate range test on {dataset}", loc="left", fontsize="medium")
    axes.plot(test.rates, test.losses, color=BLUE, linewidth=0.7, alpha=0.45, label="loss of a step")
    axes.plot(test.rates, test.smoothed, color=BLUE, linewidth=1.8, label="moving average")
    axes.set_xscale("linear" if linear else "log")
    if test.bounds is not None:
        axes.set_ylim(_loss_limits(test))
        for name, rate, color in (("base", test.bounds.base, GREEN), ("max", test.bounds.max, ORANGE)):
            axes.axvline(rate, color=color, linewidth=1.4, linestyle="--", label=f"suggested {name} {rate:.2g}")
        axes.axvspan(test.bounds.base, test.bounds.max, color="0.5", alpha=0.08, linewidth=0)
    axes.legend(edgecolor="none", fontsize="small")
    return figure


def _loss_limits(test: RangeTest) -> tuple[float, float]:
    """From below the valley to a third of the fall above the start: what blows up leaves the picture."""
    low, start = test.smoothed.min(), test.smoothed[0]
    return low - 0.15 * (start - low), start + 0.33 * (start - low)
