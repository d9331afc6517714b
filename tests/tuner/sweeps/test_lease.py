"""Who may take a sweep over, and that one alone does."""

import errno
import fcntl
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace

import pytest
from events import lines_of, new_event
from hypothesis import given
from hypothesis import strategies as st

from trainables.errors import StorageError, UserError
from tuner.cli import run
from tuner.sweeps import lease
from tuner.sweeps.folder import HeldSweep
from tuner.sweeps.journal import Journal, read_journal
from tuner.sweeps.lease import (
    FencedError,
    Lease,
    OwnerView,
    awaited,
    is_held,
    leased,
    seconds_until_takeover,
    this_process,
)

HERE = this_process(1)
DEAD = replace(HERE, started=HERE.started - 1)  # its number was given to another process
ELSEWHERE = replace(HERE, place="another machine", host="far")


@pytest.mark.parametrize(
    ("seen", "wait"),
    [
        (OwnerView(True), 0.0),
        (OwnerView(False), math.inf),  # somebody is about to sign
        (OwnerView(True, 1, HERE, 5.0), math.inf),
        (OwnerView(False, 1, HERE, 5.0), math.inf),
        (OwnerView(True, 1, HERE, 0.0), 0.0),  # given up by a process that lives on
        (OwnerView(True, 1, DEAD, 5.0, 1e9), 0.0),
        (OwnerView(False, 1, DEAD, 5.0, 1e9), math.inf),
        (OwnerView(True, 1, ELSEWHERE, 5.0, 20.0), 40.0),
        (OwnerView(True, 1, ELSEWHERE, 5.0, 60.0), 0.0),
        (OwnerView(False, 1, ELSEWHERE, 5.0, 60.0), 0.0),  # a lock may outlive its machine
        (OwnerView(True, 1, ELSEWHERE, 0.0), 0.0),
        (OwnerView(True, 1, None, 5.0, 20.0), 40.0),  # it has not signed yet, or died before
    ],
)
def test_when_a_sweep_may_be_taken_over(seen, wait):
    assert seconds_until_takeover(seen) == wait


@given(
    lock_free=st.booleans(), owner=st.sampled_from([None, ELSEWHERE]), age=st.floats(-1e3, 1e3), later=st.floats(0, 1e3)
)
def test_waiting_shortens_the_wait_and_nothing_else_does(lock_free, owner, age, later):
    before = seconds_until_takeover(OwnerView(lock_free, 1, owner, 5.0, age))
    after = seconds_until_takeover(OwnerView(lock_free, 1, owner, 5.0, age + later))
    assert after == pytest.approx(max(0.0, before - later), abs=1e-6)
    assert before < math.inf


def test_a_process_knows_itself_its_dead_and_what_it_cannot_see():
    child = subprocess.Popen([sys.executable, "-c", ""])
    gone = replace(HERE, pid=child.pid, started=lease.start_of(child.pid) or 0)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert gone.alive is False, "nobody has asked for its exit code yet"
    child.wait()
    assert (HERE.alive, DEAD.alive, gone.alive, ELSEWHERE.alive) == (True, False, False, None)


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.0)


def test_the_one_who_waits_goes_on_when_the_lease_expires_and_says_what_it_waits_for(impatient):
    ages, said = iter([20.0, 30.0, 59.9, 60.0]), []
    assert awaited("s", lambda: OwnerView(True, 1, ELSEWHERE, 5.0, next(ages)), said.append).age == 60.0
    assert said == [
        f"Sweep s was held by process {ELSEWHERE.pid} on far, not seen from here: waiting 40 s for a sign of life"
    ]
    looks = iter([OwnerView(True, 1, None, 5.0, 59.0), OwnerView(True, 1, None, 5.0, 60.0)])
    awaited("s", lambda: next(looks), said.append)
    assert said[1].startswith("Sweep s was held by another process, not seen from here: waiting 1 s")


@pytest.mark.parametrize("sign", [{"time": 6.0}, {"number": 2}])
def test_a_sign_of_life_ends_the_wait_with_a_refusal(sign, impatient):
    looks = iter([OwnerView(True, 1, ELSEWHERE, 5.0, 20.0), replace(OwnerView(True, 1, ELSEWHERE, 5.0, 0.0), **sign)])
    with pytest.raises(UserError, match=r"sweep s is held by process .* on far; wait for its end"):
        awaited("s", lambda: next(looks), lambda line: None)


def test_a_lease_given_up_meanwhile_ends_the_wait(impatient):
    looks = iter([OwnerView(True, 1, ELSEWHERE, 5.0, 20.0), OwnerView(True, 1, ELSEWHERE, 0.0)])
    assert awaited("s", lambda: next(looks), lambda line: None).number == 1


# --- taking it --------------------------------------------------------------------------------------------------------


def test_of_many_that_take_over_at_once_one_does(tmp_path):
    for number in range(1, 20):
        start, won = threading.Barrier(8), []

        def take(number=number, start=start, won=won):
            start.wait()
            won.append(Lease.take(tmp_path, number))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = filter(None, won)
        winner.check()
        winner.release()
    assert [path.name for path in tmp_path.glob("owner-*")] == ["owner-000019.json"]


def test_one_that_comes_with_an_old_number_fails(tmp_path):
    """It looked, slept while others came and went, and finds the number it wants free again."""
    for number in (1, 2, 3):
        Lease.take(tmp_path, number).release()
    assert Lease.take(tmp_path, 2) is None
    assert [path.name for path in tmp_path.glob("owner-*")] == ["owner-000003.json"]


def test_who_is_succeeded_is_told_by_whom(tmp_path):
    first = Lease.take(tmp_path, 1)
    first.check()
    second = Lease.take(tmp_path, 2)
    with pytest.raises(FencedError, match=rf"taken over by process {os.getpid()} on .*; this driver has stopped"):
        first.check()
    second.check()
    first.release()
    assert is_held(tmp_path), "an orphan's end is not its successor's"
    second.release()
    assert not is_held(tmp_path)


def test_a_successor_whose_file_system_hides_the_removal_is_found_by_the_next_renewal(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.001)
    first = Lease.take(tmp_path, 1)
    successor = {**asdict(ELSEWHERE), "session": "000002-b"}
    (tmp_path / "owner-000002.json").write_text(json.dumps(successor))
    first._thread.join(0.5)
    with pytest.raises(FencedError, match=r"taken over by process .* on far"):
        first.check()
    first.release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_a_file_system_has_no_locks_the_owner_file_alone_says_who_holds_a_sweep(code, tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with leased(tmp_path), pytest.raises(UserError, match="is held by process"), leased(tmp_path):
        pytest.fail("held twice")
    (tmp_path / "owner-000002.json").write_text(json.dumps(asdict(DEAD)))
    with leased(tmp_path) as held:
        held.check()


def test_a_disk_that_is_full_when_a_driver_signs_keeps_nobody_waiting(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="No space left on device; free some space"), leased(tmp_path):
            pytest.fail("held without a name")
    with leased(tmp_path, pytest.fail) as held:
        held.check()


def test_a_lease_is_renewed_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.001)
    with leased(tmp_path):
        (path,) = tmp_path.glob("owner-*")
        os.utime(path, (1.0, 1.0))
        while path.stat().st_mtime == 1.0:
            pass
    assert path.stat().st_mtime == 0.0, "given up"


@pytest.mark.parametrize("skew", [-1e6, 1e6])
def test_the_clock_of_this_machine_says_nothing_of_a_lease(skew, tmp_path, monkeypatch):
    (tmp_path / "owner-000001.json").write_text(json.dumps(asdict(ELSEWHERE)))
    monkeypatch.setattr(lease.time, "time", lambda: tmp_path.stat().st_mtime + skew)
    assert is_held(tmp_path)
    os.utime(tmp_path / "owner-000001.json", (1.0, 1.0))
    assert not is_held(tmp_path)


# --- the fence --------------------------------------------------------------------------------------------------------


def test_what_a_superseded_journal_still_writes_nobody_reads(tmp_path):
    """Without any lease: the file of the earlier session is no longer there."""
    path = tmp_path / "journal.jsonl"
    first = Journal.create(path)
    first.append(new_event("header", format=1))
    second = Journal.open(path)
    first.append(new_event("warning", text="until the first line of the second, the first goes on"))
    second.append(new_event("resume", more=0))
    before = path.read_bytes()
    first._write(first._file, b"a line in hand\n")
    with pytest.raises(FencedError, match="taken over by another process"):
        first.append(new_event("warning", text="late"))
    assert path.read_bytes() == before
    assert [event.name for event in second.events] == ["header", "warning", "resume"]
    second.append(new_event("warning", text="whole"))
    assert Journal.open(path).events == second.events


def test_a_driver_writes_nothing_once_its_lease_is_lost_also_before_its_successor_writes(tmp_path):
    path, first = tmp_path / "journal.jsonl", Lease.take(tmp_path, 1)
    journal = Journal.create(path, first)
    journal.append(new_event("header", format=1))
    before = path.read_bytes()
    second = Lease.take(tmp_path, 2)
    with pytest.raises(FencedError, match="taken over by process"):
        journal.append(new_event("warning", text="late"))
    assert path.read_bytes() == before
    first.release()
    second.release()


def test_a_session_that_was_taken_over_while_it_copied_the_journal_puts_no_copy_in_its_place(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    Journal.create(path).append(new_event("header", format=1))
    paused, successors = Journal.open(path, Lease.take(tmp_path, 1)), []

    def take_over(file):
        monkeypatch.undo()
        successors.append(Journal.open(path, Lease.take(tmp_path, 2)))
        successors[0].append(new_event("resume", more=0))

    monkeypatch.setattr(os, "fsync", take_over)
    with pytest.raises(FencedError, match="taken over by process"):
        paused.append(new_event("resume", more=0))
    successors[0].append(new_event("warning", text="goes on"))
    assert read_journal(path) == lines_of(successors[0].events)
    assert [file.name for file in tmp_path.glob("journal*")] == ["journal.jsonl"]


def test_a_start_that_was_taken_over_leaves_the_journal_of_the_one_that_runs(tmp_path):
    paused, successor = (HeldSweep(tmp_path, Lease.take(tmp_path, number)) for number in (1, 2))
    journal = successor.create_journal()
    journal.append(new_event("header", format=1))
    with pytest.raises(FencedError, match="taken over by process"):
        paused.create_journal()
    journal.append(new_event("warning", text="goes on"))
    assert read_journal(tmp_path / "journal.jsonl") == lines_of(journal.events)


def test_who_was_taken_over_removes_nothing(tmp_path):
    paused, successor = (HeldSweep(tmp_path, Lease.take(tmp_path, number)) for number in (1, 2))
    successor.create_journal().append(new_event("header", format=1))
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for remove in (paused.remove_all, lambda: paused.remove_trials(None)):
        with pytest.raises(FencedError, match="taken over by process"):
            remove()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("function", ["fstat", "write"])
def test_a_network_file_systems_word_for_a_replaced_file_is_understood(function, tmp_path, monkeypatch):
    def stale(*arguments):
        raise OSError(errno.ESTALE, "Stale file handle")

    journal, held = Journal.create(tmp_path / "journal.jsonl"), Lease.take(tmp_path, 1)
    journal.append(new_event("header", format=1))
    with monkeypatch.context() as patch:
        patch.setattr(os, function, stale)
        with pytest.raises(FencedError, match="taken over by another process"):
            journal.append(new_event("warning", text="late"))
        if function == "fstat":
            with pytest.raises(FencedError, match="taken over by another process"):
                held.check()
    held.release()


def test_looking_at_a_journal_takes_nothing_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    first = Journal.create(path)
    first.append(new_event("header", format=1))
    Journal.open(path).close()
    first.append(new_event("warning", text="still its own"))
    assert len(first.events) == 2


def test_a_driver_that_was_taken_over_ends_with_one_sentence_and_exit_code_1(monkeypatch, capsys):
    def taken_over(*arguments):
        raise FencedError("sweep s was taken over")

    monkeypatch.setattr("tuner.sweeps.status.sweep_statuses", taken_over)
    monkeypatch.setattr(sys, "argv", ["vae-tuner", "status"])
    assert run() == 1
    assert capsys.readouterr().err == "Error: sweep s was taken over\n"
