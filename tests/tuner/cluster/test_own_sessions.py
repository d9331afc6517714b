"""What Ray starts leads sessions of its own, and ends with the process that started it, however that ends."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from drivers import wait_until_gone
from ray._private import services

from tuner.cluster.own_sessions import end_sessions, in_own_sessions

FAMILY = "sleep 60 & echo $!; wait"
KILLED = f"""
import os
from ray._private import services
from tuner.cluster.own_sessions import in_own_sessions

with in_own_sessions():
    os.write(1, b"%d\\n" % services.ConsolePopen(["sh", "-c", {FAMILY!r}]).pid)  # in one piece, beside its child's
    services.ConsolePopen(["true"]).wait()
while True:
    os.read(0, 1) or os.kill(os.getpid(), 9)
"""


@pytest.fixture
def family():
    """The ids of a process started in a session of its own, and of its child."""
    with in_own_sessions():
        process = services.ConsolePopen(["sh", "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    yield process.pid, int(process.stdout.readline())
    end_sessions()
    process.wait(10)
    process.stdout.close()


def test_a_signal_to_our_group_does_not_reach_it(family):
    assert {os.getsid(pid) for pid in family} == {family[0]}
    assert family[0] not in (os.getsid(0), os.getpgid(0))


def test_all_of_a_session_ends(family):
    end_sessions()
    wait_until_gone(family)


def test_nothing_is_left_where_ray_does_not_start():
    def fail():
        with in_own_sessions():
            started.append(services.ConsolePopen(["sleep", "60"]))
            raise RuntimeError

    started = []
    with suppress(RuntimeError):
        fail()
    assert started[0].wait(10) == -signal.SIGKILL


def test_it_ends_with_a_process_that_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert {os.getsid(pid) for pid in pids} & {*pids}
        process.stdin.close()
        assert process.wait(60) == -signal.SIGKILL
        wait_until_gone(pids)
