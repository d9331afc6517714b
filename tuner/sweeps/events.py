"""The events of a journal: a class for each kind, and how each becomes a line of the file and is read back.

A line is plain data: `seq` (its number, from 0), `session` (who wrote it), `t` (seconds since 1970), `event` (the name
of its kind) and the fields of the class, in their order. Fields that older versions did not write have defaults. A
field that a newer version added is ignored; an event that it added is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from trainables.errors import UserError

Line = dict[str, Any]
"""A journal's line as plain data."""


OMITTED = ("repeat", "why", "kind", "place", "data", "code", "versions", "members")
"""Fields that are not written where they are None."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event has. The journal sets seq, session and t; two events are equal where they say the same."""

    name: ClassVar[str]

    seq: int = field(default=-1, compare=False)
    session: str = field(default="", compare=False)
    t: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Header(Event):
    """The first line: what the sweep is.

    document: {format, name, sweep_id, place, tracking_uri, spec, space, metric, direction, metrics, epochs, rungs,
    scheduler, seeds, kappa_max, kappa_min, data, code, changed, versions}. kappa_min: by constraint, as measured before
    this line. data: the digest of the data. code: the digests of the user's own models, by kind. changed: what
    `--allow-changed` let pass.
    """

    name: ClassVar[str] = "header"

    document: dict[str, Any]


@dataclass(frozen=True)
class EarlierTrial(Event):
    """A trial of an earlier sweep, as an assignment of this one's space. values: by metric; none if it failed."""

    name: ClassVar[str] = "prior"

    source_sweep: str
    source_trial: str
    assignment: dict[str, Any]
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Asked(Event):
    """A new trial. number: of its configuration. repeat: which of its seeds, where there are several. memory: of the
    sampler, for its next suggestions."""

    name: ClassVar[str] = "ask"

    trial: Any
    number: int
    repeat: int | None = None
    assignment: dict[str, Any]
    memory: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any]
    method: str


@dataclass(frozen=True, kw_only=True)
class Reported(Event):
    """The metrics of an epoch and the decision on them. A report that says `stop` also ends its trial.

    reason: why the trial stops; None where it goes on. rung, cutoff: where the value was filed and the value that it
    had to reach. compared: the epoch whose value was filed; None where the trial passed the rung without a value.
    checkpoint: the name of its file. why: a sentence, where the trial stopped because it no longer improved.
    """

    name: ClassVar[str] = "report"

    trial: str
    epoch: int
    metrics: dict[str, float]
    reason: str | None
    decision: str
    rung: int | None
    cutoff: float | None = None
    compared: int | None = None
    outcome: str | None
    checkpoint: str | None = None
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decided(Event):
    """The decision on a paused trial: `continue`, or `stop` for its reason."""

    name: ClassVar[str] = "decision"

    trial: str
    reason: str | None
    decision: str = ""
    rung: int | None = None
    cutoff: float | None = None


@dataclass(frozen=True)
class Failed(Event):
    """A trial was lost; it goes on from its last checkpoint. kind: its model `raised`, its `worker` or its `node` was
    lost, `memory` ran out, or a `timeout` has passed. members: of the lane that it was lost with, where it did not
    train there alone and any of them may have ended it."""

    name: ClassVar[str] = "failure"

    trial: str
    error: str = ""
    kind: str = "raised"
    members: int | None = None


@dataclass(frozen=True)
class Warned(Event):
    """A warning from a worker."""

    name: ClassVar[str] = "warning"

    trial: str = ""
    text: str = ""


@dataclass(frozen=True)
class Ended(Event):
    """A trial ended without a report. reason: `error`, `interrupted` or `budget`. kind: of an error, as in Failed, or
    `refused` where the configuration is not valid."""

    name: ClassVar[str] = "end"

    trial: str
    reason: str
    error: str | None
    kind: str | None = None


@dataclass(frozen=True)
class BudgetSpent(Event):
    """The budget of the sweep is spent, and something is left undone."""

    name: ClassVar[str] = "budget"


@dataclass(frozen=True)
class Exhausted(Event):
    """The search space has no configuration left that was not tried."""

    name: ClassVar[str] = "exhausted"


@dataclass(frozen=True)
class Resumed(Event):
    """Another session begins. more: trials beyond those planned. place: where the sweep is now; it may have been moved.
    data, code, versions, changed: as in the header."""

    name: ClassVar[str] = "resume"

    more: int
    place: str | None = None
    data: str | None = None
    code: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None
    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Finished(Event):
    """A session ended. reason: `completed`, `budget` or `interrupted`."""

    name: ClassVar[str] = "finish"

    reason: str


KINDS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        Header,
        EarlierTrial,
        Asked,
        Reported,
        Decided,
        Failed,
        Warned,
        Ended,
        BudgetSpent,
        Exhausted,
        Resumed,
        Finished,
    )
}
OF_THE_LINE = tuple(known.name for known in fields(Event))

# --- to plain data and back -------------------------------------------------------------------------------------------


def line_of(event: Event) -> Line:
    """An event as plain data."""
    head = {"seq": event.seq, "session": event.session, "t": event.t, "event": event.name}
    if isinstance(event, Header):
        return {**head, **event.document}
    own = {name: getattr(event, name) for name in TYPES[type(event)]}
    return head | {name: value for name, value in own.items() if not (value is None and name in OMITTED)}


def parse_event(line: Mapping[str, Any]) -> Event:
    """The event that a line says. Raises ValueError, in a clause, where it is unknown or a field is missing or has
    another type."""
    kind = KINDS.get(line["event"])
    if kind is None:
        raise _UnknownEventError("this version does not know it")
    _check_fields(line, {"session": (str,), "t": (int, float)})
    stamp = {name: line[name] for name in OF_THE_LINE if name in line}
    if kind is Header:
        _check_fields(line, {name: types for name, types in HEADER.items() if name in line})
        document = {name: value for name, value in line.items() if name not in OF_THE_LINE and name != "event"}
        return Header(document, **stamp)
    _check_fields(line, {name: TYPES[kind][name] for name in TYPES[kind] if name in line or name in REQUIRED[kind]})
    said = {name: line[name] for name in TYPES[kind] if name in line}
    if kind is Reported:
        _check_metrics(said["metrics"])
        said.setdefault("compared", said["epoch"])
    if kind is Asked:
        _check_config(said["config"])
    return kind(**stamp, **said)


Types = tuple[type, ...]


def _types_of(hint: Any) -> Types:
    """The types of plain data that a hint allows."""
    if hint is Any:
        return (object,)
    if isinstance(hint, UnionType):
        return tuple(found for part in get_args(hint) for found in _types_of(part))
    return (int, float) if hint is float else (get_origin(hint) or hint,)


def _own_types(kind: type[Event]) -> dict[str, Types]:
    hints = get_type_hints(kind)
    return {known.name: _types_of(hints[known.name]) for known in fields(kind) if known.name not in OF_THE_LINE}


def _required(kind: type[Event]) -> set[str]:
    return {known.name for known in fields(kind) if known.default is MISSING and known.default_factory is MISSING}


TYPES = {kind: _own_types(kind) for kind in KINDS.values()}
REQUIRED = {kind: _required(kind) for kind in KINDS.values()}

TEXT, WHOLE, TREE, LIST, NONE = (str,), (int,), (dict,), (list,), (type(None),)
HEADER: dict[str, Types] = {
    "name": TEXT,
    "sweep_id": TEXT,
    "spec": TREE,
    "space": TREE,
    "metric": TEXT,
    "direction": TEXT,
    "epochs": WHOLE,
    "rungs": LIST,
    "scheduler": TREE,
    "metrics": TREE,
    "seeds": LIST,
    "kappa_min": TREE,
    "data": TEXT + NONE,
    "code": TREE,
    "versions": TREE,
    "changed": LIST,
    "place": TEXT,
}
"""The types of a header's fields."""
IN_EVERY_HEADER = tuple(HEADER)[:9]

CONFIG: dict[str, Types] = {"data": TREE, "model": TREE, "epochs": WHOLE, "seed": WHOLE}
"""What the configuration of a trial has in every version, also one that is not valid."""

# --- what a journal must hold -----------------------------------------------------------------------------------------


class JournalError(UserError):
    """A journal that cannot be trusted."""


class _UnknownEventError(ValueError):
    pass


def check_order(event: Event, begun: bool, trials: Collection[str]) -> None:
    """Raises ValueError, in a clause, for an event that cannot come next. begun: there was a header; trials: those
    asked for."""
    if begun == isinstance(event, Header):
        raise ValueError("there are two headers" if begun else "the header is missing")
    if isinstance(event, Reported | Decided | Failed | Ended) and event.trial not in trials:
        raise ValueError(f"trial {event.trial} was never asked for")


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    _check_fields(metrics, dict.fromkeys(metrics, (int, float)))
    for metric, value in metrics.items():
        try:
            float(value)
        except OverflowError:
            raise ValueError(f"{metric} is larger than any number of its kind") from None


def _check_config(config: Mapping[str, Any]) -> None:
    _check_fields(config, CONFIG, "config.")
    _check_fields(config["data"], {"name": TEXT}, "config.data.")
    _check_fields(config["model"], {"kind": TEXT}, "config.model.")


def check_header(header: Mapping[str, Any]) -> None:
    """Raises ValueError for a header that lacks what every version writes."""
    _check_fields(header, {name: HEADER[name] for name in IN_EVERY_HEADER})
    _check_fields(header["spec"], {"search": TREE, "tracking": TREE})
    _check_fields(header["spec"]["search"], {"trials": WHOLE})
    _check_fields(header["spec"]["tracking"], {"experiment": TEXT})
    _check_fields(header["scheduler"], {"kind": TEXT})
    if header["direction"] not in ("max", "min"):
        raise ValueError(f"direction is {header['direction']!r}")


def unusable(place: str, line: int, event: str, error: Exception) -> JournalError:
    """The refusal of a journal for one of its events. place: what the journal is called. event: the event's name.
    error: what was wrong with it, of any type: a line with a right checksum may still say anything."""
    newer = isinstance(error, _UnknownEventError)
    cause = str(error) if isinstance(error, ValueError | UserError) else f"it cannot be understood ({error!r:.60})"
    fix = (
        "use the version that wrote it"
        if newer
        else "restore the file from a copy, or remove the sweep: `vae-tuner rm`"
    )
    return JournalError(f"{place}, line {line}, event `{event}`: {cause}; {fix}")


def _check_fields(values: Mapping[str, Any], wanted: Mapping[str, Types], section: str = "") -> None:
    """section: what comes before the name of a field."""
    for name, types in wanted.items():
        if name not in values:
            raise ValueError(f"{section}{name} is missing")
        if not isinstance(values[name], types) or isinstance(values[name], bool):
            raise ValueError(f"{section}{name} is {values[name]!r:.60}")
