"""What counts of a journal on object storage, whoever writes and whoever dies."""

import json
import os
import threading
from itertools import combinations

import pytest
from configs import ANY
from events import new_event
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trainables.errors import StorageError, UserError
from trainables.object_storage import PATIENCE, RemoteFolder
from tuner.sweeps import lease
from tuner.sweeps import sealed_journal as segments
from tuner.sweeps.lease import FencedError
from tuner.sweeps.sealed_journal import RemoteLease, SealedJournal, chain, has_begun, is_kept, read_lines, writer


def name(session, first, end):
    return f"{session}-{first:09}-{end:09}.jsonl"


@given(
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    retried=st.sets(st.integers(0, 7)),
    noise=st.sets(st.tuples(st.integers(1, 30), st.integers(1, 5))),
)
def test_the_chain_covers_every_line_once_whatever_was_written_again(cuts, retried, noise):
    ends = [sum(cuts[: i + 1]) for i in range(len(cuts))]
    starts = [0, *ends[:-1]]
    names = [name("000002-b", *pair) for pair in zip(starts, ends, strict=True)]
    # A write that was cut short, or whose note was lost, is shorter than the one that came after it.
    names += [name("000002-b", starts[i], ends[i] - 1) for i in retried if i < len(cuts) and cuts[i] > 1]
    names += [name("000001-a", first, first + n) for first, n in noise]
    found = [names[i] for i in range(len(cuts))]
    assert writer(names) == "000002-b"
    assert chain(sorted(names), "000002-b") == found


def test_lines_before_which_some_are_missing_are_not_the_journal():
    assert chain([name("000001-a", 3, 5), name("000001-a", 5, 7)], "000001-a") == []


class MemoryFolder:
    """Object storage in this process."""

    uri = "memory://"

    def __init__(self):
        self.files = {}

    def write(self, name, content):
        self.files[name] = content

    def read(self, name):
        return self.files.get(name)

    def delete(self, name):
        self.files.pop(name, None)

    def sizes(self):
        return {name: len(self.files[name]) for name in self.names()}

    def names(self):
        return sorted(self.files)


class Takeovers(RuleBasedStateMachine):
    """Sessions that begin, seal and linger in any order: what one has sealed every later one holds."""

    def __init__(self):
        super().__init__()
        self.folder, self.sealed, self.sessions = MemoryFolder(), b"", []

    @rule()
    def begin(self):
        """The lease of the one before has expired, whether it is dead or not."""
        number = max((lease.number for lease, _ in self.sessions), default=0) + 1
        new = RemoteLease(self.folder, "s", number)
        new.announce(released=False)
        assert not new.rivals(number)
        self.sessions.append((new, [read_lines(self.folder), 0]))

    @rule(which=st.integers(0, 5), lines=st.integers(1, 3), interrupted=st.booleans())
    def seal(self, which, lines, interrupted):
        """A session, perhaps an orphan, writes, and is interrupted before it has listed, or not."""
        if not self.sessions:
            return
        own, state = self.sessions[which % len(self.sessions)]
        journal, sealed = state
        journal += b"".join(f"{own.session} {len(journal)} {i}\n".encode() for i in range(lines))
        news = journal[sealed:]
        first, state[0] = journal[:sealed].count(b"\n"), journal
        if interrupted:
            self.folder.write(name(own.session, first, journal.count(b"\n")), news)
            return
        try:
            own.seal(first, news)
        except FencedError:
            assert own is not self.sessions[-1][0]
            return
        assert own is self.sessions[-1][0]
        state[:] = [journal, len(journal)]
        self.sealed = journal

    @rule(which=st.integers(0, 5))
    def tidy(self, which):
        """A session, perhaps an orphan, removes what the segment it wrote last replaces, if that is whole."""
        if self.sessions:
            own, (journal, _) = self.sessions[which % len(self.sessions)]
            whole = name(own.session, 0, journal.count(b"\n"))
            if whole in self.folder.names():
                own.remove_replaced(whole)

    @invariant()
    def what_was_sealed_stays(self):
        assert read_lines(self.folder).startswith(self.sealed)


Takeovers.TestCase.settings = settings(max_examples=60, deadline=None)
TestTakeovers = Takeovers.TestCase


def test_of_two_that_begin_at_once_never_both_go_on():
    """Each writes, lists and decides; in every order of these steps at most one has found itself alone."""
    outcomes = set()
    for a_steps in combinations(range(6), 3):
        folder, sees, goes_on = MemoryFolder(), {}, []
        takers = {who: RemoteLease(folder, "s", 1) for who in "ab"}
        steps = {who: iter(("write", "list", "decide")) for who in "ab"}
        for who in ("a" if step in a_steps else "b" for step in range(6)):
            match next(steps[who]):
                case "write":
                    takers[who].announce(released=False)
                case "list":
                    sees[who] = takers[who].rivals(1)
                case _ if sees[who]:
                    folder.delete(f"{takers[who].session}.json")
                case _:
                    goes_on.append(who)
        outcomes.add(len(goes_on))
    assert outcomes == {0, 1}, "where both see each other they try again"


class OvertakenFolder(MemoryFolder):
    """At the first file whose name ends so, another session of this number begins, just before or just after."""

    def __init__(self, number, end, before):
        super().__init__()
        self.another, self.end, self.before = RemoteLease(self, "s", number), end, before

    def write(self, name, content):
        overtaken = name.endswith(self.end)
        self.end = self.end if not overtaken else "none"
        if overtaken and self.before:
            self.another.announce(released=False)
        super().write(name, content)
        if overtaken and not self.before:
            self.another.announce(released=False)


@pytest.mark.parametrize("before", [True, False])
def test_a_segment_is_not_sealed_where_another_began_while_it_was_written(before):
    """Who began may have read the journal without it."""
    folder = OvertakenFolder(2, ".jsonl", before)
    with pytest.raises(FencedError, match="sweep s was taken over by process"):
        RemoteLease(folder, "s", 1).seal(0, b"{}\n")


@pytest.mark.parametrize("before", [True, False])
def test_who_finds_another_that_begins_withdraws(before):
    folder = OvertakenFolder(1, ".json", before)
    with pytest.raises(UserError, match="sweep s is held by process"):
        RemoteLease.take(folder, "s")
    assert folder.names() == [f"{folder.another.session}.json"]


# --- the lease --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return RemoteFolder(f"file://{tmp_path}/journal")


def test_the_second_driver_is_told_who_the_first_is_and_follows_its_end(folder):
    first = RemoteLease.take(folder, "s")
    assert is_kept(folder)
    with pytest.raises(UserError, match=r"sweep s is held by process .*; wait for its end"):
        RemoteLease.take(folder, "s")
    first.release()
    assert not is_kept(folder)
    second = RemoteLease.take(folder, "s")
    assert second.session > first.session
    second.release()


def test_a_lease_on_another_machine_expires_when_nothing_changes(folder, monkeypatch):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 0.02)
    first = RemoteLease.take(folder, "s")
    monkeypatch.setattr(lease, "this_place", lambda: "another machine")
    said = []
    second = RemoteLease.take(folder, "s", said.append)
    assert "not seen from here" in said[0]
    with pytest.raises(FencedError, match="sweep s was taken over by process"):
        first.seal(0, b"{}\n")
    with pytest.raises(FencedError):
        first.check()
    before = folder.names()
    with pytest.raises(FencedError):
        first.seal(1, b"{}\n")
    assert folder.names() == before, "one that knows writes nothing"
    assert not has_begun(RemoteFolder(f"{folder.uri}/none"))
    second.check()
    first.release()
    second.release()


def test_a_lease_is_renewed_and_lines_are_sealed_while_it_is_held(folder, monkeypatch):
    monkeypatch.setattr(segments, "SEAL_SECONDS", 0.001)
    monkeypatch.setattr(segments, "RENEW_SECONDS", 0.001)
    held, sealed = RemoteLease.take(folder, "s"), threading.Event()
    held.every = sealed.set
    content = folder.read(f"{held.session}.json")
    assert sealed.wait(60.0)
    while folder.read(f"{held.session}.json") == content:
        pass
    held.release()


def test_a_driver_that_began_in_vain_and_died_does_not_hide_the_one_that_runs(folder):
    held = RemoteLease.take(folder, "s")
    document = json.loads(folder.read(f"{held.session}.json"))
    for session in ("000001-0", "000001-g"):
        dead = {**document, "owner": {**document["owner"], "session": session, "started": 0}}
        folder.write(f"{session}.json", json.dumps(dead).encode())
    with pytest.raises(UserError, match=f"held by process {os.getpid()} "):
        RemoteLease.take(folder, "s")
    held.release()


def test_an_owner_that_is_writing_its_lease_is_one_and_expires_like_any_other(folder, monkeypatch):
    """Azure shows an object that is overwritten as empty, until its content is there."""
    first = RemoteLease.take(folder, "s")
    content = folder.read(f"{first.session}.json")
    folder.write(f"{first.session}.json", b"")
    assert is_kept(folder)
    with pytest.raises(UserError, match=r"sweep s is held by process .*; wait for its end"):
        RemoteLease.take(folder, "s", lambda line: folder.write(f"{first.session}.json", content))
    folder.write(f"{first.session}.json", b"")
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 0.02)
    second = RemoteLease.take(folder, "s", lambda line: None)
    with pytest.raises(FencedError):
        first.confirm()
    first.release()
    second.release()


# --- the journal ------------------------------------------------------------------------------------------------------

REPORT = {"decision": "continue", "reason": None, "rung": None, "cutoff": None, "outcome": None, "checkpoint": None}


@pytest.fixture
def journal(folder, tmp_path):
    """The journal of two trials of 9 epochs; nothing is sealed by the clock."""
    held = RemoteLease.take(folder, "s")
    journal = SealedJournal.create(tmp_path / "journal.jsonl", held)
    held.every = lambda: None
    journal.append(new_event("header", format=1, metric="val/elbo", direction="max", epochs=9))
    for trial in ("0000", "0001"):
        journal.append(new_event("ask", trial=trial, number=int(trial), assignment={}, config=ANY, method="elbo"))
    yield journal
    held.release()


def sealed(folder):
    return [json.loads(line) for line in read_lines(folder).splitlines()]


def report(journal, trial, epoch):
    journal.append(new_event("report", trial=trial, epoch=epoch, metrics={"val/elbo": 1.0}, **REPORT))


def test_a_trial_goes_on_from_a_report_once_the_one_before_is_sealed(journal, folder):
    """Its checkpoints are then of epochs that the journal knows, or of the next."""
    for epoch in range(1, 9):
        for trial in ("0000", "0001"):
            report(journal, trial, epoch)
            known = {(event["trial"], event["epoch"]) for event in sealed(folder) if event["event"] == "report"}
            assert epoch == 1 or (trial, epoch - 1) in known
            assert epoch < 8 or (trial, epoch) in known, "into the last epoch, which leaves one checkpoint alone"
    assert len(folder.names()) < 1 + 3 + 2 * 8, "not each report is written by itself"


@pytest.mark.parametrize("event", ["ask", "failure", "resume", "budget", "finish"])
def test_what_must_not_happen_twice_is_sealed_at_once(event, journal, folder):
    fields = {"ask": {"number": 2, "assignment": {}, "config": ANY, "method": "elbo"}, "failure": {"error": "lost"}}
    journal.append(new_event(event, trial="0000", more=0, reason="interrupted", **fields.get(event, {})))
    assert sealed(folder)[-1]["event"] == event
    assert read_lines(folder) == journal.path.read_bytes()


@pytest.mark.parametrize(("event", "tries"), [("resume", 1), ("resume", 2), ("resume", 3), ("finish", 1)])
def test_a_storage_that_is_away_is_waited_for_unless_the_session_ends(event, tries, journal, folder, monkeypatch):
    slept, failed, write = [], [], RemoteFolder.write

    def away(self, name, content):
        if len(failed) < tries:
            failed.append(name)
            raise StorageError("away")
        write(self, name, content)

    monkeypatch.setattr(segments.time, "sleep", slept.append)
    monkeypatch.setattr(RemoteFolder, "write", away)
    pauses = list(PATIENCE) if event == "resume" else []
    if tries <= len(pauses):
        journal.append(new_event(event, more=1))
        assert sealed(folder)[-1]["more"] == 1
    else:
        with pytest.raises(StorageError):
            journal.append(new_event(event, more=1, reason="interrupted"))
    assert slept == pauses[:tries]


def test_a_driver_that_was_taken_over_waits_for_nothing(journal, folder, monkeypatch):
    monkeypatch.setattr(segments.time, "sleep", lambda seconds: pytest.fail("a sweep that has another driver"))
    folder.write("000002-b.json", folder.read(f"{journal.session}.json"))
    with pytest.raises(FencedError):
        journal.append(new_event("resume", more=1))


def test_a_segment_that_is_empty_when_it_is_read_is_looked_for_again():
    class Overwritten(MemoryFolder):
        def read(self, name):
            contents.append(super().read(name))
            return b"" if len(contents) == 1 else contents[-1]

    memory, contents = Overwritten(), []
    for line in range(2):
        memory.write(name("000001-a", line, line + 1), b"%d\n" % line)
    assert read_lines(memory) == b"0\n1\n"


def test_a_long_journal_stays_in_few_segments(journal, folder, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENTS", 4)
    for n in range(11):
        journal.append(new_event("resume", more=n))
        assert read_lines(folder) == journal.path.read_bytes()
        assert len(folder.names()) <= 1 + 4
    assert journal.lasting == journal.events


@pytest.mark.parametrize("session", ["its own", "000002-b"])
def test_a_segment_whose_writer_died_before_its_content_was_there_does_not_count(session, journal, folder):
    """As Azure leaves it: of a session that wrote all lines anew, or had just begun."""
    before = read_lines(folder)
    folder.write(name(journal.session if session == "its own" else session, 0, 99), b"")
    assert read_lines(folder) == before
    assert has_begun(folder)
    (folder / "t").write(name("000001-a", 0, 1), b"")
    assert not has_begun(folder / "t")


def test_nothing_is_sealed_of_a_file_that_was_closed(journal, folder, tmp_path):
    """Its number may be another file's before the lease is given up."""
    report(journal, "0000", 1)
    before = read_lines(folder)
    journal.close()
    (tmp_path / "another").write_bytes(b"lines\n" * 1000)
    with (tmp_path / "another").open("rb"):
        journal.seal()
    assert read_lines(folder) == before


def test_mlflow_is_told_what_lasts(journal, folder):
    report(journal, "0000", 1)
    assert len(journal.events) == len(journal.lasting) + 1
    journal.seal()
    assert journal.lasting == journal.events


def test_a_session_begins_with_all_that_was_sealed(journal, folder, tmp_path):
    journal._lease.release()
    held = RemoteLease.take(folder, "s")
    path = tmp_path / "another machine.jsonl"
    path.write_bytes(read_lines(folder))
    again = SealedJournal.open(path, held)
    before = len(again.events)
    again.append(new_event("resume", more=0))
    assert read_lines(folder) == path.read_bytes()
    assert again.lasting == again.events
    assert len(again.events) == before + 1
    held.release()
