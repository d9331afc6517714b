"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import FrameType

NOT_THE_USERS = ("trainables", "search_spaces", "tuner", "torch", "contextlib")


Notes = Callable[[Sequence[str]], None]
"""Takes notes for the user."""


def warn_user(text: str) -> None:
    """Warn at the line that called this project, however many calls ago."""
    n_frames = 1
    frame: FrameType | None = sys._getframe()
    while frame and str(frame.f_globals.get("__name__")).partition(".")[0] in NOT_THE_USERS:
        n_frames, frame = n_frames + 1, frame.f_back
    warnings.warn(text, stacklevel=n_frames)


def warn_all(texts: Iterable[str]) -> None:
    """Warn of each text as `warn_user` does."""
    for text in texts:
        warn_user(text)
