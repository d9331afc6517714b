"""A driver that is told to stop does so at every moment, with a result and the first signal's code."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from tuner import cli
from tuner.cluster import signals
from tuner.cluster.signals import STOPS, StoppedError, StopSignal, handler_kept, stop_signals
from tuner.running import driver, search_loop

FOR_EVER = 1e6
AWAY = {"tracking.offline": False, "tracking.uri": "http://127.0.0.1:9"}


@pytest.fixture
def signalled(sweeps, monkeypatch):
    """signalled(in training, while sending) → (the result so far, how often it was told what is waited for)."""
    trained = search_loop.run

    def run(in_training, while_sending):
        def train(session, tracker):
            if in_training:
                signal.raise_signal(in_training)
                session.signals.check()
            trained(session, tracker)

        def sending(unsent, error):
            told.append(unsent)
            if while_sending:
                signal.raise_signal(while_sending)

        @contextmanager
        def progress(*_):
            yield SimpleNamespace(event=lambda event: None, sending=sending)

        told = []
        monkeypatch.setattr(driver, "require_ready", lambda plan: None)
        monkeypatch.setattr(search_loop, "run", train)
        monkeypatch.setattr("tuner.tracking.tracker.NOTE_SECONDS", 0.05)
        with pytest.raises(StoppedError) as stopped:
            driver.run_sweep(sweeps.plan("s", **AWAY), progress)
        result = stopped.value.result
        assert result.exit_code == stopped.value.exit_code
        assert result.unsent == len(sweeps.events("s")), "what is left is for `sync`"
        return result, told

    return run


@pytest.mark.parametrize(
    ("in_training", "while_sending", "code"),
    [
        (signal.SIGTERM, signal.SIGINT, 143),
        (signal.SIGINT, signal.SIGTERM, 130),
        (None, signal.SIGINT, 130),
        (None, signal.SIGTERM, 143),
        (signal.SIGHUP, signal.SIGHUP, 129),
    ],
)
def test_a_signal_ends_the_sending_at_once(in_training, while_sending, code, signalled, monkeypatch):
    monkeypatch.setattr(driver, "SEND_SECONDS", FOR_EVER)
    monkeypatch.setattr(driver, "SEND_SECONDS_AFTER_A_SIGNAL", FOR_EVER)
    result, told = signalled(in_training, while_sending)
    assert (result.exit_code, len(told)) == (code, 1)
    assert result.finished == ("interrupted" if in_training else "completed")


def test_who_was_told_to_stop_sends_for_seconds_only(signalled, monkeypatch):
    monkeypatch.setattr(driver, "SEND_SECONDS", FOR_EVER)
    monkeypatch.setattr(driver, "SEND_SECONDS_AFTER_A_SIGNAL", 0.5)
    result, told = signalled(signal.SIGTERM, None)
    assert (result.exit_code, result.finished) == (143, "interrupted")
    assert told


def test_a_signal_before_anything_is_written_leaves_nothing(sweeps, monkeypatch):
    def measure(plan, measuring):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(driver, "require_ready", lambda plan: None)
    monkeypatch.setattr(driver, "reached", measure)
    with pytest.raises(StoppedError, match=r"^Stopped by SIGTERM; it had written nothing$") as stopped:
        driver.run_sweep(sweeps.plan("s"))
    assert (stopped.value.result, stopped.value.exit_code) == (None, 143)
    assert not sweeps.storage.exists()


def test_a_loop_that_ends_while_trials_run_completes_nothing(sweeps, planned_loop, monkeypatch):
    """Tune's own handler of SIGUSR1 ends its loop so."""
    trained = search_loop.run
    monkeypatch.setattr(driver, "require_ready", lambda plan: None)
    monkeypatch.setattr(search_loop, "run", lambda own, _: planned_loop(own.plan, own.journal).run(n_results=4))
    result = driver.run_sweep(sweeps.plan("s", **{"scheduler.kind": "none"}))
    assert (result.finished, result.exit_code) == ("interrupted", 1)
    monkeypatch.setattr(search_loop, "run", trained)
    assert sweeps.resume("s").stop_reasons == {"completed": 4}


def test_a_plain_interrupt_that_native_code_makes_of_a_signal_stops_in_order(sweeps, monkeypatch):
    """Ray's wait does."""

    def train(*given):
        signal.raise_signal(signal.SIGINT)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "require_ready", lambda plan: None)
    monkeypatch.setattr(search_loop, "run", train)
    with pytest.raises(StoppedError, match="what was finished of s is kept") as stopped:
        driver.run_sweep(sweeps.plan("s"))
    assert (stopped.value.result.finished, stopped.value.exit_code) == ("interrupted", 130)


def test_a_signal_as_the_journal_is_begun_is_kept_until_it_can_be_ended(sweeps, monkeypatch):
    begun, trained, first = driver.begin_journal, search_loop.run, [signal.SIGINT]

    def begin(*given):
        signal.raise_signal(first.pop())
        return begun(*given)

    monkeypatch.setattr(driver, "require_ready", lambda plan: None)
    monkeypatch.setattr(driver, "begin_journal", begin)
    monkeypatch.setattr(
        search_loop, "run", lambda session, tracker: session.signals.check() or trained(session, tracker)
    )
    with pytest.raises(StoppedError) as stopped:
        driver.run_sweep(sweeps.plan("s"))
    assert [event["event"] for event in sweeps.events("s")] == ["header", "finish"]
    assert stopped.value.result.finished == "interrupted"
    assert sweeps.resume("s").finished == "completed"


def stop_of(run):
    """What ends run(signals), under its own signals."""

    def under_signals():
        with stop_signals() as heard:
            run(heard)

    with pytest.raises(StoppedError) as stopped:
        under_signals()
    return stopped.value


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_is_kept_until_someone_asks(number):
    def run(heard):
        with heard.kept():
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT)
        heard.check()

    stop = stop_of(run)
    assert (stop.number, stop.exit_code) == (number, 128 + number)
    assert isinstance(stop, KeyboardInterrupt)


def test_a_signal_that_came_before_interrupts_at_once():
    def run(heard):
        with heard.kept():
            signal.raise_signal(signal.SIGTERM)
        with heard.interrupting():
            pytest.fail("it has been told to stop")

    assert stop_of(run).number == signal.SIGTERM


def test_what_swallows_the_interruption_or_hangs_is_interrupted_again(monkeypatch):
    monkeypatch.setattr(signals, "OVERDUE_SECONDS", 0.05)
    times = 0
    with stop_signals() as heard:
        signal.raise_signal(signal.SIGTERM)
        for region in (heard.kept(0.05), heard.kept(0.05)):
            try:
                with region:
                    time.sleep(10)
            except StopSignal:
                times += 1
        heard.acknowledge()
    assert times == 2


def test_what_was_acted_on_interrupts_no_more(monkeypatch):
    monkeypatch.setattr(signals, "OVERDUE_SECONDS", 0.02)
    with stop_signals() as heard:
        with heard.kept():
            signal.raise_signal(signal.SIGTERM)
            heard.acknowledge()
            time.sleep(0.2)
        with heard.interrupting():
            signal.raise_signal(signal.SIGTERM)
    assert heard.received == signal.SIGTERM


@pytest.mark.parametrize("waits", [Future().result, lambda: time.sleep(600)])
def test_a_signal_interrupts_whatever_is_waited_for(waits):
    def run(heard):
        with heard.interrupting():
            threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()
            waits()

    assert stop_of(run).number == signal.SIGTERM


def test_a_signal_that_is_kept_does_not_end_the_wait():
    done = Future()

    def run(heard):
        with heard.kept():
            threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGTERM]).start()
            threading.Timer(0.2, done.set_result, [1]).start()
            assert done.result() == 1
        heard.check()

    assert stop_of(run).number == signal.SIGTERM


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_stays_ignored_where_it_is(number):
    """As SIGHUP under nohup, and SIGINT in what a script's shell has put into the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_signals() as heard, heard.interrupting():
            signal.raise_signal(number)
            time.sleep(0.01)
            assert signal.getsignal(number) is signal.SIG_IGN
        assert heard.received is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_what_a_process_does_at_sighup_itself_stays():
    """As a service that reads its settings anew."""
    came = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: came.append(number))
    try:
        with stop_signals() as heard:
            signal.raise_signal(signal.SIGHUP)
        assert (came, heard.received) == ([signal.SIGHUP], None)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_handler_that_others_set_meanwhile_is_undone():
    """Tune's of SIGUSR1 would keep its whole loop."""
    before = signal.getsignal(signal.SIGUSR1)
    with suppress(ZeroDivisionError), handler_kept(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGUSR1) is before


LEAVES = """
import atexit, os, signal, sys, time
from tuner.cluster.ray_thread import leave_process

number = int(sys.argv[1])
signal.signal(number, signal.default_int_handler)
atexit.register(lambda: os.kill(os.getpid(), number) or time.sleep(20))
print("result")
leave_process(0)
"""


STAYS = """
import atexit, sys, threading, time
from tuner.cluster.ray_thread import leave_process

class Costly:
    def __del__(self):
        time.sleep(600)

sys.costly = Costly()
threading.Thread(target=time.sleep, args=(600,)).start()
atexit.register(print, "at the end")
print("result")
leave_process(7)
"""


def test_a_process_ends_without_taking_itself_apart():
    """Modules, and what they hold, took ten seconds on a busy machine; what waits for the end is still called."""
    done = subprocess.run([sys.executable, "-c", STAYS], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (7, "result\nat the end\n", "")


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_after_the_result_ends_the_process_without_a_word(number):
    done = subprocess.run(
        [sys.executable, "-c", LEAVES, str(int(number))], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-number, "result\n", "")


def test_a_signal_between_the_result_and_the_end_is_no_stack_trace(monkeypatch):
    def late():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", late)
    codes = []
    monkeypatch.setattr(cli, "leave_process", codes.append)
    cli.main()
    assert codes == [130]


def test_handlers_are_as_before_and_a_late_signal_is_theirs():
    before = [signal.getsignal(number) for number in STOPS]
    with pytest.raises(KeyboardInterrupt) as late, stop_signals():
        signal.raise_signal(signal.SIGINT)
    assert not isinstance(late.value, StoppedError)
    assert [signal.getsignal(number) for number in STOPS] == before


def test_a_terminal_is_told_at_once_and_nobody_else():
    terminal, of_user = os.openpty()[::-1]
    told = _told_on(terminal, of_user)
    assert told == "\r\nStopping; finished epochs are kept\r\n."
    reader, pipe = os.pipe()
    assert _told_on(pipe, reader) == "."


def _told_on(writer, reader):
    """What is written to standard error when a signal comes, and a dot after it."""
    kept = os.dup(2)
    os.dup2(writer, 2)
    try:
        with stop_signals() as heard, heard.kept():
            heard.answer = signals.STOPPING
            signal.raise_signal(signal.SIGINT)
            heard.acknowledge()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    os.write(writer, b".")
    found = os.read(reader, 1000).decode()
    while not found.endswith("."):
        found += os.read(reader, 1000).decode()
    os.close(writer)
    os.close(reader)
    return found


def test_outside_the_main_thread_the_process_keeps_its_own_way():
    handlers = []

    def look():
        with stop_signals() as heard, heard.cutting_short():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
