"""Events for journals, from plain data."""

import json

from configs import ANY

from tuner.sweeps.events import line_of, parse_event
from tuner.sweeps.state import Sweep


def new_event(kind, /, **fields):
    """An event of a kind, as a journal appends it."""
    head = {"session": "", "t": 0.0, "event": kind}
    return parse_event({**head, **fields})


def parsed(lines):
    """The events that the lines of a journal say."""
    return [parse_event(line) for line in lines]


def lines_of(events):
    """The lines of events, as plain data."""
    return [line_of(event) for event in events]


def asked(lines):
    """What was drawn for each trial."""
    return [line["assignment"] for line in lines if line["event"] == "ask"]


def happened(lines):
    """What happened in the trials, but for who wrote it and when."""
    kept = [line for line in lines if line["event"] in ("prior", "ask", "report", "decision")]
    return [{key: line[key] for key in line if key not in ("seq", "session", "t")} for line in kept]


class ToldSweep:
    """A sweep in memory, as it stands after the events that it is told. metrics: name → direction.

    lines: its events as plain data.
    """

    def __init__(self, metrics):
        self.sweep, self.lines = Sweep(), []
        metric, direction = next(iter(metrics.items()))
        self.add("header", metric=metric, direction=direction, metrics=metrics)

    def add(self, event, **fields):
        """An event, as a journal gives it back."""
        self.lines.append({"session": "a", "t": 0.0, "event": event, **json.loads(json.dumps(fields))})
        self.sweep.apply(parse_event(self.lines[-1]))

    def ask(self, suggestion):
        """The next trial, of what a search suggests."""
        number = len(self.sweep.trials)
        self.add("ask", trial=f"{number:04}", number=number, config=ANY, method="elbo", **suggestion._asdict())

    def report(self, trial, metrics, decision="stop", reason="completed", epoch=1):
        fields = {"epoch": epoch, "metrics": metrics, "decision": decision, "reason": reason}
        self.add("report", trial=trial, **fields, rung=None, outcome=None)
