import math
import sys
from itertools import product

import pytest
import torch

from trainables.config.paths import parse_config, variants
from trainables.data.dataset import data_facts, load
from trainables.errors import UserError
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from tuner.sweeps.metrics import METRICS, direction_of, is_result, is_usable, rank_key, why_not_ranked


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("val/elbo", "max"),
        ("val/elbo_cal", "max"),
        ("val/active_units", "max"),
        ("val/mutual_info", "max"),
        ("val/nll", "min"),
        ("val/mse", "min"),
        ("val/kl", "min"),
        ("train/loss", "min"),
    ],
)
def test_a_metric_knows_its_direction(metric, direction):
    assert direction_of(metric) == direction


def test_nobody_selects_on_test():
    with pytest.raises(UserError, match=r"test data must not select.*--metric val/elbo"):
        direction_of("test/elbo")


def test_an_unknown_metric_is_an_error_that_names_the_nearest():
    with pytest.raises(UserError, match=r"val/ebo.*did you mean `val/elbo`"):
        direction_of("val/ebo")
    with pytest.raises(UserError, match="known: val/elbo_cal, val/elbo"):
        direction_of("accuracy")


def test_each_metric_says_in_one_sentence_what_it_rewards():
    for info in METRICS.values():
        assert info.rewards.startswith("rewards ")
        assert not info.rewards.endswith(".")


def test_what_a_database_makes_of_infinity_is_not_usable():
    for value in (math.nan, math.inf, -math.inf, sys.float_info.max, -sys.float_info.max):
        assert not is_usable(value)
    assert is_usable(-1e300)


def test_ranking_is_by_direction_then_by_trial():
    rows = [(1.0, "0002"), (3.0, "0001"), (3.0, "0000")]
    ranked = {d: [t for _, t in sorted(rows, key=lambda row: rank_key(row[0], d, row[1]))] for d in ("max", "min")}
    assert ranked == {"max": ["0000", "0001", "0002"], "min": ["0002", "0000", "0001"]}


VALUES = [{}, {"m": 1.0}, {"m": math.inf}]
ESTIMATES = [{"val/mutual_info": 6.5, "val/marginal_kl": 0.5, "val/mi_saturated": float(flag)} for flag in (0, 1)]


@pytest.mark.parametrize("metrics", [("m",), ("val/mutual_info",), ("val/marginal_kl",), ("m", "val/mutual_info")])
def test_a_trial_is_named_exactly_where_it_cannot_be_ranked(metrics):
    trials = {f"{n:04}": {**one, **other} for n, (one, other) in enumerate(product(VALUES, ESTIMATES))}
    said = why_not_ranked(trials.items(), metrics)
    for trial, values in trials.items():
        refused = not all(is_result(values, metric) for metric in metrics)
        alone = why_not_ranked([(trial, values)], metrics)
        assert [text.startswith(f"trial {trial}: ") for text in alone] == [True] * refused
        assert not refused or any(text.endswith(alone[0].removeprefix(f"trial {trial}: ")) for text in said)


def test_many_trials_are_counted():
    (said,) = why_not_ranked([(f"{n:04}", {}) for n in range(9)], ["m"])
    assert said == "trials 0000, 0001, 0002 and 6 more: m was not reported, or was not finite"


QUALIFIERS = {"epoch", "train/grad_norm", "val/mi_cap", "val/mi_saturated", "val/nll_bias", "val/nll_drop"}


@pytest.fixture
def trainer(vae_data_root):
    """Of a tiny trial on 100 digits."""

    def build(objective="elbo", binarize="none"):
        data = {"n_train": 100, "binarize": binarize}
        tree = {"model": {"hidden": [8]}, "objective": {"kind": objective}, "metrics": {"nll_samples": 10}, "epochs": 1}
        config = parse_config({"data": data, **tree})
        config = resolve(config, data_facts(config.data, vae_data_root))
        return Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))

    return build


@pytest.mark.parametrize("binarize", ["none", "fixed"])
@pytest.mark.parametrize("objective", variants("objective"))
def test_what_can_be_ranked_by_is_what_a_trial_reports(objective, binarize, trainer):
    """But for what it is set to, its place in the schedule, and what only qualifies another metric."""
    reported = set(trainer(objective, binarize).train_epoch().metrics)
    ranked = {name for name in reported - QUALIFIERS if not name.startswith(("schedule/", "geco/"))}
    assert reported > QUALIFIERS
    assert ranked == set(METRICS) - ({"val/elbo_cal"} if binarize == "fixed" else set())


def test_each_test_metric_is_refused_in_favour_of_one_that_can_be_ranked_by(trainer):
    found = trainer().test_metrics().keys() - {"test/nll_bias", "test/nll_drop"}
    assert {"test/nll", "test/elbo_cal"} < found
    for name in found:
        assert name.replace("test/", "val/") in METRICS
        with pytest.raises(UserError, match="test data must not select"):
            direction_of(name)
