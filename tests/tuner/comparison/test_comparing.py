"""The command on the page: all that was asked for, and where."""

import shlex
from pathlib import Path

from trainables.data.readers import data_dir
from tuner.comparison.request import Request, command_of
from tuner.running.comparison_stages import ComparisonRun
from tuner.running.comparisons import repeating


def test_the_command_says_what_is_not_as_by_default():
    run = ComparisonRun(
        Request("c"),
        Path("/d"),
        storage=Path("/s t"),
        reports=Path("/r"),
        experiment="e",
        tracking_uri="sqlite:///m.db",
        offline=True,
        resources={"resources.cpus_per_trial": 0.5, "resources.gpus_per_trial": "auto", "resources.concurrency": 2},
    )
    words = shlex.split(repeating(run))
    assert words[words.index("--concurrency") :] == [
        "--concurrency", "2", "--cpus-per-trial", "0.5", "--gpus-per-trial", "auto", "--data-dir", "/d",
        "--experiment", "e", "--tracking-uri", "sqlite:///m.db", "--offline", "--storage", "/s t", "--reports", "/r",
    ]  # fmt: skip
    assert repeating(ComparisonRun(Request("c"), data_dir(None))) == command_of(Request("c"))


def test_the_command_holds_no_password():
    run = ComparisonRun(Request("c"), data_dir(None), tracking_uri="http://user:secret@host:5000")
    assert repeating(run) == command_of(Request("c"))
