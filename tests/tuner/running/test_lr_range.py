import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.catalogue import parse_space
from search_spaces.reach import check
from trainables.config.paths import parse_config, plain
from trainables.errors import ConfigError, UserError
from trainables.training.range_test import Bounds, RangeTest
from tuner import lr_range
from tuner.cli.tables import show_lr_range
from tuner.planning.plans import make_plan
from tuner.reports.figures.lr_range import lr_range_figure
from tuner.running.lr_range import LrRange, free_folder, per_base_batch
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.yaml_files import read_yaml

RATES = np.geomspace(1e-6, 1, 100)
CURVE = RangeTest(RATES, np.linspace(9, 1, 100), np.linspace(9, 2, 100), Bounds(1.234e-4, 1.234e-2), ("a note",))
SUGGESTION = Bounds(1.2e-4, 1.2e-2)
FLAT = RangeTest(RATES, np.ones(100), np.ones(100), None, ("the loss never fell",))
EMPTY = RangeTest(*[np.empty(0)] * 3, None, ("the loss became NaN",))


def result_of(tree, test=CURVE, suggestion=SUGGESTION):
    return LrRange(tree, parse_config(tree), test, False, suggestion)


@pytest.fixture(scope="module")
def digits(vae_data_root):
    """A test at four times the batch size that the rates are stated for."""
    return lr_range({"batch_size": 128, "threads": 1}, epochs=8, data_dir=vae_data_root)


def test_the_suggestion_gives_the_rates_that_were_seen(digits):
    """It is stated for lr.base_batch_size, 32, and cycles at the 128 of the test reach the bounds of its curve."""
    config = parse_config(digits.trial())
    cycle = config.lr.at(np.arange(1001.0), 1000, config.batch_size)
    seen = digits.test.bounds
    assert (cycle.min(), cycle.max()) == pytest.approx((seen.base, seen.max), rel=0.05)
    assert digits.settings["lr.max"] == pytest.approx(seen.max / 2, rel=0.05)
    base, top = digits.settings["lr.base"], digits.settings["lr.max"]
    assert digits.notes[-1] == (
        f"as suggested: learning rate {2 * base:.3g} to {2 * top:.3g} = lr.base {base:g} to lr.max {top:g} × 2 "
        "(square-root scaling, batch 128 over base batch 32)"
    )


def test_the_sweep_searches_between_the_bounds(digits, vae_data_root):
    plan = make_plan(parse_spec(digits.spec()), vae_data_root)
    base, top = plan.space.dimensions["lr.base"], plan.space.dimensions["lr.max"]
    assert (base.low, top.high) == (digits.settings["lr.base"], digits.settings["lr.max"])
    assert base.high < top.low
    assert plan.default.batch_size == 128


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"lr": {"kind": "inverse-sqrt", "timescale": 0.1, "scaling": "sqrt", "decoder": 2.0}},
        {"lr": {"kind": "clr", "base": 1.0, "max": 2.0, "step_size": 0.5, "mode": "triangular2"}},
        {"lr": {"kind": "one-cycle", "pct_start": 0.1}, "objective": {"kind": "geco"}},
        plain(parse_config({"data": {"name": "mnist"}})),
    ],
)
def test_any_schedule_gives_way_to_cycles_and_the_rest_stays(tree):
    result = result_of(tree)
    before, after = parse_config(tree), parse_config(result.trial())
    assert (after.lr.kind, after.lr.base, after.lr.max) == ("clr", 1.2e-4, 1.2e-2)
    assert after.model_copy(update={"lr": before.lr}) == before
    for shared in ("scaling", "base_batch_size", "warmup", "encoder", "decoder"):
        assert getattr(after.lr, shared) == getattr(before.lr, shared)
    spec = parse_spec(result.spec())
    check(parse_space(spec.space), spec.config, parse_config)


@pytest.mark.parametrize("ratio", [1.5, 4, 1e4])
def test_the_ranges_of_the_sweep_never_cross(ratio):
    space = result_of({}, suggestion=Bounds(1e-3, 1e-3 * ratio)).spec()["space"]
    assert space["lr.base"]["float"][1] < space["lr.max"]["float"][0]


def test_the_files_say_what_the_result_does(tmp_path):
    result = result_of({"data": {"name": "mnist"}})
    files = result.write(tmp_path / "reports" / "mine")
    document = json.loads(files["json"].read_text())
    assert document["suggestion"] == {"lr.kind": "clr", "lr.base": 1.2e-4, "lr.max": 1.2e-2} == result.settings
    assert (document["lr"], document["loss"], document["smoothed"]) == tuple(
        values.tolist() for values in (CURVE.rates, CURVE.losses, CURVE.smoothed)
    )
    assert parse_config(document["config"]) == result.config
    assert (read_yaml(files["sweep"]), read_yaml(files["config"])) == (result.spec(), result.trial())
    assert files["figure"].read_bytes().startswith(b"\x89PNG")
    assert sorted(files.values()) == sorted((tmp_path / "reports" / "mine").iterdir())


@pytest.mark.parametrize("test", [FLAT, EMPTY], ids=["flat", "empty"])
def test_without_a_suggestion_there_is_nothing_to_take_over(test, tmp_path, capsys):
    result = result_of({}, test, None)
    assert set(result.write(tmp_path / "out")) == {"json", "figure"}
    assert result.document()["suggestion"] is None
    show_lr_range(result, {"json": "a", "figure": "b"}, "table")
    printed = capsys.readouterr()
    assert test.notes[0] in printed.err
    assert "--set" not in printed.out


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "lr-range-faces-1").mkdir()
    with pytest.raises(UserError) as error:
        result_of({}).write(tmp_path / "lr-range-faces-1")
    assert str(error.value) == f"{tmp_path}/lr-range-faces-1 exists; name another folder, or remove it first"
    assert not list((tmp_path / "lr-range-faces-1").iterdir())
    assert free_folder("data/faces.npz", tmp_path) == tmp_path / "lr-range-faces-2"


@pytest.mark.parametrize(("low", "high"), [(1.0, 1e-6), (0.0, 1.0), (-1.0, 1.0), (0.1, 0.1), (math.nan, 1.0)])
def test_rates_that_do_not_rise_are_refused(low, high, vae_data_root):
    with pytest.raises(ConfigError) as error:
        lr_range({}, low=low, high=high, data_dir=vae_data_root)
    assert str(error.value) == (
        f"learning rates from {low:g} to {high:g} do not rise; low must be above 0 and below high"
    )


@pytest.mark.parametrize(("low", "high"), [(1e-6, math.inf), (1e-320, 1e10)])
def test_rates_that_are_too_far_apart_are_refused(low, high, vae_data_root):
    with pytest.raises(ConfigError) as error:
        lr_range({}, low=low, high=high, data_dir=vae_data_root)
    assert str(error.value) == (
        f"learning rates from {low:g} to {high:g} are too far apart; high and high / low must be finite"
    )


@given(st.floats(1e-6, 1), st.floats(2, 1e4), st.sampled_from([0.25, 1, math.sqrt(8), 32]))
def test_rounding_leads_no_bound_out_of_the_tested_rates(low, ratio, factor):
    high = low * ratio
    found = per_base_batch(Bounds(low, high), low, high, factor)
    assert low / factor <= found.base < found.max <= high / factor


def test_what_is_noted_of_the_data_is_told_with_the_test(digits, capsys):
    likelihood = "digits: 1199 training, 299 validation and 299 test examples of 8×8; likelihood gaussian (the values"
    assert digits.document()["notes"][0].startswith(likelihood)
    show_lr_range(digits, {"json": "a", "figure": "b", "sweep": "c", "config": "d"}, "table")
    assert likelihood in capsys.readouterr().err


def test_a_users_model_is_tried_before_the_test(nets, vae_data_root):
    with pytest.raises(ConfigError, match=rf"^model\.kind: {nets}:NoParameters: it has no trainable parameters; "):
        lr_range({"model": {"kind": f"{nets}:NoParameters"}}, data_dir=vae_data_root)


@pytest.mark.parametrize(("linear", "scale"), [(False, "log"), (True, "linear")])
def test_the_figure_marks_the_bounds_on_labelled_axes(linear, scale):
    [axes] = lr_range_figure(CURVE, "digits", 32, linear=linear).axes
    assert axes.get_xscale() == scale
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "learning rate, as used with batches of 32",
        "loss [nats per example]",
    )
    marked = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert marked == [CURVE.bounds.base, CURVE.bounds.max]
    low, high = axes.get_ylim()
    assert low < CURVE.smoothed.min() < CURVE.smoothed[0] < high


def test_a_figure_needs_no_display_and_leaves_no_global_state():
    figures = "tuner.reports.figures.lr_range, tuner.reports.figures.pareto_front"
    code = f"import sys, {figures}; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
