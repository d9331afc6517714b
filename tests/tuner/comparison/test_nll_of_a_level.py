"""Which of the path's runs get an NLL, and under which likelihood."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tuner.comparison import running
from tuner.comparison.likelihood import measured_level
from tuner.comparison.request import Request


@pytest.mark.parametrize("sigma", [0.15, None])
def test_the_runs_of_one_level_are_measured_under_the_sigma_of_its_weight(sigma, design, drawn, follow, monkeypatch):
    def told(measure, file, folders, data_dir, cpus, on_done):
        assert file == "nll.json"
        return {folder: {"test/nll": measure.keywords} for folder in folders}

    monkeypatch.setattr(running, "measured", told)
    of = design("geco", "beta", sigma=sigma)
    levels, _, path = follow(of, drawn())
    path = [replace(each, folder=Path(str(i))) for i, each in enumerate(path)]
    place = running.Place(Path(), Path(), {}, None, lambda stage, n: nullcontext(lambda: None))
    level = measured_level(levels)
    found = running._Stages(Request("c"), of, place).with_nll(path, level)
    sigma_eq = None if sigma is None else (2 * level.weight) ** -0.5
    for before, after in zip(path, found, strict=True):
        taken = {"test/nll": {"samples": 1000, "sigma": sigma_eq}} if before.run.kappa == level.kappa else {}
        assert after == replace(before, test={**before.test, **taken})
    assert running._Stages(Request("c"), of, place).with_nll(path, None) == path
