"""A sweep whose state cannot be written stops in order, and its caller hears of it."""

import json

import pytest

from trainables.errors import StorageError
from tuner.running import search_loop

FULL = "journal.jsonl cannot be written: No space left on device; free some space"


@pytest.fixture
def full(planned_loop, sweeps, monkeypatch):
    """The disk is full after four reports."""

    def run(session, tracker):
        planned_loop(session.plan, session.journal).run(n_results=4)
        raise StorageError(FULL)

    whole = search_loop.run
    monkeypatch.setattr(search_loop, "run", run)
    return lambda: monkeypatch.setattr(search_loop, "run", whole)


def test_in_python_it_is_raised_with_what_there_is(full, sweeps):
    with pytest.raises(StorageError, match=r"^journal\.jsonl cannot be written: .*; free some space$") as stopped:
        sweeps.run("s", **{"scheduler.kind": "none"})
    result = stopped.value.result
    assert (result.finished, result.exit_code, result.epochs) == ("interrupted", 1, 4)
    full()
    assert sweeps.resume("s").stop_reasons == {"completed": 4}


def test_the_command_says_it_and_prints_what_there_is(full, sweeps, cli, tmp_path):
    given = ("--trials", 4, "--epochs", 3, "--offline", "--scheduler", "none", "--space", "lr", "--concurrency", 1)
    done = cli(tmp_path, "sweep", "--name", "s", "--format", "json", *given)
    assert done.code == 1
    assert f"Stopped: {FULL}, then go on with `vae-tuner resume`" in " ".join(done.err.split())
    assert json.loads(done.out)["epochs"] == 4
