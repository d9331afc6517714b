"""A user's file that cannot be read: one sentence, whatever library failed on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import DataError, UserError

LONGEST_CAUSE = 200
LONGEST_PATH = 400


@contextmanager
def reading(path: Path, kind: str, fix: str) -> Iterator[None]:
    """Turns whatever fails inside into a DataError that names the file, what is wrong, and what to do.

    kind: what the file is read as, `an image`. fix: what to do, `replace or remove it`. A damaged file makes the
    libraries that read it fail in ways of their own, so that nothing less than every Exception will do; a UserError
    says it all already. Example: `data.name: x.npz cannot be read as a NumPy file: File is not a zip file; save it
    again with np.savez`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise DataError(f"data.name: {shown(path)} cannot be read as {kind}: {_cause(error)}; {fix}") from None


def shown(path: Path) -> str:
    """A path as text that can be printed and encoded, whatever bytes it is called by, without its middle if it is
    long."""
    text = str(path).encode(errors="backslashreplace").decode()
    return text if len(text) <= LONGEST_PATH else f"{text[: LONGEST_PATH // 2]} … {text[-LONGEST_PATH // 2 :]}"


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    text = " ".join(words.split())
    return text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]} …"
