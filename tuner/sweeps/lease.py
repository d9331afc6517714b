"""Who holds a sweep's folder, on a file system that several machines may share, and when it may be taken over.

The folder's owner file with the highest number names its driver; taking over is creating the next number, which a
file system lets only one do. The driver sets its file's time every few seconds. On the owner's machine its process
tells whether it lives; elsewhere the file's age does, by the file server's clock alone.

The lease says who should run, and who may put a file in the journal's place. That no other can write to that file does
not rest on it, nor on any clock: see `tuner.sweeps.journal`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from trainables.errors import StorageError, UserError
from trainables.folder import FULL, unusable

RENEW_SECONDS = 10.0
EXPIRY_SECONDS = 60.0
LOOK_SECONDS = 1.0

OWNER_FILE = re.compile(r"owner-(\d+)\.json")


class FencedError(StorageError):
    """Another driver has taken the sweep over; this one writes nothing more."""

    exit_code = 1


# --- processes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Owner:
    """A driver's session and process. place: the boot and the PID namespace in which `pid` and `started` name it."""

    session: str
    host: str
    pid: int
    started: int
    place: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def alive(self) -> bool | None:
        """Whether the process runs; None where that cannot be seen from here."""
        return start_of(self.pid) == self.started if self.place == this_place() else None


def this_process(number: int) -> Owner:
    """This process as the owner of a sweep's session of this number; sessions sort by their numbers."""
    session = f"{number:06}-{uuid.uuid4().hex[:8]}"
    return Owner(session, socket.gethostname(), os.getpid(), start_of(os.getpid()) or 0, this_place())


def this_place() -> str:
    """The boot and the PID namespace of this process, else its host."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def start_of(pid: int) -> int | None:
    """When a process began, in clock ticks since boot, 0 where the system does not say; None where none runs."""
    if not Path("/proc/self/stat").exists():
        return 0 if _exists(pid) else None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


# --- the rule ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnerView:
    """What can be seen of a sweep's owner. lock_free: whether the folder's lock was to be had.

    number: of the owner file, 0 where there is none. owner: None where the file says nothing (yet).
    time: when the file was last renewed, 0 for given up; age: seconds since then where the process cannot be seen.
    Both are by the file server's clock.
    """

    lock_free: bool
    number: int = 0
    owner: Owner | None = None
    time: float = 0.0
    age: float = 0.0


def seconds_until_takeover(seen: OwnerView) -> float:
    """Seconds until a sweep may be taken over if nothing changes; inf while its process lives.

    The lock is believed about this machine alone: elsewhere it may outlive its process, or not be seen.
    """
    alive = seen.owner.alive if seen.owner else None
    if not seen.time or alive is False:
        return 0.0 if seen.lock_free else math.inf
    return math.inf if alive else max(0.0, EXPIRY_SECONDS - seen.age)


# --- a folder ---------------------------------------------------------------------------------------------------------


def is_owner_file(name: str) -> bool:
    """Whether a file of this name in a sweep's folder says who holds it."""
    return OWNER_FILE.fullmatch(name) is not None


def is_held(folder: Path) -> bool:
    """Whether a driver holds the sweep, as far as can be seen from here."""
    return seconds_until_takeover(_look(folder, True)) > 0


def _look(folder: Path, lock_free: bool) -> OwnerView:
    try:
        number = max(_numbers(folder), default=0)
        with _path(folder, number).open("rb") as file:  # opened, so that a network file system asks its server
            content, renewed = file.read(), os.fstat(file.fileno()).st_mtime
    except OSError:
        return OwnerView(lock_free)
    try:
        owner = Owner(**json.loads(content))
    except (ValueError, TypeError):
        owner = None
    elsewhere = renewed and (owner is None or owner.alive is None)
    return OwnerView(lock_free, number, owner, renewed, _server_time(folder) - renewed if elsewhere else 0.0)


def is_gone(file: int) -> bool:
    """Whether an open file was removed or replaced; a network file system has an error for that."""
    try:
        return os.fstat(file).st_nlink == 0
    except OSError as error:
        return error.errno == errno.ESTALE


def _numbers(folder: Path) -> list[int]:
    return [int(match[1]) for path in folder.iterdir() if (match := OWNER_FILE.fullmatch(path.name))]


def _path(folder: Path, number: int) -> Path:
    return folder / f"owner-{number:06}.json"


def _server_time(folder: Path) -> float:
    """Now, by the clock that stamps the folder's files; this machine's where nothing may be written."""
    try:
        (folder / "lock").touch()
        return (folder / "lock").stat().st_mtime
    except OSError:
        return time.time()


class Lease:
    """A sweep's folder, held by this process. session: names what it writes."""

    def __init__(self, folder: Path, number: int, owner: Owner, file: int) -> None:
        self.session = owner.session
        self._folder, self._number, self._file = folder, number, file
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @classmethod
    def take(cls, folder: Path, number: int, *, to_remove: bool = False) -> Self | None:
        """Take a folder over under the next number; None where another was quicker. to_remove: also where a full disk
        has no room for this process's name."""
        try:
            file = os.open(_path(folder, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return None
        owner = this_process(number)
        try:
            os.write(file, json.dumps(asdict(owner)).encode() + b"\n")
            os.fsync(file)
        except OSError as error:
            if not (to_remove and error.errno in FULL):  # an empty file holds the folder as well
                _give_up(file)
                raise
        # A number that was free because its owner was itself succeeded is no success; the highest is never removed.
        if max(_numbers(folder)) > number:
            os.close(file)
            _path(folder, number).unlink(missing_ok=True)
            return None
        for earlier in _numbers(folder):
            if earlier < number:
                _path(folder, earlier).unlink(missing_ok=True)
        lease = cls(folder, number, owner, file)
        lease._thread.start()
        return lease

    def check(self) -> None:
        """Raises FencedError where another has taken over, so far as this machine knows; costs a microsecond."""
        if self._lost or is_gone(self._file):
            raise taken_over(self._folder.name, _look(self._folder, True).owner)

    def release(self) -> None:
        """Give the folder up; its file stays, with no time."""
        self._ended.set()
        self._thread.join()
        _give_up(self._file)

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(OSError):  # a server that is away; what was taken over meanwhile is seen afterwards
                os.utime(self._file)
                self._lost = max(_numbers(self._folder), default=0) > self._number


def _give_up(file: int) -> None:
    """Leave an owner file without a time, which takes no space on a disk."""
    with suppress(OSError):
        os.utime(file, (0, 0))
    os.close(file)


# --- taking it --------------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Tell the user on stderr what is waited for."""
    sys.stderr.write(line + "\n")


@contextmanager
def leased(folder: Path, say: Callable[[str], None] = say, *, to_remove: bool = False) -> Iterator[Lease]:
    """Hold a sweep; raises UserError that names the process that holds it already. to_remove: on a full disk too.

    Where its owner cannot be seen from here, waits until that renews its lease or has let it expire, and says so.
    """
    lock = FileLock(folder / "lock", fallback_to_soft=False)
    try:
        lease = _take(folder, _is_to_be_had(lock), say, to_remove)
        try:
            yield lease
        finally:
            lease.release()
    finally:
        lock.release()


def _is_to_be_had(lock: FileLock) -> bool:
    """Take it, unless another has it. A file system that has no locks says nothing of others."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError:
        return True
    return True


def _take(folder: Path, lock_free: bool, say: Callable[[str], None], to_remove: bool) -> Lease:
    seen = awaited(folder.name, lambda: _look(folder, lock_free), say)
    try:
        lease = Lease.take(folder, seen.number + 1, to_remove=to_remove)
    except OSError as error:
        raise unusable(folder, error) from None
    if lease is None:
        raise held(folder.name, _look(folder, lock_free).owner)
    return lease


def awaited(name: str, look: Callable[[], OwnerView], say: Callable[[str], None]) -> OwnerView:
    """What is seen of a sweep once it may be taken over; raises UserError as soon as its owner gives a sign of life."""
    seen = look()
    wait = seconds_until_takeover(seen)
    if 0.0 < wait < math.inf:
        owner = _named(seen.owner)
        say(f"Sweep {name} was held by {owner}, not seen from here: waiting {wait:.0f} s for a sign of life")
    while 0.0 < wait < math.inf:
        time.sleep(min(wait, LOOK_SECONDS))
        before, seen = seen, look()
        renewed = seen.time and (seen.number, seen.time) != (before.number, before.time)
        wait = math.inf if renewed else seconds_until_takeover(seen)
    if wait:
        raise held(name, seen.owner)
    return seen


def held(name: str, owner: Owner | None) -> UserError:
    """The refusal of a sweep that has a driver."""
    return UserError(f"sweep {name} is held by {_named(owner)}; wait for its end, or stop it with Ctrl-C there")


def taken_over(name: str, owner: Owner | None) -> FencedError:
    """What stops a driver whose sweep has another."""
    return FencedError(
        f"sweep {name} was taken over by {_named(owner)}; this driver has stopped, and the sweep goes on there"
    )


def _named(owner: Owner | None) -> str:
    return str(owner or "another process")
