"""What is printed, and where: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainables.importing import uncollected
from tuner.cli.printable import printable


class _SafeConsole(Console):
    """Writes out what would steer the terminal, in cells of tables too."""

    def render_str(self, text: str, **style: Any) -> Text:
        return super().render_str(printable(text), **style)


def out() -> Console:
    """Results; wide enough for a table where stdout is no terminal."""
    return _SafeConsole(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


def err() -> Console:
    return _SafeConsole(stderr=True, highlight=False, markup=False)


def print_json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def command(*words: object) -> str:
    """A `vae-tuner` command that can be copied into a shell here: by its path where it is not on PATH."""
    beside = Path(sys.executable).with_name("vae-tuner")
    is_known = shutil.which("vae-tuner") or not beside.exists()
    return shlex.join(["vae-tuner" if is_known else os.path.relpath(beside), *map(str, words)])


def complain(message: str) -> int:
    """A failure in one line on stderr; returns exit code 1."""
    err().print(message)
    return 1


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life where something takes seconds; what a user's code prints meanwhile goes to stderr too."""
    console = err()
    sign = console.status(f"{what} …") if console.is_terminal else nullcontext()
    with sign, redirect_stdout(sys.stderr), uncollected():
        yield


def new_table(*columns: str, rows: Iterable[Sequence[str]] = (), title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(f"· {note}", soft_wrap=True)
