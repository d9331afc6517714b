"""A sweep that is told to stop, or cannot write, stops in order: a sentence, the way on, and nothing corrupted."""

import signal

import pytest

pytestmark = pytest.mark.faults


def test_signals_close_every_run_and_the_printed_command_goes_on(
    driver, start, undisturbed, record, runs, projected, uri, tally
):
    driver.start(*start)
    for sent, code, lines in ((signal.SIGINT, 130, 8), (signal.SIGTERM, 143, 30)):
        assert driver.wait_for_lines(lines).send(sent).end() == code, driver.err
        assert "Traceback" not in driver.err
        assert driver.sweep.finished == "interrupted"
        assert runs(uri)[""].info.status == "KILLED"
        projected(driver.events, uri)
        (way_on,) = [line for line in driver.err.splitlines() if line.startswith("Go on with: ")]
        driver.start(*way_on.split()[-2:])
    assert driver.end() == 0, driver.err
    tally.add("Ctrl-C, SIGTERM", 2, driver, uri, undisturbed)
    assert record(driver.events) == record(undisturbed.events)
    projected(driver.events, uri)


def test_full_disks_and_damaged_files_cost_no_more_than_time(driver, start, undisturbed, record, tally):
    driver.start(*start, "--offline").wait_for_lines(12)
    driver.limit_files(driver.journal.stat().st_size + 700, driver.pid)
    _stopped(driver, "journal.jsonl cannot be written: ")

    driver.start("resume", "s", "--offline").wait_for_lines(driver.n_lines + 5)
    workers = driver.workers(1)
    driver.wait_for(lambda: (running := _running(driver)) and running.epochs == 3)
    driver.limit_files(100_000, *workers)
    _stopped(driver, "cannot be written: ")
    assert not list(driver.folder.glob("sweeps/s/trials/*/.*"))

    newest = max(driver.folder.glob(f"sweeps/s/trials/{_running(driver).id}/epoch-*"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    content = driver.journal.read_bytes()
    driver.journal.write_bytes(content[: content.rindex(b'"event": "report"') + 50])
    assert driver.start("resume", "s", "--offline").end() == 0, driver.err
    (warning,) = [line for line in driver.err.splitlines() if line.startswith("Warning: ")]
    assert newest.name in warning
    assert "the checkpoint before it is taken" in warning
    tally.add("full disks, damaged files", 4, driver, reference=undisturbed)
    assert record(driver.events) == record(undisturbed.events)


def _running(driver):
    return next((trial for trial in driver.sweep.trials.values() if trial.unfinished), None)


def _stopped(driver, cause):
    """Exit code 1, one sentence, the way on, and a journal that can be read."""
    assert driver.end() == 1, driver.err
    (sentence,) = [line for line in driver.err.splitlines() if line.startswith("Stopped: ")]
    assert cause in sentence
    assert "resume s" in driver.err
    assert "Traceback" not in driver.err
    assert driver.sweep.resumable
