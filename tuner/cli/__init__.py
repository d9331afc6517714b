"""The command line: options to a spec, results to a table or JSON. What is slow to import waits for the signals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from trainables.credentials import shown_uris
from trainables.errors import UserError
from tuner.running.ray_thread import leave_process
from tuner.running.signals import Signals, StoppedError, stop_signals
from tuner.terminal.forgiving import forgiving_stderr
from tuner.terminal.printable import printable

__all__ = ["main", "run"]


@forgiving_stderr()
def run() -> int:
    """The command; its exit code. A user's mistake is one message and, as a rule, 2."""
    try:
        with stop_signals() as signals, _not_by_typer(signals), signals.interrupting():
            from tuner.cli.commands import app

            app()
    except UserError as error:
        print(f"Error: {printable(shown_uris(str(error)))}", file=sys.stderr)
        return error.exit_code
    except StoppedError as stopped:
        print(f"{stopped}.", file=sys.stderr)
        return stopped.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def _not_by_typer(signals: Signals) -> Iterator[None]:
    """Typer makes an exit of any interrupt, without a word."""
    try:
        yield
    except SystemExit:
        signals.check()
        raise


def main() -> NoReturn:
    """The `vae-tuner` command."""
    leave_process(run())
