"""A sweep as one append-only file of events, and the state that is a fold of it.

Each line is a JSON object written by a single `os.write`: `seq`, `session`, `t` (seconds since 1970), `event`, the
event's own fields, and `crc`, the CRC-32 of the line without it. Non-finite floats are {"$float": "nan"}; what a user
writes so himself is {"$float": [VALUE]}.

    header    {format, name, sweep_id, spec, space, metric, direction, metrics, epochs, rungs, …}
    prior     {source_sweep, source_trial, assignment, values}    a trial of an earlier sweep, right after the header
    ask       {trial, number, assignment, memory, config, method}    memory: of the sampler, for its next asks
    report    {trial, epoch, metrics, decision, reason, rung, cutoff, outcome, checkpoint}
    decision  {trial, decision, reason, rung, cutoff}   on a paused trial: `continue`, or `stop` for its reason
    failure   {trial, error, kind}       the trial goes on from its last checkpoint. kind: its model `raised`, its
                                         `worker` or `node` was lost, `memory` ran out; not in old journals
    warning   {trial, text}              what a worker had to say
    end       {trial, reason, error}     a trial that ends without a report: `error`, `interrupted` or `budget`
    budget    {}                         the sweep's budget is spent and something is left undone
    resume    {more}                     another session begins; more: trials beyond those planned
    finish    {reason}

A report that says `stop` is the commit point of its trial's end: decision and result stand or fall together.

A file has one writer: with its first line a session puts a copy in the file's place. What the process of an earlier one
still writes, late as it may be, goes to a file that nobody reads: it can neither damage the journal nor be folded.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from trainables.errors import StorageError, UserError
from tuner.lease import FencedError

__all__ = [
    "FORMAT",
    "JOURNAL",
    "NODES_IN_A_ROW",
    "Claim",
    "Event",
    "Journal",
    "JournalError",
    "Prior",
    "Report",
    "Sweep",
    "Trial",
    "check_begun",
    "close_session",
    "fold",
    "lines_of",
    "parse_journal",
    "read_journal",
]

FORMAT = 1
FLOAT = "$float"
NODES_IN_A_ROW = 10
JOURNAL = "journal.jsonl"

Event = dict[str, Any]


class JournalError(UserError):
    """A journal that cannot be trusted."""


# --- the fold ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """An epoch's metrics and what was decided on them. reason: why the trial stopped, None where it went on."""

    epoch: int
    metrics: dict[str, float]
    decision: str
    reason: str | None
    rung: int | None


@dataclass(frozen=True)
class Prior:
    """A completed trial of an earlier sweep, as an assignment of this one's space. values: by metric."""

    source_sweep: str
    source_trial: str
    assignment: dict[str, Any]
    values: dict[str, float]


@dataclass
class Trial:
    """A configuration and what became of it. stop_reason: None while it runs.

    pauses: how often it paused to wait for others; releases: how often it was decided on after that.
    lost: how often it was lost with its worker or node, or its model raised. failures: how often that counted.
    alone: whether it ran out of memory and runs with nothing beside it since. nodes_lost: how often its node was lost
    since its last epoch.
    """

    id: str
    number: int
    assignment: dict[str, Any]
    config: dict[str, Any]
    method: str
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    stop_reason: str | None = None
    outcome: str | None = None
    error: str | None = None
    pauses: int = 0
    releases: int = 0
    lost: int = 0
    failures: int = 0
    alone: bool = False
    nodes_lost: int = 0

    @property
    def paused(self) -> bool:
        """Whether it waits to be decided on."""
        return self.unfinished and self.pauses > self.releases

    @property
    def unfinished(self) -> bool:
        """Whether it runs, or may go on in a later session."""
        return self.stop_reason in (None, "interrupted")

    def counts(self, kind: str) -> bool:
        """Whether a failure of this kind is the trial's own: not that of memory that it shared, nor of a node, unless
        NODES_IN_A_ROW were lost before with no epoch between; then it may be the trial that ends its nodes."""
        return {"node": self.nodes_lost >= NODES_IN_A_ROW, "memory": self.alone}.get(kind, True)

    @property
    def epochs(self) -> int:
        """The last epoch reported."""
        return self.reports[-1].epoch if self.reports else 0

    @property
    def last(self) -> dict[str, float]:
        """The metrics of the last epoch: a trial's metrics."""
        return self.reports[-1].metrics if self.reports else {}


@dataclass
class Sweep:
    """What the events so far amount to. rungs: by rung, the value each trial was filed with.

    priors: what the sampler was told beforehand; they are no trials of this sweep. more: trials beyond those planned.
    spent: whether the budget has stopped something. seconds: in all sessions, each from its first event to its last.
    latest: session and time of the last event.
    """

    header: Event = field(default_factory=dict)
    priors: list[Prior] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    finished: str | None = None
    more: int = 0
    spent: bool = False
    seconds: float = 0.0
    latest: tuple[str, float] = ("", 0.0)

    @property
    def epochs(self) -> int:
        """How many epochs all trials have reported."""
        return sum(len(trial.reports) for trial in self.trials.values())

    @property
    def metrics(self) -> dict[str, str]:
        """What is searched by: metric → direction, the first first."""
        return dict(self.header.get("metrics") or {self.header["metric"]: self.header["direction"]})

    def apply(self, event: Mapping[str, Any]) -> None:
        """Fold one event; a report of a known epoch changes nothing, nor does an end of what has ended."""
        self.finished = None
        self._clock(event["session"], event["t"])
        match event["event"]:
            case "header":
                self.header = dict(event)
            case "prior":
                names = ("source_sweep", "source_trial", "assignment", "values")
                self.priors.append(Prior(**{name: event[name] for name in names}))
            case "ask":
                _check_id(event["trial"])
                fields = {name: event[name] for name in ("number", "assignment", "config", "method")}
                fields["memory"] = event.get("memory", {})
                self.trials.setdefault(event["trial"], Trial(event["trial"], **fields))
            case "report":
                self._report(self.trials[event["trial"]], event)
            case "decision":
                self._release(self.trials[event["trial"]], event)
            case "failure":
                self._failure(self.trials[event["trial"]], event.get("kind", "raised"))
            case "resume":
                self._resume(event["more"])
            case "end":
                self._end(self.trials[event["trial"]], event)
            case "budget":
                self.spent = True
            case "finish":
                self.finished = event["reason"]

    @property
    def planned(self) -> int:
        """How many trials there shall be."""
        return int(self.header["spec"]["search"]["trials"]) + self.more

    @property
    def resumable(self) -> bool:
        """Whether it was cut short, by a signal or with its process."""
        return self.finished not in ("completed", "budget")

    def _resume(self, more: int) -> None:
        self.more += more
        for trial in self.trials.values():
            if trial.stop_reason == "interrupted":
                trial.stop_reason = None

    def _clock(self, session: str, time: float) -> None:
        before, then = self.latest
        self.seconds += max(0.0, time - then) if session == before else 0.0
        self.latest = session, time

    def _report(self, trial: Trial, event: Mapping[str, Any]) -> None:
        if event["epoch"] <= trial.epochs:
            return
        fields = {name: event[name] for name in ("epoch", "metrics", "decision", "reason", "rung")}
        trial.reports.append(Report(**fields))
        trial.stop_reason, trial.outcome, trial.error = event["reason"], event["outcome"], None
        trial.pauses += event["decision"] == "pause"
        trial.nodes_lost = 0
        self.spent |= event["reason"] == "budget"
        if event["rung"] is not None:
            self.rungs.setdefault(event["rung"], {})[trial.id] = event["metrics"][self.header["metric"]]

    @staticmethod
    def _failure(trial: Trial, kind: str) -> None:
        trial.lost += 1
        trial.failures += trial.counts(kind)
        trial.alone |= kind == "memory"
        trial.nodes_lost += kind == "node"

    @staticmethod
    def _release(trial: Trial, event: Mapping[str, Any]) -> None:
        if trial.paused:
            trial.stop_reason = event["reason"]
            trial.releases += 1

    @staticmethod
    def _end(trial: Trial, event: Mapping[str, Any]) -> None:
        if trial.unfinished:
            trial.stop_reason, trial.error = event["reason"], event["error"]


def _check_id(trial: object) -> None:
    """A trial's id names its folder."""
    if not (isinstance(trial, str) and re.fullmatch(r"[0-9]{4,}", trial)):
        raise JournalError(f"{trial!r} is no trial this project has asked for; restore the journal from a copy")


def fold(events: Iterable[Mapping[str, Any]]) -> Sweep:
    """The state after these events."""
    sweep = Sweep()
    for event in events:
        sweep.apply(event)
    return sweep


# --- lines ------------------------------------------------------------------------------------------------------------


def _encoded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: str(value)}
    if isinstance(value, Mapping):
        found = {key: _encoded(item) for key, item in value.items()}
        return {FLOAT: [found[FLOAT]]} if found.keys() == {FLOAT} else found
    return [_encoded(item) for item in value] if isinstance(value, list | tuple) else value


def _decoded(value: dict[str, Any]) -> Any:
    if value.keys() != {FLOAT}:
        return value
    return {FLOAT: value[FLOAT][0]} if isinstance(value[FLOAT], list) else float(value[FLOAT])


def _line(event: Event) -> bytes:
    text = json.dumps(_encoded(event))
    return f'{text[:-1]}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def lines_of(events: Iterable[Event]) -> bytes:
    """Events as a journal's file has them: what `parse_journal` reads back."""
    return b"".join(map(_line, events))


def _event(line: bytes) -> Event | None:
    """The event of a line, None where the line is torn or altered."""
    body, found, crc = line.rpartition(b', "crc": "')
    text = body + b"}"
    if not found or crc != f'{zlib.crc32(text):08x}"}}\n'.encode():
        return None
    event: Event = json.loads(text, object_hook=_decoded)
    return event


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}; is it the folder of a sweep?") from None


def parse_journal(path: Path | str, content: bytes) -> tuple[list[Event], int]:
    """The events of a file and the length of what is whole; a torn last line is left out, any other is refused."""
    events: list[Event] = []
    length = 0
    for line in content.splitlines(keepends=True):
        event = _event(line)
        if event is None and length + len(line) == len(content) and not line.endswith(b"\n"):
            break
        if event is None or event["seq"] != len(events):
            raise JournalError(
                f"{path} is damaged at byte {length} (line {len(events) + 1}); restore the file from a copy, or start "
                "the sweep under another name"
            )
        events.append(event)
        length += len(line)
    _check_format(path, events)
    return events, length


def _check_format(path: Path | str, events: list[Event]) -> None:
    found = events[0].get("format", FORMAT) if events else FORMAT
    if found != FORMAT:
        raise JournalError(f"{path} has format {found}, this vae-tuner reads {FORMAT}; use the version that wrote it")


def read_journal(path: Path) -> list[Event]:
    """The events of a journal that another process may be writing.

    Raises JournalError where there is none, where it is damaged before its last line, or has another format.
    """
    return parse_journal(path, _content(path))[0]


class Claim(Protocol):
    """A session's right to write. session: its name."""

    session: str

    def check(self) -> None:
        """Raises FencedError where another session has taken over."""


class _Unheld:
    """A journal that nobody else is kept from."""

    def __init__(self) -> None:
        self.session = uuid.uuid4().hex[:12]

    def check(self) -> None:
        """Nothing is known of others."""


class Journal:
    """The open journal of a sweep: its events, and `sweep`, their fold, kept up with every append.

    events: only ever appended to, so that another thread may read along. session: names this opening of the file.
    """

    def __init__(self, path: Path, claim: Claim | None) -> None:
        self._path = path
        self._size = 0
        self._file: int | None = None
        self._claim = claim or _Unheld()
        self.session = self._claim.session
        self.events: list[Event] = []
        self.sweep = Sweep()

    @classmethod
    def create(cls, path: Path, claim: Claim | None = None) -> Self:
        """A new journal; raises FileExistsError where there is one."""
        journal = cls(path, claim)
        journal._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o644)
        return journal

    @classmethod
    def open(cls, path: Path, claim: Claim | None = None) -> Self:
        """An existing journal without its torn last line; raises JournalError where it is damaged elsewhere.

        The file stays as it is until a line is written.
        """
        journal = cls(path, claim)
        journal._take(*parse_journal(path, _content(path)))
        return journal

    @property
    def lasting(self) -> Sequence[Event]:
        """The events that no death of this machine can take back; only ever appended to."""
        return self.events

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all sessions, this one's up to now."""
        session, then = self.sweep.latest
        return self.sweep.seconds + (max(0.0, time.time() - then) if session == self.session else 0.0)

    def check(self) -> None:
        """Raises FencedError where another session has taken over: nothing may be written or sent any more."""
        self._claim.check()

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event and fold it; returns it as a reader of the file finds it.

        Raises FencedError where another session has taken over, and StorageError where the line cannot be written
        whole; the next append cuts off what was written of it.
        """
        self.check()
        file = self._writable()
        head = {"seq": len(self.events), "session": self.session, "t": time.time(), "event": event}
        line = _line({**head, **fields})
        self._write(file, line)
        written = _event(line)
        assert written is not None
        self.sweep.apply(written)
        self.events.append(written)
        self._size += len(line)
        return written

    def _writable(self) -> int:
        """The file, which is this session's own and holds what this object holds."""
        if self._file is None:
            self._file = self._taken_over()
        state = os.fstat(self._file)
        if not state.st_nlink:
            raise self._fenced()
        # An exception raised by a signal's handler, or a full disk, may have come between a line and its note.
        if state.st_size != self._size:
            events, size = parse_journal(self._path, os.pread(self._file, state.st_size, 0))
            os.ftruncate(self._file, size)
            self._take(events, size)
        return self._file

    def _taken_over(self) -> int:
        """Put a copy in the file's place, and hold what it holds."""
        content = _content(self._path)
        events, size = parse_journal(self._path, content)
        try:
            file = self._copied(content[:size])
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        if size != self._size:
            self._take(events, size)
        return file

    def _copied(self, content: bytes) -> int:
        part = self._path.with_name(f"{self._path.name}.{self.session}")
        file = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self._write(file, content)
            os.fsync(file)
            part.replace(self._path)
        except BaseException:
            os.close(file)
            part.unlink(missing_ok=True)
            raise
        return file

    def _write(self, file: int, content: bytes) -> None:
        try:
            whole = os.write(file, content) == len(content)
        except OSError as error:
            if error.errno == errno.ESTALE:  # a network file system's word for a file that was replaced
                raise self._fenced() from None
            raise self._unwritable(error.strerror) from None
        if not whole:
            raise self._unwritable("only a part of a line fits")

    def _unwritable(self, reason: str | None) -> StorageError:
        return StorageError(f"{self._path} cannot be written: {reason}; free some space")

    def _fenced(self) -> FencedError:
        return FencedError(f"{self._path} was taken over by another process; this one has stopped")

    def _take(self, events: list[Event], size: int) -> None:
        """Hold what the file holds, but for a torn last line."""
        self.events.extend(events[len(self.events) :])
        self.sweep, self._size = fold(self.events), size

    def sync(self) -> None:
        """Have all that was written survive a power failure."""
        if self._file is not None:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)


def check_begun(sweep: Sweep) -> None:
    """Refuse a journal whose process died before its first line."""
    if not sweep.header:
        raise JournalError("the journal holds nothing yet: remove the sweep with `vae-tuner rm`, and start it again")


def close_session(journal: Journal, reason: str, on_event: Callable[[Event], None] = lambda event: None) -> None:
    """Write down how a session ended, once; trials that have not ended were cut short by the same."""
    if journal.sweep.finished:
        return
    for trial in list(journal.sweep.trials.values()):
        if trial.unfinished and trial.stop_reason != reason:
            on_event(journal.append("end", trial=trial.id, reason=reason, error=None))
    journal.append("finish", reason=reason)
