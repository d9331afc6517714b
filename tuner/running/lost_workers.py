"""Why Ray lost the worker of a trial, read from the error that Tune wrote down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

Kind = Literal["raised", "worker", "node", "memory", "timeout"]
"""What was lost: `raised` a model's exception, `worker` a process, `node` the machine below it, `memory` its memory,
`timeout` the time for an epoch."""

TIMEOUT: Final = "timeout"
OUT_OF_MEMORY = "the machine ran out of memory; use fewer --lanes, or a smaller model or batch"


class Loss(NamedTuple):
    """What was lost, and the sentence for the user."""

    kind: Kind
    says: str


def error_of(tune_trial: Any) -> str:
    """What a Tune trial failed with; its `get_error` knows that only once it is in Tune's storage."""
    file = tune_trial.error_file
    return Path(file).read_text(encoding="utf-8") if file is not None else ""


def why(error: str) -> Loss:
    """What a worker died of, by the text of Ray's error; a worker that died for itself where it names nothing else.

    Ray tells of a worker's death within a second. A worker that is unavailable, and of which it tells nothing, was cut
    off with its node: that one counts as dead only after a quarter of a minute without a sign.
    """
    if "its node has died" in error:
        address = re.search(r"^\s*ip: (\S+)", error, re.MULTILINE)
        reason = re.search(r"the actor's node was (.+)", error)
        return Loss("node", f"its node{_after(' ', address)} was lost{_after(': ', reason)}")
    if "temporarily unavailable" in error:
        return Loss("node", "its node does not answer any more")
    if "running low on memory" in error:
        return Loss("memory", OUT_OF_MEMORY)
    return Loss("worker", "the worker process died: killed, or out of memory")


def _after(start: str, found: re.Match[str] | None) -> str:
    return f"{start}{found[1].strip()}" if found else ""
