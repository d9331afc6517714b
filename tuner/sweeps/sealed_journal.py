"""A journal on object storage, which has no append: sealed segments, and the one session whose segments count.

    SESSION.json               {owner, renewed, released}     a session has begun; written anew while its driver lives
    SESSION-FIRST-END.jsonl    the journal's lines FIRST to END - 1, never changed

Sessions have numbers. The journal is what the session with the highest number has written, from line 0: a session
begins with all lines of the one before as its own first segment, and from then on that one's count no more. Now and
then it writes all lines again as one segment, so that readers find few, and removes what that one replaces.

A driver begins a session by writing SESSION.json and then listing: it goes on if no other of its number or a higher
one is there. Of two that begin at once, at least one sees the other, so that never both go on. It counts a segment as
sealed when, listing after it was written, no higher number has begun: who begins later reads it. An orphan finds out
the same way, and what it has written that was not sealed is not read.

A file that is empty is being written, or was when its writer died: on Azure it is seen before its content is. As a
segment it does not count; as a SESSION.json it says that there is an owner.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from trainables.errors import StorageError
from trainables.object_storage import PATIENCE, RemoteFolder
from tuner.sweeps.events import Asked, BudgetSpent, Event, Failed, Finished, Header, Reported, Resumed
from tuner.sweeps.journal import Journal
from tuner.sweeps.lease import (
    FencedError,
    Owner,
    OwnerView,
    awaited,
    held,
    say,
    seconds_until_takeover,
    taken_over,
    this_process,
)

SEAL_SECONDS = 5.0
RENEW_SECONDS = 20.0
ATTEMPTS = 5
AT_ONCE = 16
SEGMENTS = 200

LASTING = (Header, Asked, Failed, Resumed, BudgetSpent, Finished)

BEGUN = re.compile(r"((\d+)-\w+)\.json")
SEGMENT = re.compile(r"((\d+)-\w+)-(\d+)-(\d+)\.jsonl")


# --- what counts ------------------------------------------------------------------------------------------------------


def _begun(names: Sequence[str]) -> dict[str, int]:
    """The sessions that have begun, with their numbers."""
    return {match[1]: int(match[2]) for name in names if (match := BEGUN.fullmatch(name))}


def writer(names: Sequence[str]) -> str | None:
    """The session whose segments are the journal."""
    sessions = {(int(match[2]), match[1]) for name in names if (match := SEGMENT.fullmatch(name))}
    return max(sessions)[1] if sessions else None


def chain(names: Sequence[str], session: str | None) -> list[str]:
    """A session's segments in order, each beginning where the one before ends.

    Where a write was cut short and tried again, two begin at one line: the longer has both's lines.
    """
    found = [match for name in names if (match := SEGMENT.fullmatch(name)) and match[1] == session]
    longest: dict[int, tuple[int, str]] = {}
    for match in found:
        longest[int(match[3])] = max(longest.get(int(match[3]), (0, "")), (int(match[4]), match[0]))
    line, names_in_order = 0, []
    while line in longest:
        line, name = longest[line]
        names_in_order.append(name)
    return names_in_order


def is_segment(name: str) -> bool:
    """Whether a file of this name holds lines of a journal."""
    return SEGMENT.fullmatch(name) is not None


def has_begun(folder: RemoteFolder) -> bool:
    """Whether there is a journal."""
    return writer(_written(folder)) is not None


def _written(folder: RemoteFolder) -> list[str]:
    """The files with content."""
    return [name for name, size in folder.sizes().items() if size]


def read_lines(folder: RemoteFolder) -> bytes:
    """The journal; a driver may be adding to it, and another taking it over."""
    for _ in range(ATTEMPTS):
        names = _written(folder)
        with ThreadPoolExecutor(AT_ONCE) as readers:
            parts = list(readers.map(folder.read, chain(names, writer(names))))
        lines = [part for part in parts if part]
        if len(lines) == len(parts):
            return b"".join(lines)
    raise StorageError(f"{folder.uri} changes while it is read; try again")


# --- the lease --------------------------------------------------------------------------------------------------------


class _Watch:
    """Looks at who has begun. How long nobody has renewed is measured here, from one look to the next."""

    def __init__(self, folder: RemoteFolder) -> None:
        self._folder = folder
        self._since: dict[float, float] = {}

    def __call__(self) -> OwnerView:
        """The owner to wait for: among those with the highest number the one that keeps it longest. Another may have
        begun in vain and died."""
        return max(_looks(self._folder, self._age), key=seconds_until_takeover, default=OwnerView(True))

    def _age(self, renewed: float) -> float:
        return time.monotonic() - self._since.setdefault(renewed, time.monotonic())


def is_kept(folder: RemoteFolder) -> bool:
    """Whether a driver runs the sweep; by two machines' clocks, for showing alone."""
    return any(seconds_until_takeover(seen) for seen in _looks(folder, lambda renewed: time.time() - renewed))


def _looks(folder: RemoteFolder, age: Callable[[float], float]) -> list[OwnerView]:
    begun = _begun(folder.names())
    last = max(begun.values(), default=0)
    contents = [folder.read(f"{session}.json") for session, number in begun.items() if number == last]
    return [_seen(last, content, age) for content in contents if content is not None]


def _seen(number: int, content: bytes, age: Callable[[float], float]) -> OwnerView:
    if not content:
        return OwnerView(True, number, None, math.inf, age(math.inf))
    document = json.loads(content)
    renewed = 0.0 if document["released"] else float(document["renewed"])
    return OwnerView(True, number, Owner(**document["owner"]), renewed, age(renewed))


class RemoteLease:
    """A sweep on object storage, held by this process. session: names what it writes.

    every: done every few seconds in a thread of its own.
    """

    def __init__(self, folder: RemoteFolder, name: str, number: int) -> None:
        self._folder, self._name, self.number = folder, name, number
        self._owner = this_process(number)
        self.session = self._owner.session
        self.every: Callable[[], None] = lambda: None
        self._lost = False
        self._successor: Owner | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @classmethod
    def take(cls, folder: RemoteFolder, name: str, say: Callable[[str], None] = say) -> Self:
        """Begin a session, once the one before has ended; raises UserError that names the process that goes on."""
        for attempt in range(ATTEMPTS):
            seen = awaited(name, _Watch(folder), say)
            lease = cls(folder, name, seen.number + 1)
            lease.announce(released=False)
            if not lease.rivals(lease.number):
                lease._thread.start()
                return lease
            folder.delete(f"{lease.session}.json")
            time.sleep(random.uniform(0, attempt + 1))
        raise held(name, _Watch(folder)().owner)

    def check(self) -> None:
        """Raises FencedError where it is known that another has taken over."""
        if self._lost:
            raise taken_over(self._name, self._successor)

    def seal(self, first: int, content: bytes) -> None:
        """Write lines for good, from line `first`; raises FencedError where another has taken over."""
        self.check()
        end = first + content.count(b"\n")
        name = f"{self.session}-{first:09}-{end:09}.jsonl"
        self._folder.write(name, content)
        self.confirm()
        if not first:
            self.remove_replaced(name)

    def release(self) -> None:
        """Give the sweep up, if it was not removed."""
        self._ended.set()
        self._thread.join()
        with suppress(StorageError):
            if self._folder.read(f"{self.session}.json"):
                self.announce(released=True)

    def rivals(self, number: int) -> list[str]:
        """The other sessions of this number or a higher one."""
        begun = _begun(self._folder.names())
        return [session for session in begun if session != self.session and begun[session] >= number]

    def confirm(self) -> None:
        """Raises FencedError where another has taken over; looks."""
        self.check()
        if rivals := self.rivals(self.number + 1):
            content = self._folder.read(f"{max(rivals)}.json")
            self._successor = Owner(**json.loads(content)["owner"]) if content else None
            self._lost = True
            self.check()

    def remove_replaced(self, whole: str) -> None:
        """Remove what counts no more once a segment holds all lines; readers look again where they miss it."""
        names = self._folder.names()
        begun = [f"{session}.json" for session, number in _begun(names).items() if number < self.number]
        parts = [match for name in names if (match := SEGMENT.fullmatch(name)) and int(match[2]) <= self.number]
        replaced = [*begun, *(match[0] for match in parts if match[0] != whole)]
        with suppress(StorageError), ThreadPoolExecutor(AT_ONCE) as removers:
            list(removers.map(self._folder.delete, replaced))

    def announce(self, released: bool) -> None:
        """Say who holds it, or that it is given up."""
        document = {"owner": asdict(self._owner), "renewed": time.time(), "released": released}
        self._folder.write(f"{self.session}.json", json.dumps(document).encode())

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(SEAL_SECONDS):
            with suppress(StorageError):  # a storage that is away, or a successor: the next append says so
                self.every()
                if time.monotonic() - renewed > RENEW_SECONDS:
                    self.confirm()
                    self.announce(released=False)
                    renewed = time.monotonic()


# --- the journal ------------------------------------------------------------------------------------------------------


class SealedJournal(Journal):
    """A journal whose lines are sealed within seconds, and at once where they must not be lost.

    A trial keeps its last two checkpoints, and one is of use where the journal knows the epoch before it. So a trial
    goes on from a report once the one before is sealed, and into its last epoch, which leaves one checkpoint alone,
    once all are. An ask is sealed before its trial begins, so that no number is given twice, and a failure before the
    next try, so that they are counted whatever a trial takes down with it.
    """

    def __init__(self, path: Path, claim: RemoteLease) -> None:
        super().__init__(path, claim)
        self._lease = claim
        self._lasting: list[Event] = []
        self._n_sealed = self._sealed_size = self._n_segments = 0
        self._sealing = threading.Lock()
        claim.every = self.seal

    @property
    def lasting(self) -> Sequence[Event]:
        return self._lasting

    def _secure(self, event: Event) -> None:
        if self._must_last(event):
            self._seal_patiently(() if isinstance(event, Finished) else PATIENCE)

    def _seal_patiently(self, pauses: Sequence[float]) -> None:
        """Wait out a storage that is away for a moment; a session that ends waits for none."""
        for pause in pauses:
            try:
                return self.seal()
            except FencedError:
                raise
            except StorageError:
                time.sleep(pause)
        return self.seal()

    def seal(self) -> None:
        """Seal what is written; raises FencedError where another has taken over, StorageError where it cannot be."""
        with self._sealing:
            size = self._size
            if self._file is None or size == self._sealed_size:
                return
            if self._n_segments == SEGMENTS:
                self._n_sealed = self._sealed_size = self._n_segments = 0
            content = os.pread(self._file, size - self._sealed_size, self._sealed_size)
            self._lease.seal(self._n_sealed, content)
            self._n_sealed, self._sealed_size = self._n_sealed + content.count(b"\n"), size
            self._n_segments += 1
            self._lasting.extend(self.events[len(self._lasting) : self._n_sealed])

    def close(self) -> None:
        with self._sealing:  # what may be done until the lease is given up
            super().close()

    def _must_last(self, event: Event) -> bool:
        if not isinstance(event, Reported):
            return isinstance(event, LASTING)
        unsealed = self.events[self._n_sealed : -1]
        ahead = any(isinstance(other, Reported) and other.trial == event.trial for other in unsealed)
        return ahead or event.epoch == self.sweep.header["epochs"] - 1
