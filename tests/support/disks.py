"""Files that are written without waiting for the disk: what the kernel was given outlives a process, however it dies.

Only a power failure takes it, and no test takes the power away.
"""

import os
import sqlite3

from sqlalchemy import event
from sqlalchemy.engine import Engine


def wait_for_no_disk():
    """In this process, and in those that it forks."""
    os.fsync = os.fdatasync = os.fstat  # which refuses what is no open file, too
    event.listen(Engine, "connect", _without_waiting)


def _without_waiting(connection, record):
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
