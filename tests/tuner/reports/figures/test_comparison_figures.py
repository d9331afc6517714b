from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from comparisons import compared, without_levels
from matplotlib.collections import PathCollection

from tuner.reports.figures.comparison import FIGURES, information_plane_figure, path_differences_figure
from tuner.reports.figures.comparison_runs import equivalent_beta, schedules_figure, trajectory_figure
from tuner.reports.figures.style import WIDTH
from tuner.reports.page import save_png

WHOLE = ("quality", "target", "training", "latents", "schedules")


@pytest.fixture(scope="module")
def gaussian():
    return compared("geco", "beta", "linear", "cyclical", "free-bits", "gqn")


@pytest.fixture(scope="module")
def laid_out(gaussian):
    """laid_out(name) → a figure of that, with all in its place; made once."""

    @cache
    def draw(name):
        figure = FIGURES[name].draw(gaussian)
        figure.draw_without_rendering()
        return figure

    return draw


@pytest.fixture(scope="module")
def bits():
    return compared("geco", "beta", sigma=None)


@pytest.fixture(scope="module")
def poor():
    """Comparisons in which something is not there."""
    alone = compared("geco", pool=2)
    diverged = replace(alone, trained={**alone.trained, "path": _diverged(alone.trained["path"])}, trajectory=None)
    return {"no level": without_levels("geco", "beta"), "geco alone": alone, "path diverged": diverged}


def _diverged(trained):
    return [replace(each, stop_reason="diverged", test={}) for each in trained]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("data", ["gaussian", "bits"])
def test_every_figure_is_drawn_with_its_axes_named(name, data, request, tmp_path):
    figure = FIGURES[name].draw(request.getfixturevalue(data))
    drawn = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    named = [axes for axes in drawn if axes.get_xlabel() or axes.get_ylabel()]
    assert len(named) >= 1
    for axes in named:
        assert axes.get_xlabel()
        assert axes.get_ylabel() or axes.get_yticklabels()
    save_png(figure, tmp_path / "f.png")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("case", ["no level", "geco alone", "path diverged"])
def test_a_figure_of_what_was_not_trained_is_left_out(name, case, poor, tmp_path):
    figure = FIGURES[name].draw(poor[case])
    if figure is not None:
        assert figure.axes[0].has_data()
        save_png(figure, tmp_path / "f.png")
    of_the_path = {"path", "training", "trajectory", "schedules"}
    assert (figure is None) == (
        name in {"no level": {*of_the_path, "latents"}, "geco alone": {"path"}}.get(case, of_the_path)
    )


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_counted_has_whole_numbers_for_ticks(name, laid_out):
    for axes in laid_out(name).axes:
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_gecos_curve_passes_its_levels_with_the_slope_of_its_multiplier(gaussian):
    axes = information_plane_figure(gaussian).axes[0]
    curve = next(line for line in axes.get_lines() if len(line.get_xdata()) > 100)
    (points,) = [line for line in axes.get_lines() if line.get_label() == "geco"]
    x, y = curve.get_data()
    levels = sorted(zip(*points.get_data(), strict=True))
    assert len(levels) == 5
    weights = {level.kappa: level.weight for level in gaussian.levels}
    sses = [gaussian.design.scale.n_elements * np.exp(at) for at, _ in levels]
    slopes = [-weight * sse for weight, sse in zip(weights.values(), sses, strict=True)]
    for (a, b), (from_slope, to_slope) in zip(pairwise(levels), pairwise(slopes), strict=True):
        inside = (a[0] <= x) & (x <= b[0])
        assert y[inside] == pytest.approx(hermite(x[inside], a, b, from_slope, to_slope), abs=1e-9)


def test_the_plain_elbo_stands_in_the_plane_at_its_best_learning_rate(gaussian):
    axes = information_plane_figure(gaussian).axes[0]
    (points,) = [line for line in axes.get_lines() if line.get_label() == "elbo (β = 1)"]
    best = gaussian.design.best_plain(gaussian.trained["plain"])
    assert len(best) == 2
    assert list(points.get_xdata()) == [np.log(each.test["test/mse"]) for each in best]
    assert list(points.get_ydata()) == [each.test["test/kl"] for each in best]


def hermite(x, a, b, from_slope, to_slope):
    """The cubic between two points with these slopes."""
    width = b[0] - a[0]
    t = (x - a[0]) / width
    value = (1 + 2 * t) * (1 - t) ** 2 * a[1] + t**2 * (3 - 2 * t) * b[1]
    return value + width * (t * (1 - t) ** 2 * from_slope - t**2 * (1 - t) * to_slope)


def test_each_rival_has_its_interval_and_its_seeds(gaussian):
    axes = path_differences_figure(gaussian).axes[0]
    lines = [sorted(line.get_xdata()) for line in axes.get_lines()]
    for result in gaussian.path.rivals:
        assert [result.lo, result.hi] in lines
        assert [result.mean] in lines
    assert sum(len(line) == gaussian.design.seeds for line in lines) == len(gaussian.path.rivals)


@pytest.mark.parametrize("data", ["gaussian", "bits"])
def test_a_trajectory_shows_every_step_kept_and_what_kappa_asks_for(data, request):
    found = request.getfixturevalue(data)
    plane, weight, error, _ = trajectory_figure(found).axes
    (dots,) = [each for each in plane.collections if isinstance(each, PathCollection)]
    assert dots.get_array().tolist() == found.trajectory["step"]
    kappa = found.levels[2].kappa
    wanted = kappa * found.design.scale.n_elements if data == "bits" else kappa**2
    assert [wanted, wanted] in [list(line.get_xdata()) for line in plane.get_lines()]
    assert [wanted, wanted] in [list(line.get_ydata()) for line in error.get_lines()]
    names = ["geco", "κ·D" if data == "bits" else "κ²"]
    assert [text.get_text() for text in error.get_legend().get_texts()] == names
    (beta,) = weight.get_lines()
    scale = found.design.scale.sigma
    weighs = [1 / each if scale is None else 1 / (2 * each * scale**2) for each in found.trajectory["lambda"]]
    assert list(beta.get_ydata()) == pytest.approx(weighs)


@pytest.mark.parametrize("data", ["gaussian", "bits"])
def test_the_schedules_read_lambda_off_the_same_curves(data, request):
    found = request.getfixturevalue(data)
    weights = schedules_figure(found).axes[0]
    (right,) = weights.child_axes
    assert (weights.get_ylabel(), right.get_ylabel()) == ("β", "λ")
    forward, back = right._functions
    scale = 1.0 if data == "bits" else 2 * found.design.scale.sigma**2
    assert forward(0.5) == pytest.approx(1 / (0.5 * scale))
    assert back(forward(0.5)) == pytest.approx(0.5)


def test_a_schedule_is_what_weighed_whichever_dial_was_turned():
    """GQN turns σ and leaves β at 1; what weighs is √β·σ."""
    assert equivalent_beta({"schedule/beta": 1.0, "schedule/sigma_eq": 0.3}, 0.15) == pytest.approx(4)
    assert equivalent_beta({"schedule/beta": 0.25}, None) == 0.25


@pytest.mark.parametrize("name", FIGURES)
def test_legends_hide_no_curve(name, laid_out):
    """They stand above the axes; the plane's is its own."""
    figure = laid_out(name)
    legends = [(axes, axes.get_legend()) for axes in figure.axes if axes.get_legend() and name != "plane"]
    for axes, legend in legends:
        assert legend.get_window_extent().y0 >= axes.get_window_extent().y1


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_no_wider_than_a_phone_can_show(name, laid_out):
    assert laid_out(name).get_figwidth() <= WIDTH
