import itertools
import operator
import random
from types import SimpleNamespace

import pytest
from PIL import Image

from trainables.errors import UserError
from tuner.reports.figures.pareto_front import draw, label_of, staircase
from tuner.sweeps.metrics import METRICS, pareto_front
from tuner.tracking.best import Front

CLOUD = {
    "geco": [(1.0, 4.0, 1.0), (2.0, 2.0, 1.0), (3.0, 3.0, 1.0)],
    "linear": [(100.0, 1.0, 1.0), (50.0, 9.0, 1.0)],
}


def front(*metrics):
    points = [(1.0, 4.0, 1.0), (2.0, 2.0, 1.0), (100.0, 1.0, 1.0)]
    rows = [SimpleNamespace(metrics=dict(zip(metrics, point, strict=False))) for point in points]
    return Front(metrics, rows, {method: [p[: len(metrics)] for p in points] for method, points in CLOUD.items()})


@pytest.mark.parametrize("metrics", [("val/mse", "val/kl"), ("val/elbo", "val/kl", "val/active_units")])
def test_a_front_becomes_a_picture_with_a_panel_a_pair(metrics, tmp_path):
    draw(front(*metrics), tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as picture:
        width, height = picture.size
        assert picture.convert("L").getextrema() == (0, 255)
    assert 0.9 < width / height / (len(metrics) - 1) < 1.7


@pytest.mark.parametrize("directions", list(itertools.product(("max", "min"), repeat=2)))
def test_the_staircase_is_reached_by_trials_and_none_lies_beyond(directions):
    draw_number = random.Random(0)
    trials = [(draw_number.random(), draw_number.random()) for _ in range(60)]
    ends = sorted(trials[i] for i in pareto_front(trials, directions))
    steps = staircase(ends, directions)
    assert steps[::2] == ends
    assert len(ends) > 2
    beats = [operator.gt if direction == "max" else operator.lt for direction in directions]
    for x, y in steps:
        assert not any(beats[0](trial[0], x) and beats[1](trial[1], y) for trial in trials)
        assert any(not beats[0](x, trial[0]) and not beats[1](y, trial[1]) for trial in trials)
    for (x, y), (next_x, next_y) in itertools.pairwise(steps):
        assert (x == next_x) != (y == next_y)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_label_with_unit_and_direction(metric):
    arrow = "better →" if METRICS[metric].direction == "max" else "← better"
    assert label_of(metric).startswith(f"{metric}  [")
    assert label_of(metric).endswith(arrow)


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"missing/front\.png cannot be written.*existing folder"):
        draw(front("val/mse", "val/kl"), tmp_path / "missing" / "front.png")
