"""What a user's own code raises, told as its own."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


class RaisedError(Exception):
    """A user's code has raised something: its type and text on one line, and the line of his that it left.

    error: what it has raised.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(_described(error))


@contextmanager
def users_code() -> Iterator[None]:
    """Whatever the block raises becomes a RaisedError, a SystemExit too; but for an interrupt, which is of the user
    himself: his model is not to blame."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise RaisedError(error) from None


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    place = _place(error)
    return f"{type(error).__name__}{text and f': {text}'}{place and f' ({place})'}"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    libraries = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<frozen")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(libraries)]
    frames = [frame for frame in frames if frame.filename != importlib.__file__]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
