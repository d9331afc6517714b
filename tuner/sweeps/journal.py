"""A sweep as one append-only file of events.

Each line is a JSON object written by a single `os.write`: what `tuner.sweeps.events` says of its event, and `crc`, the
CRC-32 of the line without it. Non-finite floats are {"$float": "nan"}; what a user writes so himself is
{"$float": [VALUE]}.

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
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

from trainables.errors import StorageError
from tuner.sweeps.events import (
    Ended,
    Event,
    Finished,
    JournalError,
    Line,
    check_header,
    line_of,
    parse_event,
    unusable,
)
from tuner.sweeps.lease import FencedError, is_gone
from tuner.sweeps.state import Sweep, folded
from tuner.sweeps.steady_clock import SteadyClock

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


def _bytes_of(line: Line) -> bytes:
    text = json.dumps(_encoded(line))
    return f'{text[:-1]}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def bytes_of(lines: Iterable[Line]) -> bytes:
    """Lines as a journal's file has them: what `parse_journal` reads back."""
    return b"".join(map(_bytes_of, lines))


def _parsed(content: bytes) -> Line | None:
    """The line that these bytes are; None where they are torn or altered."""
    body, found, crc = content.rpartition(b', "crc": "')
    text = body + b"}"
    if not found or crc != f'{zlib.crc32(text):08x}"}}\n'.encode():
        return None
    try:
        line = json.loads(text, object_hook=_decoded)
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("event"), str) else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}; is it the folder of a sweep?") from None


def parse_journal(path: Path | str, content: bytes) -> tuple[list[Line], int]:
    """The lines of a file and the length of what is whole; a torn last line is left out, any other is refused."""
    lines: list[Line] = []
    length = 0
    for part in content.splitlines(keepends=True):
        line = _parsed(part)
        if line is None and length + len(part) == len(content) and not part.endswith(b"\n"):
            break
        if line is None or line.get("seq") != len(lines):
            raise JournalError(
                f"{path} is damaged at byte {length} (line {len(lines) + 1}); restore the file from a copy, or start "
                "the sweep under another name"
            )
        lines.append(line)
        length += len(part)
    _check_format(path, lines)
    return lines, length


def _check_format(path: Path | str, lines: list[Line]) -> None:
    found = lines[0].get("format", FORMAT) if lines else FORMAT
    if found != FORMAT:
        raise JournalError(f"{path} has format {found}, this vae-tuner reads {FORMAT}; use the version that wrote it")


def read_journal(path: Path) -> list[Line]:
    """The lines of a journal that another process may be writing.

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
    listeners: each is called with every event that is appended.
    """

    def __init__(self, path: Path, claim: Claim | None) -> None:
        self.path = path
        self._size = 0
        self._file: int | None = None
        self._claim = claim or _Unheld()
        self._clock = SteadyClock()
        self.session = self._claim.session
        self.events: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = []
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

    def append(self, event: Event) -> Event:
        """Write one event, fold it and tell the listeners; returns it as a reader of the file finds it.

        Raises FencedError where another session has taken over, and StorageError where the line cannot be written
        whole; the next append cuts off what was written of it.
        """
        self.check()
        file = self._writable()
        stamped = replace(event, seq=len(self.events), session=self.session, t=self._clock())
        content = _bytes_of(line_of(stamped))
        line = _parsed(content)
        assert line is not None
        written = parse_event(line)
        self._write(file, content)
        self.sweep.apply(written)
        self.events.append(written)
        self._size += len(content)
        self._secure(written)
        for tell in self.listeners:
            tell(written)
        return written

    def _secure(self, event: Event) -> None:
        """What else has to happen before an event counts as written."""

    def _writable(self) -> int:
        """The file, which is this session's own and holds what this object holds."""
        if self._file is None:
            self._file = self._taken_over()
        if is_gone(self._file):
            raise self._fenced()
        state = os.fstat(self._file)
        # An exception raised by a signal's handler, or a full disk, may have come between a line and its note.
        if state.st_size != self._size:
            lines, size = parse_journal(self.path, os.pread(self._file, state.st_size, 0))
            os.ftruncate(self._file, size)
            self._take(lines, size)
        return self._file

    def _taken_over(self) -> int:
        """Put a copy in the file's place, and hold what it holds."""
        content = _content(self.path)
        lines, size = parse_journal(self.path, content)
        try:
            file = self._copied(content[:size])
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        if size != self._size:
            self._take(lines, size)
        return file

    def _copied(self, content: bytes) -> int:
        part = self.path.with_name(f"{self.path.name}.{self.session}")
        file = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self._write(file, content)
            os.fsync(file)
            self.check()  # by now it may be another's; copying may have taken longer than a lease lasts
            part.replace(self.path)
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
        return StorageError(f"{self.path} cannot be written: {reason}; free some space")

    def _fenced(self) -> FencedError:
        return FencedError(f"{self.path} was taken over by another process; this one has stopped")

    def _take(self, lines: list[Line], size: int) -> None:
        """Hold what the file holds, but for a torn last line."""
        events, sweep = folded(lines, str(self.path))
        self.events.extend(events[len(self.events) :])
        self.sweep, self._size = sweep, size

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
        raise unusable(f"the journal of sweep {sweep.header.get('name')}", 1, "header", error) from None


def close_session(journal: Journal, reason: str) -> None:
    """Write down how a session ended, once; trials that have not ended were cut short by the same."""
    if journal.sweep.finished:
        return
    for trial in list(journal.sweep.trials.values()):
        if trial.unfinished and trial.stop_reason != reason:
            journal.append(Ended(trial.id, reason, None))
    journal.append(Finished(reason))
