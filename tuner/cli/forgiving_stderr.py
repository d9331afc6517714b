"""Standard error that may go away: what cannot be written there is given up, and what runs goes on."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF)
"""Nobody will read there any more: a pipe whose reader has ended, a terminal that was closed."""

WAIT_SECONDS = 0.5


class ForgivingStream(io.TextIOBase):
    """Writes to the file of another stream, past its buffer, and leaves out what that does not take.

    On a full disk the next line may fit again; a reader who is gone stays gone, and is written to no more. One who
    reads nothing for WAIT_SECONDS (Ctrl-S, a pager) is waited for no longer, until he reads again.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._file = stream, stream.fileno()
        self._gone = self._stalled = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def fileno(self) -> int:
        return self._file

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        content = memoryview(text.encode(self.encoding, "backslashreplace"))
        try:
            while content and not self._gone and self._takes_text():
                content = content[os.write(self._file, content[: select.PIPE_BUF]) :]
        except OSError as error:
            self._gone = error.errno in GONE
        return len(text)

    def _takes_text(self) -> bool:
        writable = select.select([], [self._file], [], 0 if self._stalled else WAIT_SECONDS)[1]
        self._stalled = not writable
        return bool(writable)


@contextmanager
def forgiving_stderr() -> Iterator[None]:
    """Whatever is printed on stderr meanwhile ends nothing; where there is no file behind it, it stays as it is."""
    _open_closed()
    before = sys.stderr
    try:
        before.flush()
        sys.stderr = ForgivingStream(before)
    except (OSError, ValueError):  # a notebook's has no file
        pass
    try:
        yield
    finally:
        sys.stderr = before


def unwritten() -> OSError | None:
    """Why standard output does not take what was printed there, None where it does. What is left of it is given up:
    Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            nowhere, file = os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            os.dup2(nowhere, file)
            os.close(nowhere)
        return error
    return None


def _open_closed() -> None:
    """Standard streams that a shell has closed (`2>&-`) lead nowhere; else the next file opened would take their place,
    and be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, os.O_RDWR)
            if file != number:
                os.dup2(file, number)
                os.close(file)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))
