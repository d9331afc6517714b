"""The line that a sweep shows where stderr is no terminal."""

import re

from tuner.cli import progress
from tuner.cli.progress import SweepProgress
from tuner.running import driver
from tuner.sweeps.status import known_sweep


def test_a_line_has_what_there_is_and_nothing_between_two_dots(sweeps, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    driver.run_sweep(sweeps.plan("s", **{"scheduler.kind": "none"}), SweepProgress)
    lines = [line for line in capsys.readouterr().err.splitlines() if re.match(r"\d/4 trials", line)]
    rate = r"\d+\.\d epochs/s"
    assert re.fullmatch(rf"0/4 trials · {rate}", lines[0])
    best = r"best val/elbo_cal 3 \(trial 0002\)"
    assert re.fullmatch(rf"4/4 trials · 4 completed · {rate} · {best}", lines[-1])
    assert not [line for line in lines if re.search(r"·\s*·|·\s*$", line)]


def test_a_long_path_to_the_store_is_one_word_to_copy(sweeps, capsys):
    plan, uri = sweeps.plan("s"), f"sqlite:///{'/long' * 30}/mlflow.db"
    driver.run_sweep(plan)
    sweep = known_sweep(sweeps.storage, "s")
    SweepProgress(plan, sweep, uri)
    assert f"Look at it with: mlflow ui --backend-store-uri {uri}\n" in capsys.readouterr().err
    SweepProgress(plan, sweep, "postgresql:///my db?password=hush")
    assert "mlflow ui --backend-store-uri 'postgresql:///my db?password=***'\n" in capsys.readouterr().err
    SweepProgress(plan, sweep, "http://127.0.0.1:5000")
    assert "\n\n" not in capsys.readouterr().err
