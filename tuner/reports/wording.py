"""Numbers and settings as tables and pages show them."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["NO_BREAK", "duration", "minus", "percent", "text_of", "with_interval"]

HYPHEN = re.compile(r"(?<![\w.−-])-(?=[\d.])")
NO_BREAK = "\N{NO-BREAK SPACE}"


def minus(text: str) -> str:
    """Hyphens before numbers as minus signs."""
    return HYPHEN.sub("\N{MINUS SIGN}", text)


def with_interval(mean: float, lo: float, hi: float, form: str = ".2f") -> str:
    """`mean` above `(lo to hi)`."""
    bounds = f"({lo:{form.lstrip('+')}} to {hi:{form.lstrip('+')}})".replace(" ", NO_BREAK)
    return minus(f"{mean:{form}}\n{bounds}")


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}{NO_BREAK}%"


def duration(seconds: float) -> str:
    """In hours, below one in minutes."""
    return f"{seconds / 3_600:.2g} hours" if seconds >= 3_600 else f"{seconds / 60:.2g} minutes"


def text_of(value: Any) -> str:
    """A number to five digits; a word, a list and what is off as it is written after `--set`."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, default=str)
