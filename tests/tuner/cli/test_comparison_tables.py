"""What a finished comparison says in a terminal beside its answer."""

from pathlib import Path

import pytest
from comparisons import compared

from tuner.cli.comparison_tables import show
from tuner.running.comparisons import Compared


@pytest.mark.parametrize(
    ("base", "rates"),
    [
        ({}, "0.0005, 0.001, 0.002"),
        ({"batch_size": 128}, "0.0005, 0.001, 0.002 × 2 (square-root scaling, batch 128 over base batch 32)"),
        (
            {"batch_size": 128, "lr.scaling": "linear"},
            "0.0005, 0.001, 0.002 × 4 (linear scaling, batch 128 over base batch 32)",
        ),
    ],
    ids=str,
)
def test_the_rates_in_use_and_the_epoch_that_counts_are_said(base, rates, capsys):
    show(Compared(compared("geco", "beta", pool=4, base=base), Path("index.html"), None), "table")
    lines = capsys.readouterr().out.splitlines()
    assert f"· learning rates: {rates}" in lines
    (ranking,) = [line for line in lines if "search.ranking" in line]
    assert ranking.startswith("· every run counts by its last epoch")
