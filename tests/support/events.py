"""Events for journals, from plain data."""

from tuner.sweeps.events import line_of, parse_event


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
