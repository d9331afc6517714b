"""What a job has printed, taken apart: the lines a person reads, how its sweep stood, and the result at its end."""

from __future__ import annotations

import json
import re
from typing import Any

STATUS_LINES = "VAE_TUNER_STATUS_LINES"
"""The variable that asks a sweep for lines on how it stands."""
PREFIX = "vae-tuner-status "
REFUSAL = "Error: "


def readable(log: str) -> str:
    """The log without status lines."""
    return "".join(line for line in log.splitlines(keepends=True) if not line.startswith(PREFIX))


def latest_status(log: str) -> dict[str, Any] | None:
    """The last status line that is whole, None where there is none yet."""
    for line in reversed(log.splitlines()):
        if line.startswith(PREFIX) and (status := _parsed(line.removeprefix(PREFIX))):
            return status
    return None


def result_in(log: str) -> dict[str, Any] | None:
    """The document that `vae-tuner sweep --format json` ends with, None where the sweep has not come to that."""
    found = re.findall(r"^\{\n.*?^\}$", readable(log), re.MULTILINE | re.DOTALL)
    return _parsed(found[-1]) if found else None


def refusal_in(log: str) -> str | None:
    """What `vae-tuner` says at the end of a job that it refuses to run, None where it says nothing of the kind."""
    last = log.rstrip().rpartition("\n")[2]
    return last if last.startswith(REFUSAL) else None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
