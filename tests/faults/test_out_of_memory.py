"""Ray kills workers where the machine's memory runs out, and Tune's loop dies of it; the sweep goes on."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.bench]

MARGIN = 4 * 2**30  # for the sweep itself and whatever else runs here
OVER = 2**29


def test_workers_killed_for_lack_of_memory_go_on_from_their_checkpoints(new_driver, tally):
    total, available = _memory()
    if available < 2 * MARGIN:
        pytest.skip(f"needs {2 * MARGIN / 2**30:g} GiB of free memory, to run out of some of it safely")
    limits = {
        "RAY_memory_usage_threshold": f"{(total - available + MARGIN) / total:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    driver = new_driver(limits)
    endless = (
        "--trials",
        "1",
        "--epochs",
        "300",
        "--space",
        "lr",
        "--scheduler",
        "none",
        "--offline",
        "--concurrency",
        "1",
    )
    driver.start("sweep", "--name", "s", *endless).wait_for_lines(10)
    taken = []
    driver.wait_for(lambda: _fill(taken, available) or _n_failures(driver) > 0)
    said = driver.seconds_until(lambda: "ran out of memory" in driver.err)
    taken.clear()
    assert driver.end() == 0, driver.err
    tally.add("worker killed for memory", 1, driver, said=said)
    (trial,) = driver.sweep.trials.values()
    first, *later = [event["kind"] for event in driver.events if event["event"] == "failure"]
    assert first == "memory"
    assert trial.alone
    assert trial.failures == len(later), "it shared the memory of the machine when it first ran out"
    assert [report.epoch for report in trial.reports] == list(range(1, 301))


def _fill(taken, available):
    """Take memory, bit by bit, until what is used of the machine's is beyond the threshold."""
    if _memory()[1] > available - MARGIN - OVER:
        taken.append(b"x" * 2**28)


def _n_failures(driver):
    return sum(event["event"] == "failure" for event in driver.events)


def _memory():
    """Total and available bytes of the machine."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
