"""The command line: options to a spec, results to a table or JSON. What is slow to import waits for the signals."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from trainables.credentials import shown_uris
from trainables.errors import UserError
from tuner.cli.forgiving_stderr import forgiving_stderr, unwritten
from tuner.cli.printable import printable
from tuner.cluster.ray_thread import leave_process
from tuner.cluster.signals import Signals, StoppedError, stop_signals


@forgiving_stderr()
def run() -> int:
    """The command; its exit code. A user's mistake is one message and, as a rule, 2; results that cannot be printed are
    another, and 1.
    """
    cause: OSError | None
    try:
        code = _command()
        cause = unwritten()
    except OSError as error:
        if unwritten() is None:
            raise
        cause = error
    if cause is None:
        return code
    if cause.errno != errno.EPIPE:  # whose reader has seen enough
        print(f"Error: the result cannot be written to standard output: {cause.strerror}", file=sys.stderr)
    return 1


def _command() -> int:
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
    """The `vae-tuner` command. A signal that comes after its last word ends it without one more."""
    try:
        code = run()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    leave_process(code)
