"""What all figures share. No pyplot: nothing global is touched, and nothing needs a display."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, ParamSpec

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator, NullLocator

if TYPE_CHECKING:
    from tuner.comparison.statistics import Expected

# Okabe & Ito (2008): told apart by colour-blind readers; markers and dashes tell them apart in gray. Their yellows are
# too pale on white: brown there, amber on a dark ground.
BLUE, ORANGE, GREEN, BROWN = "#0072B2", "#D55E00", "#009E73", "#5C3A00"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", BROWN, "#000000", "#7F7F86")
ON_DARK = {BROWN: "#E69F00"}
MARKERS = "os^Dv<>Pp"
LINES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), ":", (0, (1, 3)))
WIDTH, HEIGHT = 5.3, 3.7  # inches: text of a figure stays readable where a phone shows it whole
LEGEND_COLUMNS = 4
LEGEND_SIZE = 9.5
DPI = 150
DECADE = 10.0
GRID = "0.9"

Given = ParamSpec("Given")


@dataclass(frozen=True)
class Drawing(Generic[Given]):
    """A figure of a page. title: what it shows. caption: how to read it. draw: None where there is nothing to show."""

    title: str
    caption: str
    draw: Callable[Given, Figure | None]


@dataclass(frozen=True)
class Look:
    """What is one in a figure: its colour, the marker of its points, the dashes of its line."""

    colour: str
    marker: str
    line: object


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, by their order."""
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, name in enumerate(names)
    }


def wide_figure(n_panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Panels side by side."""
    figure = Figure(figsize=(WIDTH * n_panels, HEIGHT), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(1, n_panels, squeeze=False)[0])


def stacked_figure(n_panels: int) -> tuple[Figure, list[Axes]]:
    """Panels one above the other: no wider than one."""
    figure = Figure(figsize=(WIDTH, 0.4 + 2.5 * n_panels), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(n_panels, 1, squeeze=False)[:, 0])


def style_axes(axes: Axes, x: str, y: str) -> None:
    """Labelled, without a box, on a light grid."""
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def count_along_x(axes: Axes) -> None:
    """Ticks at whole numbers: epochs, trials and latents have nothing between them."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def draw_expected(axes: Axes, label: str, expected: Sequence[Expected], trusted: int, colour: str, marker: str) -> None:
    """The best of n trials over n, with its band for the first that can be trusted."""
    ns, means = [each.n for each in expected], [each.mean for each in expected]
    lo, hi = [each.lo for each in expected[:trusted]], [each.hi for each in expected[:trusted]]
    axes.fill_between(ns[:trusted], lo, hi, color=colour, alpha=0.12, linewidth=0)
    axes.plot(ns, means, color=colour, marker=marker, markersize=4, label=label)


def legend_above(axes: Axes, lines: Sequence[Artist] | None = None, title: str | None = None) -> None:
    """A legend above the axes, where it hides nothing, of four entries a row. lines: by default those of the axes."""
    handles = axes.get_legend_handles_labels()[0] if lines is None else list(lines)
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=min(len(handles), LEGEND_COLUMNS),
        frameon=False,
        fontsize=LEGEND_SIZE,
        handlelength=1.6,
        columnspacing=1.2,
        title=title,
        title_fontsize=LEGEND_SIZE,
    )


def log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis of which all is drawn logarithmic; one of less than a decade has round numbers as ticks."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    round_ticks(axis, *axis.get_view_interval())


def round_ticks(axis: Axis, one_end: float, other_end: float) -> None:
    """Round numbers as ticks of a logarithmic axis that shows less than a decade."""
    low, high = sorted((one_end, other_end))
    if high < DECADE * low:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


NAMES = 0.9  # inches beside the picture


def picture_rows_figure(file: Path, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Figure:
    """rows, columns: names from above and from the left, each of an equal share of the picture; none where they have
    none."""
    pixels = imread(file)
    height, width = pixels.shape[:2]
    figure, [axes] = wide_figure()
    figure.set_figheight((WIDTH - NAMES) * height / width + (0.5 if columns else 0.2))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.set_yticks([(i + 0.5) * height / len(rows) for i in range(len(rows))], rows)
    axes.set_xticks([(i + 0.5) * width / len(columns) for i in range(len(columns))], columns, fontsize="small")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
