"""A comparison's own folder: one process works in it at a time, and a file in it is whole or not there."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trainables.errors import UserError
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
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
