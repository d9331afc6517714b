"""A sweep that is told to stop, or cannot write, stops in order: a sentence, the way on, and nothing corrupted."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from drivers import all_runs, wait_until_gone

pytestmark = pytest.mark.faults

STOP_SECONDS = 10.0
SLOWED = 2.0  # where tests run beside each other
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONG = ("sweep", "--name", "s", "--trials", "4", "--epochs", "300", "--concurrency", "1", "--scheduler", "none")


def test_a_kill_loses_nothing_and_signals_close_every_run_and_the_printed_command_goes_on(
    driver, start, undisturbed, record, runs, projected, uri, tally
):
    """SIGHUP while Ray starts, when MLflow may have no run yet; the others while trials train.

    SIGINT is among the stops of `test_every_signal_to_driver_and_group`, and ends the sweep of `test_mlflow_away`.
    """
    driver.start(*start).wait_for_lines(1)
    seconds = [stopped(driver, signal.SIGHUP, to_group=False)]
    assert driver.sweep.finished == "interrupted"

    driver.start(*way_on(driver)).wait_for_lines(20).kill()
    known = {trial: run.info.run_id for trial, run in runs(uri).items()}

    driver.start("resume", "s").wait_for_lines(32)
    seconds.append(stopped(driver, signal.SIGTERM, to_group=True))
    assert max(seconds) < SLOWED * STOP_SECONDS
    assert driver.sweep.finished == "interrupted"
    assert runs(uri)[""].info.status == "KILLED"
    projected(driver.events, uri)

    assert driver.start(*way_on(driver)).end() == 0, driver.err
    tally.add("SIGHUP, a kill, SIGTERM to the group", 3, driver, uri, undisturbed, max(seconds))
    assert record(driver.events) == record(undisturbed.events)
    assert len({event["session"] for event in driver.events}) == 1 + 3
    projected(driver.events, uri)
    assert known.items() <= {trial: run.info.run_id for trial, run in runs(uri).items()}.items()


def stopped(driver, sent, to_group):
    """Seconds until the driver has ended as this signal says, in sentences."""
    began = time.monotonic()
    assert driver.send(sent, to_group=to_group).end() == 128 + sent, driver.err
    seconds = time.monotonic() - began
    assert f"Stopped by {sent.name}" in driver.err
    assert "Traceback" not in driver.err
    assert "***" not in driver.err, "Ray's own text"
    return seconds


def way_on(driver):
    """The arguments of the command that goes on, as it was printed."""
    (line,) = [line for line in driver.err.splitlines() if line.startswith("Go on with: ")]
    return line.split()[-2:]


@dataclass(frozen=True)
class Moment:
    """come: whether it has come for a driver. begun: whether the sweep has a journal by then."""

    says: str
    come: Callable
    begun: bool


MOMENTS = (
    Moment("the command begins", lambda driver: driver.hears(signal.SIGHUP), False),
    Moment("PyTorch is loaded", lambda driver: driver.has_loaded(b"libtorch"), False),
    Moment("κ_min is measured", lambda driver: driver.started(b"trainables.worker.kappa_min"), False),
    Moment("Ray starts", lambda driver: driver.started(b"gcs_server"), True),
    Moment("Ray's node has come", lambda driver: driver.started(b"raylet"), True),
    Moment("a trial is handed out", lambda driver: driver.n_lines > 1, True),
    Moment("a trial trains", lambda driver: driver.n_lines > 20, True),
)


COLUMNS = [(sent, to_group) for sent in STOPS for to_group in (False, True)]


@pytest.fixture(scope="module")
def seconds_by_moment():
    """Seconds from the signal to the end, by moment, in the order of COLUMNS: the table of `make faults`."""
    table = {}
    yield table
    print()
    print(f"{'stopped while':<24}", *(f"{sent.name + ' group' * to_group:>16}" for sent, to_group in COLUMNS))
    for says, row in table.items():
        print(f"{says:<24}", *(f"{seconds:>14.1f} s" for seconds in row))


@pytest.mark.bench
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.says)
def test_every_signal_to_driver_and_group(moment, new_driver, seconds_by_moment):
    """What has begun is resumable, and in MLflow nothing runs on; else nothing is written. No process is left."""
    row = seconds_by_moment[moment.says] = []
    for number, (sent, to_group) in enumerate(COLUMNS):
        driver = new_driver({}, f"{number}")
        driver.start(*LONG, "--space", "geco").wait_for(lambda driver=driver: moment.come(driver))
        started = driver.started(b"")
        row.append(stopped(driver, sent, to_group))
        assert row[-1] < STOP_SECONDS, (moment.says, sent, to_group)
        assert driver.journal.exists() == moment.begun
        if moment.begun:
            assert driver.sweep.finished == "interrupted"
            assert way_on(driver) == ["resume", "s"]
            uri = f"sqlite:///{driver.folder}/mlflow.db"
            assert "RUNNING" not in {run.info.status for run in all_runs(uri)}
        wait_until_gone(started)


@pytest.mark.bench
def test_full_disks_and_damaged_files_cost_no_more_than_time(driver, start, undisturbed, record, tally):
    driver.start(*start, "--offline").wait_for_lines(12)
    driver.limit_files(driver.journal.stat().st_size + 700, driver.pid)
    seconds = [_stopped_full(driver, "journal.jsonl cannot be written: ")]

    driver.start("resume", "s", "--offline").wait_for_lines(driver.n_lines + 5)
    workers = driver.workers(1)
    driver.wait_for(lambda: (running := _running(driver)) and running.epochs == 3)
    driver.limit_files(100_000, *workers)
    seconds.append(_stopped_full(driver, "cannot be written: "))
    assert not list(driver.folder.glob("sweeps/s/trials/*/.*"))

    newest = max(driver.folder.glob(f"sweeps/s/trials/{_running(driver).id}/epoch-*"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    content = driver.journal.read_bytes()
    driver.journal.write_bytes(content[: content.rindex(b'"event": "report"') + 50])
    assert driver.start("resume", "s", "--offline").end() == 0, driver.err
    (warning,) = [line for line in driver.err.splitlines() if line.startswith("Warning: ")]
    assert newest.name in warning
    assert "the checkpoint before it is used" in warning
    tally.add("full disks, damaged files", 4, driver, reference=undisturbed, said=max(seconds))
    assert record(driver.events) == record(undisturbed.events)


def _running(driver):
    return next((trial for trial in driver.sweep.trials.values() if trial.unfinished), None)


def _stopped_full(driver, cause):
    """Exit code 1, one sentence, the way on, and a journal that can be read; seconds until the sentence."""
    seconds = driver.seconds_until(lambda: "Stopped: " in driver.err)
    assert driver.end() == 1, driver.err
    (sentence,) = [line for line in driver.err.splitlines() if line.startswith("Stopped: ")]
    assert cause in sentence
    assert "resume s" in driver.err
    assert "Traceback" not in driver.err
    assert driver.sweep.resumable
    return seconds
