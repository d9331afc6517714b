"""The command on the page: all that was asked for, and where."""

import shlex
from pathlib import Path

from tuner.comparison.request import Request, command_of
from tuner.running.comparisons import Settings, _options


def test_the_command_says_what_is_not_as_by_default():
    settings = Settings(
        storage=Path("/s t"),
        reports=Path("/r"),
        chosen_data_dir=Path("/d"),
        experiment="e",
        tracking_uri="sqlite:///m.db",
        offline=True,
        options={"resources.cpus_per_trial": 0.5, "resources.gpus_per_trial": "auto", "resources.concurrency": 2},
    )
    words = shlex.split(command_of(Request("c"), _options(settings)))
    assert words[words.index("--concurrency") :] == [
        "--concurrency", "2", "--cpus-per-trial", "0.5", "--gpus-per-trial", "auto", "--data-dir", "/d",
        "--experiment", "e", "--tracking-uri", "sqlite:///m.db", "--offline", "--storage", "/s t", "--reports", "/r",
    ]  # fmt: skip
    assert command_of(Request("c"), _options(Settings())) == command_of(Request("c"))


def test_the_command_holds_no_password():
    assert _options(Settings(tracking_uri="http://user:secret@host:5000")) == {}
