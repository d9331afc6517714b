"""Which of the path's runs get an NLL, and under which likelihood."""

from dataclasses import replace
from pathlib import Path

import pytest

from tuner.comparison.likelihood import NllAnswer, answer_nll, measured_level
from tuner.comparison.request import Request
from tuner.comparison.statistics import Interval
from tuner.running import comparison_stages


@pytest.mark.parametrize("sigma", [0.15, None])
def test_the_runs_of_one_level_are_measured_under_the_sigma_of_its_weight(sigma, design, drawn, follow, monkeypatch):
    def told(measure, file, folders, data_dir, cpus, on_done):
        assert file == "nll.json"
        return {folder: {"test/nll": measure.keywords} for folder in folders}

    monkeypatch.setattr(comparison_stages, "measured", told)
    of = design("geco", "beta", sigma=sigma)
    levels, _, path = follow(of, drawn())
    path = [replace(each, folder=Path(str(i))) for i, each in enumerate(path)]
    run = comparison_stages.ComparisonRun(Request("c"), Path(), given_design=of)
    level = measured_level(levels)
    found = run.with_nll(path, level)
    sigma_eq = None if sigma is None else (2 * level.weight) ** -0.5
    for before, after in zip(path, found, strict=True):
        taken = {"test/nll": {"samples": 1000, "sigma": sigma_eq}} if before.run.kappa == level.kappa else {}
        assert after == replace(before, test={**before.test, **taken})
    assert run.with_nll(path, None) == path


def nll_answer(means, drop):
    values = {method: Interval(mean, mean - 1, mean + 1) for method, mean in means.items()}
    return NllAnswer(0.15, None, 1000, 900, values, dict.fromkeys(means, 0.2), drop)


@pytest.mark.parametrize(
    ("means", "drop", "unranked"),
    [
        ({"geco": 100.0, "beta": 110.0}, {"geco": 3.0, "beta": 9.0}, []),
        ({"geco": 100.0, "beta": 110.0}, {"geco": 3.0, "beta": 11.0}, ["geco", "beta"]),
        ({"geco": 100.0, "beta": 99.0, "linear": 104.0}, {"geco": 2.0, "beta": 1.0, "linear": 1.0}, ["beta", "geco"]),
        ({"geco": 100.0, "beta": 100.0}, {"geco": None, "beta": None}, []),
        ({"geco": 100.0}, {"geco": 5.0}, []),
    ],
)
def test_methods_nearer_than_their_estimates_still_fall_are_not_ranked(means, drop, unranked):
    assert nll_answer(means, drop).unranked == unranked


def test_the_drop_of_runs_that_did_not_record_it_is_not_known(design, drawn, follow):
    of = design("geco", "beta")
    levels, _, path = follow(of, drawn())
    taken = {"test/nll": 1.0, "test/nll_bias": 0.1, "test/nll_samples": 1e3, "test/nll_examples": 9e2}
    old = [replace(each, test={**each.test, **taken}) for each in path]
    new = [replace(each, test={**each.test, "test/nll_drop": 0.4}) for each in old]
    assert answer_nll(levels, old).drop == {"geco": None, "beta": None}
    assert answer_nll(levels, new).drop == pytest.approx({"geco": 0.4, "beta": 0.4})
