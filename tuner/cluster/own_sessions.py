"""Ray's processes in sessions of their own: a signal to this process's group does not reach them, and they end with it
all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

WATCH = 'while read -r leader; do all="$all -$leader"; done; kill -s KILL -- $all'
"""Ends all sessions that it was told of as soon as nobody can tell it of more: whoever did so has ended, however.

The kernel would do it for the processes that Ray starts, and not for those that these start.
"""

_watch: Popen[str] | None = None


@contextmanager
def in_own_sessions() -> Iterator[None]:
    """What Ray starts meanwhile leads a session; where no kernel ties it to us, Ray's own way is to end our group."""
    global _watch
    from ray._private import services, utils

    if not utils.detect_fate_sharing_support():
        yield
        return
    end_sessions()
    _watch = watch = Popen(
        ["/bin/sh", "-c", WATCH], stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, text=True, env={}, start_new_session=True
    )
    before = services.ConsolePopen

    def start(*command: Any, **options: Any) -> Popen[Any]:
        assert watch.stdin is not None
        process: Popen[Any] = before(*command, **{**options, "start_new_session": True})
        watch.stdin.write(f"{process.pid}\n")
        watch.stdin.flush()
        return process

    services.ConsolePopen = start
    try:
        yield
    except BaseException:
        end_sessions()
        raise
    finally:
        services.ConsolePopen = before


def end_sessions() -> None:
    """End what is left of them."""
    global _watch
    if _watch is None:
        return
    assert _watch.stdin is not None
    with suppress(OSError):
        _watch.stdin.close()
    _watch.wait()
    _watch = None
