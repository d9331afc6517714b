"""Errors of a user's own code, reported as such."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


class RaisedError(Exception):
    """An error of a user's code: its type and text on one line, and the line of the user's code that raised it.

    error: the error itself.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(_described(error))


@contextmanager
def users_code() -> Iterator[None]:
    """Everything that the block raises becomes a RaisedError, SystemExit too.

    A KeyboardInterrupt stays as it is: it comes from the user, and not from the model.
    """
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
