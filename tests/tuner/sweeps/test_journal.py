"""The journal keeps what was written, whatever was torn, and its fold is the same live and in replay."""

import gc
import json
import math
import resource
import signal
from copy import deepcopy

import pytest
from configs import ANY
from events import lines_of, new_event, parsed
from hypothesis import given
from hypothesis import strategies as st

from trainables.errors import StorageError
from tuner.sweeps.events import JournalError, parse_event
from tuner.sweeps.journal import Journal, read_journal
from tuner.sweeps.state import Sweep, fold

STAMP = {"session": "a", "t": 0.0}
HEADER = {"format": 1, "metric": "val/elbo", "direction": "max"}
ASK = {
    "number": 0,
    "assignment": {"lr.base": 1e-3},
    "config": {**ANY, "lr": {"kind": "constant", "base": 1e-3}},
    "method": "elbo",
}


def report(trial, epoch, value, reason=None, rung=None):
    return {
        "trial": trial,
        "epoch": epoch,
        "metrics": {"val/elbo": value},
        "decision": "stop" if reason else "continue",
        "reason": reason,
        "rung": rung,
        "cutoff": None,
        "outcome": None,
        "checkpoint": None,
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path):
    """A sweep of two trials, one at its end."""
    journal = Journal.create(path)
    journal.append(new_event("header", **HEADER))
    for trial in ("0000", "0001"):
        journal.append(new_event("ask", trial=trial, **ASK))
    journal.append(new_event("report", **report("0000", 1, -3.5, rung=1)))
    journal.append(new_event("report", **report("0001", 1, -4.0, "pruned", rung=1)))
    yield journal
    journal.close()


# --- what is written is what is read ----------------------------------------------------------------------------------

numbers = st.floats() | st.integers(-(2**60), 2**60)
texts = st.text(st.characters(codec=None), max_size=8)
plain_data = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.just("$float"), inner, max_size=2),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "value", [{"$float": "hello"}, {"$float": "nan"}, {"$float": math.inf}, {"$float": {"$float": [1]}}]
)
def test_what_a_user_writes_like_a_float_is_not_one(value, path):
    journal = Journal.create(path)
    journal.append(new_event("header", value=value))
    journal.close()
    assert repr(read_journal(path)[0]["value"]) == repr(value)


@given(values=st.lists(plain_data, min_size=1, max_size=4))
def test_events_of_any_plain_data_are_read_back_as_they_were(values, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal.create(path)
    for value in values:
        journal.append(new_event("header", value=value))
    journal.close()
    # repr tells nan from nan, -0.0 from 0.0 and 1 from 1.0
    assert repr([event["value"] for event in read_journal(path)]) == repr(values)
    assert repr(parsed(read_journal(path))) == repr(journal.events)


def test_the_live_event_is_the_one_a_reader_finds(journal, path):
    live = journal.append(new_event("header", value=(1, {"at": math.inf})))
    assert live == parsed(read_journal(path))[-1] == journal.events[-1]


def test_each_line_is_strict_json_on_its_own(journal, path):
    journal.append(new_event("header", value=math.nan, text="a\nb\u2028c\rd"))
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    refuse = pytest.fail
    assert [json.loads(line, parse_constant=refuse)["seq"] for line in lines] == list(range(6))


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_last_line_torn_at_any_byte_is_left_out_and_cut_off(journal, path):
    content = path.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    kept = journal.events[:-1]
    for cut in range(start, len(content)):
        path.write_bytes(content[:cut])
        assert parsed(read_journal(path)) == kept
        assert path.stat().st_size == cut, "reading changes nothing"
        reopened = Journal.open(path)
        assert reopened.events == kept
        reopened.append(new_event("report", **report("0001", 1, -4.0)))
        reopened.close()
        assert [event["seq"] for event in read_journal(path)] == list(range(5))


def test_a_change_of_any_byte_is_refused_with_its_place(journal, path):
    content = path.read_bytes()
    starts = [0, *(i + 1 for i, byte in enumerate(content[:-1]) if byte == ord("\n"))]
    for place in range(len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        line_start = max(start for start in starts if start <= place)
        for read in (read_journal, Journal.open):
            with pytest.raises(JournalError, match=f"damaged at byte {line_start} "):
                read(path)


@pytest.mark.parametrize("order", [[0, 2, 3, 4], [0, 1, 1, 2], [0, 2, 1, 3], [1, 2, 3]])
def test_lines_that_are_missing_doubled_or_out_of_order_are_refused(journal, path, order):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(JournalError, match="damaged at byte"):
        read_journal(path)


def test_a_journal_is_begun_once(journal, path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Journal.create(path)
    assert path.read_bytes() == before


def test_a_missing_journal_and_a_foreign_format_are_named(tmp_path, path):
    with pytest.raises(JournalError, match=r"journal\.jsonl cannot be read: No such file"):
        Journal.open(path)
    Journal.create(path).append(new_event("header", **{**HEADER, "format": 99}))
    for read in (read_journal, Journal.open):
        with pytest.raises(JournalError, match="format 99"):
            read(path)


def test_a_full_disk_leaves_a_journal_that_goes_on(journal, path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = list(journal.events)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
        for _ in range(2):
            with pytest.raises(StorageError, match="cannot be written"):
                journal.append(new_event("report", **report("0000", 2, -3.0)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.events == before
    journal.append(new_event("report", **report("0000", 2, -3.0)))
    assert read_journal(path) == lines_of(journal.events)
    assert journal.sweep == fold(lines_of(journal.events))


class _Interrupted(BaseException):
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files it was reading just then
def test_an_exception_from_a_signal_at_any_moment_leaves_journal_and_memory_in_step(journal, path):
    def interrupt(number, frame):
        raise _Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    interrupted, epoch = 0, 1
    try:
        while interrupted < 200:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + interrupted % 20))
                for _ in range(5000):
                    epoch += 1
                    journal.append(new_event("report", **report("0000", epoch, -1.0)))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except _Interrupted:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.collect()
    journal.append(new_event("finish", reason="interrupted"))
    assert read_journal(path) == lines_of(journal.events)
    assert journal.sweep == fold(lines_of(journal.events))


# --- the fold ---------------------------------------------------------------------------------------------------------


def test_the_live_sweep_is_the_fold_of_what_a_reader_finds(journal, path):
    journal.append(new_event("end", trial="0000", reason="interrupted", error=None))
    journal.append(new_event("finish", reason="interrupted"))
    reopened = Journal.open(path)
    assert reopened.sweep == fold(read_journal(path)) == journal.sweep
    reopened.append(new_event("report", **report("0000", 2, -2.0, "completed")))
    assert reopened.sweep == fold(read_journal(path))
    reopened.close()


def test_who_opens_a_journal_and_writes_has_the_state_it_had(journal, path):
    reopened = Journal.open(path)
    sweep = reopened.sweep
    reopened.append(new_event("ask", trial="0002", **ASK))
    assert reopened.sweep is sweep
    assert list(sweep.trials) == ["0000", "0001", "0002"]
    reopened.close()


def test_two_openings_sign_their_lines_differently(journal, path):
    reopened = Journal.open(path)
    reopened.append(new_event("finish", reason="completed"))
    assert len({event["session"] for event in read_journal(path)}) == 2
    reopened.close()


def test_a_report_of_a_known_epoch_changes_nothing(journal):
    sweep, again = journal.sweep, deepcopy(journal.sweep)
    same_moment = dict(zip(("session", "t"), sweep.latest, strict=True))
    for epoch in (1, 0):
        again.apply(parse_event({"event": "report", **same_moment, **report("0000", epoch, 99.0, "completed", rung=1)}))
    assert again == sweep


def test_a_trial_has_its_last_epochs_metrics_and_its_rungs_keep_what_was_filed(journal):
    journal.append(new_event("report", **report("0000", 2, -5.0, "completed")))
    trial = journal.sweep.trials["0000"]
    assert (trial.last, trial.epochs, trial.stop_reason) == ({"val/elbo": -5.0}, 2, "completed")
    assert journal.sweep.rungs == {1: {"0000": -3.5, "0001": -4.0}}


def test_an_end_does_not_overwrite_how_a_trial_ended(journal):
    journal.append(new_event("end", trial="0001", reason="error", error="late"))
    assert (journal.sweep.trials["0001"].stop_reason, journal.sweep.trials["0001"].error) == ("pruned", None)


def test_an_interrupted_trial_and_sweep_go_on_with_the_next_report(journal):
    trial = journal.sweep.trials["0000"]
    journal.append(new_event("end", trial="0000", reason="interrupted", error=None))
    journal.append(new_event("finish", reason="interrupted"))
    assert (trial.stop_reason, trial.unfinished, journal.sweep.finished) == ("interrupted", True, "interrupted")
    journal.append(new_event("report", **report("0000", 2, -3.0)))
    assert (trial.stop_reason, trial.unfinished, journal.sweep.finished) == (None, True, None)


def test_priors_and_a_samplers_memory_are_folded_and_are_no_trials(journal, path):
    prior = {"source_sweep": "earlier", "source_trial": "0007", "assignment": {"lr.base": 1e-2}, "values": {"m": 1.5}}
    journal.append(new_event("prior", **prior))
    journal.append(
        new_event("ask", trial="0002", **ASK, memory={"trial": {"generation": 1}, "study": {"parents": [0, 3]}})
    )
    sweep = fold(read_journal(path))
    assert sweep == journal.sweep
    assert sweep.priors == [new_event("prior", **prior)]
    assert list(sweep.trials) == ["0000", "0001", "0002"]
    assert sweep.trials["0002"].memory["study"] == {"parents": [0, 3]}
    assert sweep.trials["0000"].memory == {}


@pytest.mark.parametrize("metrics", [{"val/elbo": "max"}, {"val/elbo": "max", "val/kl": "min"}])
def test_metrics_keep_their_order_and_an_older_header_means_its_one(metrics):
    assert fold([{**STAMP, "event": "header", **HEADER}]).metrics == {"val/elbo": "max"}
    assert list(fold([{**STAMP, "event": "header", **HEADER, "metrics": metrics}]).metrics.items()) == list(
        metrics.items()
    )


def test_a_paused_trial_waits_for_its_decision_also_through_an_interruption(journal):
    trial = journal.sweep.trials["0000"]
    journal.append(new_event("report", **{**report("0000", 2, -3.0, rung=2), "decision": "pause"}))
    assert (trial.paused, trial.unfinished, trial.stop_reason) == (True, True, None)
    journal.append(new_event("end", trial="0000", reason="interrupted", error=None))
    assert trial.paused
    decided = {"trial": "0000", "rung": 2, "cutoff": -3.5}
    journal.append(new_event("decision", decision="continue", reason=None, **decided))
    assert (trial.paused, trial.unfinished, trial.stop_reason) == (False, True, None)
    once = deepcopy(journal.sweep.trials)
    journal.append(new_event("decision", decision="stop", reason="pruned", **decided))
    assert journal.sweep.trials == once, "it is decided on once"


def test_a_paused_trial_that_is_stopped_has_ended(journal):
    trial = journal.sweep.trials["0000"]
    journal.append(new_event("report", **{**report("0000", 2, -3.0, rung=2), "decision": "pause"}))
    journal.append(new_event("decision", trial="0000", decision="stop", reason="pruned", rung=2, cutoff=-3.5))
    assert (trial.paused, trial.unfinished, trial.stop_reason) == (False, False, "pruned")


def test_the_seconds_of_a_sweep_are_those_of_its_sessions(path, monkeypatch):
    times = iter([100.0, 103.0, 110.0, 1000.0, 1002.5, 1002.0])
    monkeypatch.setattr("tuner.sweeps.journal.SteadyClock", lambda: lambda: now[0])
    path = path.with_name("timed.jsonl")
    opened = Journal.create(path)
    for session_length in (3, 3):
        for _ in range(session_length):
            now = [next(times)]
            opened.append(new_event("finish" if opened.events else "header", reason="interrupted"))
        now[0] += 5.0
        assert opened.seconds == opened.sweep.seconds + 5.0
        opened.close()
        opened = Journal.open(path)
        assert opened.seconds == opened.sweep.seconds, "nothing of this session is written yet"
    assert opened.sweep.seconds == 10.0 + 2.5, "a clock set back counts as none"
    opened.close()


def test_an_empty_fold_is_an_empty_sweep():
    assert fold([]) == Sweep()
