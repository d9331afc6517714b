"""Names of others on a terminal: files, tags and experiments may hold characters that steer it."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"


def printable(text: str) -> str:
    r"""A text whose control characters, and those that turn its direction, are written out: `\x1b[2J` for the four.

    >>> printable("a\x1bb")
    'a\\x1bb'
    """
    return "".join(_written_out(sign) if _steers(sign) else sign for sign in text)


def _steers(sign: str) -> bool:
    return sign not in KEPT and (
        unicodedata.category(sign) in ("Cc", "Cs") or unicodedata.bidirectional(sign) in _DIRECTIONS
    )


_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def _written_out(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
