"""The line that a sweep shows where stderr is no terminal."""

import re

from tuner.running import driver
from tuner.terminal import progress
from tuner.terminal.progress import SweepProgress


def test_a_line_has_what_there_is_and_nothing_between_two_dots(sweeps, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    driver.run_sweep(sweeps.plan("s", **{"scheduler.kind": "none"}), SweepProgress)
    lines = [line for line in capsys.readouterr().err.splitlines() if re.match(r"\d/4 trials", line)]
    rate = r"\d+\.\d epochs/s"
    assert re.fullmatch(rf"0/4 trials · {rate}", lines[0])
    best = r"best val/elbo_cal 3 \(trial 0002\)"
    assert re.fullmatch(rf"4/4 trials · 4 completed · {rate} · {best}", lines[-1])
    assert not [line for line in lines if re.search(r"·\s*·|·\s*$", line)]
