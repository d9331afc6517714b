"""What the events of a journal must hold, so that a sweep can be told from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trainables.errors import UserError

__all__ = ["JournalError", "check_event", "check_header", "unusable"]

Types = tuple[type, ...]

TEXT: Types = (str,)
WHOLE: Types = (int,)
NUMBER: Types = (int, float)
TREE: Types = (dict,)
LIST: Types = (list,)
NONE: Types = (type(None),)
ANY: Types = (object,)

REQUIRED: dict[str, dict[str, Types]] = {
    "header": {},
    "prior": {"source_sweep": TEXT, "source_trial": TEXT, "assignment": TREE, "values": TREE},
    "ask": {"trial": ANY, "number": WHOLE, "assignment": TREE, "config": TREE, "method": TEXT},
    "report": {
        "trial": TEXT,
        "epoch": WHOLE,
        "metrics": TREE,
        "decision": TEXT,
        "reason": TEXT + NONE,
        "rung": WHOLE + NONE,
        "outcome": TEXT + NONE,
    },
    "decision": {"trial": TEXT, "reason": TEXT + NONE},
    "failure": {"trial": TEXT},
    "warning": {},
    "end": {"trial": TEXT, "reason": TEXT, "error": TEXT + NONE},
    "budget": {},
    "exhausted": {},
    "resume": {"more": WHOLE},
    "finish": {"reason": TEXT},
}
"""By event, what it has in journals of every version. A new event is a new line here."""

OPTIONAL: dict[str, Types] = {
    "name": TEXT,
    "sweep_id": TEXT,
    "spec": TREE,
    "space": TREE,
    "metric": TEXT,
    "direction": TEXT,
    "metrics": TREE,
    "epochs": WHOLE,
    "rungs": LIST,
    "scheduler": TREE,
    "seeds": LIST,
    "kappa_min": TREE,
    "data": TEXT + NONE,
    "code": TREE,
    "versions": TREE,
    "changed": LIST,
    "place": TEXT,
    "memory": TREE,
    "repeat": WHOLE,
    "compared": WHOLE + NONE,
    "why": TEXT + NONE,
    "kind": TEXT + NONE,
}
"""By field, what it is in any event that has it."""

HEADER = ("name", "sweep_id", "spec", "space", "metric", "direction", "epochs", "rungs", "scheduler")
"""What the header of a sweep has in every version."""

CONFIG: dict[str, Types] = {"data": TREE, "model": TREE, "epochs": WHOLE, "seed": WHOLE}
"""What the configuration of a trial has in every version, also one that is not valid."""

OF_A_TRIAL = ("report", "decision", "failure", "end")


class JournalError(UserError):
    """A journal that cannot be trusted."""


class _UnknownEventError(ValueError):
    pass


def check_event(event: Mapping[str, Any], begun: bool, trials: Collection[str]) -> None:
    """Raises ValueError, in a clause, for an event that cannot follow. begun: after a header; trials: those
    asked for."""
    name = event["event"]
    if name not in REQUIRED:
        raise _UnknownEventError("this version does not know it")
    if begun == (name == "header"):
        raise ValueError("the header stands twice" if begun else "the header is missing before it")
    _check_fields(event, {"session": TEXT, "t": NUMBER, **REQUIRED[name]})
    _check_fields(event, {field: types for field, types in OPTIONAL.items() if field in event})
    if name in OF_A_TRIAL and event["trial"] not in trials:
        raise ValueError(f"trial {event['trial']} was never asked for")
    if name == "ask":
        _check_config(event["config"])
    if name == "report":
        _check_fields(event["metrics"], dict.fromkeys(event["metrics"], NUMBER))
        for metric, value in event["metrics"].items():
            _check_size(metric, value)


def _check_config(config: Mapping[str, Any]) -> None:
    _check_fields(config, CONFIG, "config.")
    _check_fields(config["data"], {"name": TEXT}, "config.data.")
    _check_fields(config["model"], {"kind": TEXT}, "config.model.")


def _check_size(field: str, value: float) -> None:
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{field} is larger than any number of its kind") from None


def check_header(header: Mapping[str, Any]) -> None:
    """Raises ValueError for a header that lacks what every version writes."""
    _check_fields(header, {field: OPTIONAL[field] for field in HEADER})
    _check_fields(header["spec"], {"search": TREE, "tracking": TREE})
    _check_fields(header["spec"]["search"], {"trials": WHOLE})
    _check_fields(header["spec"]["tracking"], {"experiment": TEXT})
    _check_fields(header["scheduler"], {"kind": TEXT})
    if header["direction"] not in ("max", "min"):
        raise ValueError(f"direction is {header['direction']!r}")


def unusable(place: str, line: int, event: Mapping[str, Any], error: Exception) -> JournalError:
    """The refusal of a journal for one of its events. place: what it is called; error: what was wrong with the event,
    which may be anything: what has a checksum may still say anything."""
    newer = isinstance(error, _UnknownEventError)
    cause = str(error) if isinstance(error, ValueError | UserError) else f"it cannot be understood ({error!r:.60})"
    fix = "use the one that wrote it" if newer else "restore the file from a copy, or remove the sweep: `vae-tuner rm`"
    return JournalError(f"{place}, line {line}, event `{event['event']}`: {cause}; {fix}")


def _check_fields(values: Mapping[str, Any], fields: Mapping[str, Types], section: str = "") -> None:
    """section: what comes before the name of a field."""
    for field, types in fields.items():
        if field not in values:
            raise ValueError(f"{section}{field} is missing")
        if not isinstance(values[field], types) or isinstance(values[field], bool):
            raise ValueError(f"{section}{field} is {values[field]!r:.60}")
