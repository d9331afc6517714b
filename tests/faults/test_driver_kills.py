"""A driver that dies at any moment loses nothing, and a resumed search decides as the undisturbed one."""

import random
import time

import pytest

KILLS = 20
MOMENTS = (4, 20, 42)
"""How many lines the journal has when the driver is killed."""


@pytest.mark.faults
@pytest.mark.bench
def test_three_kills_leave_the_record_of_an_undisturbed_sweep(
    driver, start, undisturbed, record, runs, projected, uri, tally
):
    """One kill more is among the signals of `test_orderly_stops`, hundreds are in `tuner/test_crashes`."""
    driver.start(*start)
    known = {}
    for lines in MOMENTS:
        driver.wait_for_lines(lines).kill()
        seen = {trial: run.info.run_id for trial, run in runs(uri).items()}
        assert known.items() <= seen.items()
        known = seen
        driver.start("resume", "s")
    assert driver.end() == 0, driver.err
    tally.add("driver killed while it trains", len(MOMENTS), driver, uri, undisturbed)
    assert record(driver.events) == record(undisturbed.events)
    assert len({event["session"] for event in driver.events}) == 1 + len(MOMENTS)
    final = {trial: run.info.run_id for trial, run in runs(uri).items()}
    assert known
    assert known.items() <= final.items()
    projected(driver.events, uri)


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_twenty_kills_at_random_moments(driver, new_driver, record, projected, uri, tally):
    """Most moments fall into the start of Ray and of its worker; the others into training."""
    longer = ("sweep", "--name", "s", "--trials", "60", "--epochs", "40", "--grace", "4", "--concurrency", "1")
    undisturbed = new_driver({}, "undisturbed")
    began = time.time()
    assert undisturbed.start(*longer, "--offline").end() == 0, undisturbed.err
    startup = next(event["t"] for event in undisturbed.events if event["event"] == "report") - began

    moments = random.Random(0)
    driver.start(*longer).wait_for_lines(1)
    for _ in range(KILLS):
        time.sleep(moments.uniform(0, startup + 4))
        assert driver.running, driver.err
        driver.kill().start("resume", "s")
    assert driver.end() == 0, driver.err
    tally.add("driver killed at random, Ray's start included", KILLS, driver, uri, undisturbed)
    assert record(driver.events) == record(undisturbed.events)
    projected(driver.events, uri)
