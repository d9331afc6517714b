"""A sweep as one append-only file of events.

Each line is a JSON object written by a single `os.write`: `seq`, `session`, `t` (seconds since 1970), `event`, the
event's own fields, and `crc`, the CRC-32 of the line without it. Non-finite floats are {"$float": "nan"}; what a user
writes so himself is {"$float": [VALUE]}.

    header    {format, name, sweep_id, place, spec, space, metric, direction, metrics, epochs, rungs, kappa_max,
               kappa_min, data, code, changed, …}    kappa_min: by constraint, as measured before this line; data: the
                                         digest of its data; code: those of the user's own models, by kind; changed:
                                         what `--allow-changed` let pass. These four are not in old journals
    prior     {source_sweep, source_trial, assignment, values}    a trial of an earlier sweep, right after the header;
                                         one that failed by itself has no values
    ask       {trial, number, repeat, assignment, memory, config, method}    memory: of the sampler, for its next asks.
                                         repeat: which seed of the configuration; not in old journals
    report    {trial, epoch, metrics, decision, reason, rung, cutoff, outcome, checkpoint, compared}
                                         compared: the epoch whose value was filed at the rung, null where the trial
                                         passed without one; not in old journals. Also `why`, where it stopped for
                                         want of anything better
    decision  {trial, decision, reason, rung, cutoff}   on a paused trial: `continue`, or `stop` for its reason
    failure   {trial, error, kind}       the trial goes on from its last checkpoint. kind: its model `raised`, its
                                         `worker` or `node` was lost, `memory` ran out; not in old journals
    warning   {trial, text}              what a worker had to say
    end       {trial, reason, error, kind}   a trial that ends without a report: `error`, `interrupted` or `budget`.
                                         kind: of an error, as of a failure, or `refused` where its configuration
                                         is not valid; not in old journals
    budget    {}                         the sweep's budget is spent and something is left undone
    exhausted {}                         no configuration is left to ask for that is not known
    resume    {more, place, data, code, versions, changed}    another session begins; more: trials beyond those planned;
                                         place: where the sweep is now, which may have been moved; not in old journals
    finish    {reason}

A report that says `stop` is the commit point of its trial's end: decision and result stand or fall together.

A file has one writer: with its first line a session that holds the sweep puts a copy in the file's place. What the
process of an earlier one still writes, late as it may be, goes to a file that nobody reads: it can neither damage the
journal nor be folded.
"""

from __future__ import annotations

import errno
import json
import math
import os
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from trainables.errors import StorageError
from tuner.sweeps.events import JournalError, check_header, unusable
from tuner.sweeps.lease import FencedError, is_gone
from tuner.sweeps.state import Event, Sweep, fold
from tuner.sweeps.steady_clock import SteadyClock

__all__ = [
    "FORMAT",
    "JOURNAL",
    "Claim",
    "Journal",
    "check_begun",
    "close_session",
    "lines_of",
    "parse_journal",
    "read_journal",
]

FORMAT = 1
FLOAT = "$float"
JOURNAL = "journal.jsonl"

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
    try:
        event = json.loads(text, object_hook=_decoded)
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


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
        if event is None or event.get("seq") != len(events):
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
        self._clock = SteadyClock()
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
        return self.sweep.seconds + (max(0.0, self._clock() - then) if session == self.session else 0.0)

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
        head = {"seq": len(self.events), "session": self.session, "t": self._clock(), "event": event}
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
        if is_gone(self._file):
            raise self._fenced()
        state = os.fstat(self._file)
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
            self.check()  # by now it may be another's; copying may have taken longer than a lease lasts
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
        self.sweep, self._size = fold(self.events, str(self._path)), size

    def sync(self) -> None:
        """Have all that was written survive a power failure."""
        if self._file is not None:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def check_begun(sweep: Sweep) -> None:
    """Refuse a journal whose process died before its first line, and one whose first line lacks something."""
    if not sweep.header:
        raise JournalError("the journal holds nothing yet: remove the sweep with `vae-tuner rm`, and start it again")
    try:
        check_header(sweep.header)
    except ValueError as error:
        raise unusable(f"the journal of sweep {sweep.header.get('name')}", 1, sweep.header, error) from None


def close_session(journal: Journal, reason: str, on_event: Callable[[Event], None] = lambda event: None) -> None:
    """Write down how a session ended, once; trials that have not ended were cut short by the same."""
    if journal.sweep.finished:
        return
    for trial in list(journal.sweep.trials.values()):
        if trial.unfinished and trial.stop_reason != reason:
            on_event(journal.append("end", trial=trial.id, reason=reason, error=None))
    journal.append("finish", reason=reason)
