import numpy as np
import pytest

from search_spaces.space import Space
from tuner.reports.figures.sweep import FIGURES, importances, middle_half
from tuner.reports.page import save_png
from tuner.sweeps.status import known_sweep

MIXED = {
    "lr.base": {"float": [1e-4, 1e-2], "log": True},
    "batch_size": {"choice": [16, 32]},
    "beta.end": {"float": [0.5, 2.0]},
}


@pytest.fixture
def swept(sweeps):
    """swept(paths of its spec) → a sweep that ended, and its space."""

    def make(**paths):
        sweeps.run("s", **{"space": MIXED, "search.trials": 8, "scheduler.kind": "none", **paths})
        sweep = known_sweep(sweeps.storage, "s")
        return sweep, Space.parse(sweep.header["space"])

    return make


@pytest.fixture
def draw(swept, tmp_path):
    """draw(figure, paths of the spec) → the figure, which can be written; or None."""

    def make(name, **paths):
        figure = FIGURES[name].draw(*swept(**paths))
        if figure is not None:
            save_png(figure, tmp_path / "f.png")
        return figure

    return make


DRAWN = [name for name in FIGURES if name != "plane"]  # these sweeps' trials report nothing but their metric


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_drawn(name, draw):
    figure = draw(name)
    assert any(axes.has_data() for axes in figure.axes)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "importance"])
def test_pruned_trials_are_drawn_too(name, draw):
    figure = draw(name, **{"scheduler.kind": "asha"})
    assert any(axes.has_data() for axes in figure.axes)


@pytest.mark.parametrize("name", DRAWN)
def test_dimensions_that_not_every_trial_has_are_drawn_where_they_are(name, draw):
    figure = draw(name, space="geco-vs-annealing", **{"search.trials": 12})
    assert figure is None if name == "importance" else any(axes.has_data() for axes in figure.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_one_trial_is_enough_for_its_curve_and_its_place_only(name, draw):
    figure = draw(name, **{"search.trials": 1})
    assert (figure is not None) == (name in ("curves", "slices"))


def test_a_trials_curve_has_a_point_for_each_epoch_and_a_label_for_each_method(draw):
    axes = draw("curves", space="geco-vs-annealing", **{"scheduler.kind": "none"}).axes[0]
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[1, 2, 3]] * 8
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels) == len(set(labels)) > 1


def test_each_dimension_has_its_panel_and_each_trial_a_mark_in_it(draw):
    panels = [axes for axes in draw("slices").axes if axes.get_visible()]
    assert sorted(axes.get_xlabel() for axes in panels) == sorted(MIXED)
    assert {len(axes.get_lines()) for axes in panels} == {8}
    assert {axes.get_xlabel(): axes.get_xscale() for axes in panels}["lr.base"] == "log"


def test_the_plane_has_a_mark_for_each_completed_trial(swept):
    sweep, space = swept()
    for number, trial in enumerate(sweep.trials.values()):
        trial.last.update({"val/mse": 0.01 * (number + 1), "val/kl": float(number)})
    axes = FIGURES["plane"].draw(sweep, space).axes[0]
    marks = [tuple(map(float, line.get_xydata()[0])) for line in axes.get_lines()]
    assert marks == [(pytest.approx(0.01 * (number + 1)), float(number)) for number in range(8)]
    assert axes.get_xscale() == "log"


def test_each_trial_is_a_line_through_its_choices_from_0_to_1(draw):
    axes = draw("parallel").axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(MIXED)
    lines = [line.get_xydata() for line in axes.get_lines() if len(line.get_xydata()) == len(MIXED)]
    assert len(lines) == 8
    assert all(line[:, 1].tolist() == [0, 1, 2] and line[:, 0].min() >= 0 and line[:, 0].max() <= 1 for line in lines)


def test_importances_are_shares_and_need_four_trials(swept):
    found = importances(*swept())
    assert found.keys() == MIXED.keys()
    assert sum(found.values()) == pytest.approx(1)


def test_importances_of_three_trials_are_none(swept):
    assert importances(*swept(**{"search.trials": 3})) == {}


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [0.0, 1.0, 2.0, -1e6]])
def test_limits_show_the_better_part_with_a_margin(values):
    low, high = middle_half(values)
    assert low < high
    assert high > max(values)
    assert low > -1e6
    assert low < np.median(values)
