"""Whether the file of a SQLite store is whole. Of a damaged one MLflow says no more than its driver does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from trainables.errors import UserError
from tuner.sweeps.tracking_uri import cause_of, sqlite_path

MEND = (
    "put a copy of it back, or move it away: `vae-tuner sync NAME` writes the records of a sweep anew, into a new file"
)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def reading(path: Path, timeout: float = 5.0) -> closing[sqlite3.Connection]:
    """An SQLite file to read from, for a block. timeout: seconds to wait for one that is locked."""
    return closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", timeout=timeout, uri=True))


def check_opens(path: Path) -> None:
    """Raises UserError for a file that is damaged where SQLite looks first: its header, length and list of tables."""
    _ask(path, "SELECT count(*) FROM sqlite_master")


def check_whole(path: Path) -> None:
    """Raises UserError for a file that is damaged anywhere; reads all of it."""
    found = _ask(path, "PRAGMA quick_check(1)")
    if found not in (None, "ok"):
        raise _damaged(path, found)


def check_undamaged(uri: str) -> None:
    """Raises UserError where the store is a file that is damaged anywhere; reads all of it, for whoever has got an
    error from it, or is about to train."""
    path = sqlite_path(uri)
    if path is not None:
        check_whole(path)


def cause_at(uri: str, error: BaseException) -> str:
    """The same of an error of the store at `uri`; where its file is damaged, that, and what to do."""
    try:
        check_undamaged(uri)
    except UserError as damage:
        return str(damage)
    return cause_of(error)


def _ask(path: Path, question: str) -> str | None:
    """SQLite's answer; None of a file that is missing, or locked just now."""
    if not path.is_file():
        return None
    try:
        with reading(path, timeout=0) as database:
            ((answer,),) = database.execute(question)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            raise _damaged(path, str(error)) from None
        return None
    return str(answer)


def _damaged(path: Path, says: str) -> UserError:
    fault = " ".join(says.removeprefix("*** in database main ***").split())
    return UserError(f"the database {path} is damaged ({fault}); {MEND}")
