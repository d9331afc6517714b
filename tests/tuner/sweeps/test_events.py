"""Journals that verify and say what no sweep can be told from: a sentence that names line and event."""

import pytest

from trainables.errors import UserError
from tuner.sweeps.events import KINDS, JournalError
from tuner.sweeps.journal import bytes_of, read_journal
from tuner.sweeps.state import fold
from tuner.sweeps.status import known_sweep, sweep_statuses
from tuner.tracking.removal import remove_sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The events of a sweep that ran, made once."""
    return {}


@pytest.fixture
def events(sweeps, swept):
    if not swept:
        sweeps.run("s")
        swept["events"] = sweeps.events("s")
        remove_sweep(sweeps.storage, "s")
    return [dict(event) for event in swept["events"]]


@pytest.fixture
def store(sweeps):
    """Write events as the journal of a sweep."""

    def write(name, events):
        (sweeps.storage / name).mkdir(parents=True, exist_ok=True)
        numbered = [{**event, "seq": seq} for seq, event in enumerate(events)]
        (sweeps.storage / name / "journal.jsonl").write_bytes(bytes_of(numbered))
        return sweeps.storage

    return write


def first(events, name):
    return next(i for i, event in enumerate(events) if event["event"] == name)


def without(events, name):
    return [event for i, event in enumerate(events) if i != first(events, name)]


def changed(events, name, **fields):
    i = first(events, name)
    kept = {field: value for field, value in {**events[i], **fields}.items() if value is not ...}
    return [*events[:i], kept, *events[i + 1 :]]


def configured(events, section, value):
    return changed(events, "ask", config={**events[first(events, "ask")]["config"], section: value})


BROKEN = {
    "no header": (lambda events: without(events, "header"), 1, "ask", "the header is missing"),
    "two headers": (lambda events: [events[0], *events], 2, "header", "there are two headers"),
    "no ask": (lambda events: without(events, "ask"), None, "report", "trial 0000 was never asked for"),
    "a newer event": (
        lambda events: [*events, {**events[-1], "event": "forked"}],
        -1,
        "forked",
        "this version does not know it; use the version that wrote it",
    ),
    "no metrics": (lambda events: changed(events, "report", metrics=...), None, "report", "metrics is missing"),
    "words for metrics": (
        lambda events: changed(events, "report", metrics={"val/elbo": "good"}),
        None,
        "report",
        "val/elbo is 'good'",
    ),
    "a number beyond all": (
        lambda events: changed(events, "report", metrics={"val/elbo": 10**400}),
        None,
        "report",
        "val/elbo is larger than any number of its kind",
    ),
    "a number for a trial": (lambda events: changed(events, "ask", trial=7), None, "ask", "7 is not the id of a trial"),
    "a trial that leads out": (
        lambda events: changed(events, "ask", trial="../x"),
        None,
        "ask",
        "'../x' is not the id of a trial",
    ),
    "no configuration": (lambda events: changed(events, "ask", config={}), None, "ask", "config.data is missing"),
    "a model that is none": (lambda events: configured(events, "model", 3), None, "ask", "config.model is 3"),
    "a model of no kind": (lambda events: configured(events, "model", {}), None, "ask", "config.model.kind is missing"),
    "data without a name": (lambda events: configured(events, "data", {}), None, "ask", "config.data.name is missing"),
    "words for epochs": (lambda events: configured(events, "epochs", "few"), None, "ask", "config.epochs is 'few'"),
    "no seed": (lambda events: configured(events, "seed", None), None, "ask", "config.seed is None"),
    "no spec": (lambda events: changed(events, "header", spec=...), 1, "header", "spec is missing"),
    "a spec without trials": (
        lambda events: changed(events, "header", spec={"search": {}, "tracking": {"experiment": "e"}}),
        1,
        "header",
        "trials is missing",
    ),
    "no id": (lambda events: changed(events, "header", sweep_id=...), 1, "header", "sweep_id is missing"),
}


FIXES = ("; use the version that wrote it", "; restore the file from a copy, or remove the sweep: `vae-tuner rm`")


@pytest.mark.parametrize("kind", BROKEN)
def test_what_verifies_and_cannot_be_folded_names_line_and_event(kind, events, store):
    change, line, name, cause = BROKEN[kind]
    broken = change(events)
    root = store("broken", broken)
    assert len(read_journal(root / "broken" / "journal.jsonl")) == len(broken)
    line = first(broken, name) + 1 if line is None else line % (len(broken) + 1)
    for read in (lambda: known_sweep(root, "broken"), lambda: sweep_statuses(root, "broken")):
        with pytest.raises(JournalError) as error:
            read()
        text = str(error.value)
        assert f", line {line}, event `{name}`: {cause}" in text
        assert text.startswith("the journal of sweep ")
        assert text.endswith(
            ("; use the version that wrote it", "; restore the file from a copy, or remove the sweep: `vae-tuner rm`")
        )


@pytest.mark.parametrize("kind", BROKEN)
def test_one_of_them_hides_no_other_and_can_be_removed(kind, events, store):
    store("whole", events)
    root = store("broken", BROKEN[kind][0](events))
    found = {status.name: status.state for status in sweep_statuses(root)}
    assert found == {"broken": "damaged", "whole": "completed"}
    assert remove_sweep(root, "broken").name == "broken"
    assert [status.name for status in sweep_statuses(root)] == ["whole"]


def test_a_sweep_without_a_journal_can_be_removed(events, store):
    root = store("s", events)
    with pytest.raises(UserError, match="no sweep 'notes' in "):
        remove_sweep(root, "notes")
    (root / "notes").mkdir()
    (root / "notes" / "spec.yaml").write_text("a user's own folder")
    (root / "s" / "lock").touch()
    (root / "s" / "spec.yaml").touch()
    (root / "s" / "journal.jsonl").unlink()
    assert remove_sweep(root, "s").name == "s"
    with pytest.raises(UserError, match="no sweep 'notes' in "):
        remove_sweep(root, "notes")
    assert [path.name for path in root.iterdir()] == ["notes"]


def test_every_event_of_a_sweep_is_known(events):
    assert {event["event"] for event in events} <= KINDS.keys()
    assert fold(events).finished == "completed"
