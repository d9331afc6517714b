"""A driver that is told to stop does so while MLflow is given the rest: with a result, and the first signal's code."""

import signal
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tuner.running import driver

FOR_EVER = 1e6
AWAY = {"tracking.offline": False, "tracking.uri": "http://127.0.0.1:9"}


@pytest.fixture
def signalled(sweeps, monkeypatch):
    """signalled(in training, while sending) → (result, how often it was told what is waited for)."""
    trained = driver._run_tune

    def run(in_training, while_sending):
        def train(plan, journal, *rest):
            if in_training:
                signal.raise_signal(in_training)
            trained(plan, journal, *rest)

        def sending(unsent, error):
            told.append(unsent)
            if while_sending:
                signal.raise_signal(while_sending)

        @contextmanager
        def progress(*_):
            yield SimpleNamespace(event=lambda event: None, sending=sending)

        told = []
        monkeypatch.setattr(driver, "_check", lambda plan: None)
        monkeypatch.setattr(driver, "_run_tune", train)
        monkeypatch.setattr("tuner.tracking.tracker._NOTE_SECONDS", 0.05)
        result = driver.run_sweep(sweeps.plan("s", **AWAY), progress)
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


def test_outside_the_main_thread_the_process_keeps_its_own_way():
    handlers = []

    def look():
        with driver.Signals().cutting_short():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
