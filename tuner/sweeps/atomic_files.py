"""Files that are whole or not there, and a comparison's own folder, in which one process works at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trainables.errors import ConfigError, UserError
from trainables.folder import replacing
from tuner.sweeps.lease import leased


@contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Hold a comparison by its folder; raises UserError that names the process that runs it already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"storage: {folder} cannot be written: {error.strerror}; choose another with --storage"
        ) from None
    with ExitStack() as held:
        try:
            held.enter_context(leased(folder))
        except UserError as error:
            raise type(error)(re.sub("^sweep ", "comparison ", str(error))) from None
        yield


def write_json(file: Path, value: Any) -> None:
    """Put plain data in a file's place, whole at once."""
    with replacing(file) as part:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")


@contextmanager
def new_file(file: Path, *suffixes: str) -> Iterator[Path]:
    """A path beside a new file to write to: at the end of the block it becomes the file, and is gone after an error.

    Raises ConfigError for another suffix, and UserError for a file that exists or cannot be written.
    """
    if file.suffix not in suffixes:
        raise ConfigError(f"{file}: the file must end in {', '.join(suffixes)}")
    if file.exists() or file.is_symlink():
        raise UserError(f"{file} exists; name another file, or remove it first")
    ours = [None, str(file)]
    try:
        with replacing(file) as part:
            ours.append(str(part))
            yield part
    except OSError as error:
        if error.filename not in ours:
            raise UserError(f"{file} cannot be made: {error.filename}: {error.strerror}") from None
        raise UserError(f"{file} cannot be written: {error.strerror}; name a file in an existing folder") from None
