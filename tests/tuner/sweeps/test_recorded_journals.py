"""Journals recorded before events were classes: their lines read as events, and written again the same to the byte."""

from pathlib import Path

import pytest
from events import lines_of, parsed

from tuner.sweeps.events import KINDS
from tuner.sweeps.journal import Journal, bytes_of, read_journal
from tuner.sweeps.state import fold

RECORDED = sorted((Path(__file__).parent / "journals").glob("*.jsonl"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_an_event_is_written_to_the_bytes_it_was_read_from(path):
    assert bytes_of(lines_of(parsed(read_journal(path)))) == path.read_bytes()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_sweep_goes_on(path, tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(path.read_bytes())
    journal = Journal.open(tmp_path / "journal.jsonl")
    planned = journal.sweep.planned
    assert journal.sweep.finished in ("completed", "budget")
    assert journal.sweep == fold(read_journal(path))
    journal.append(KINDS["resume"](more=1))
    journal.close()
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(path.read_bytes())
    assert fold(read_journal(tmp_path / "journal.jsonl")).planned == planned + 1


def test_nearly_every_kind_of_event_was_recorded():
    seen = {line["event"] for path in RECORDED for line in read_journal(path)}
    assert KINDS.keys() - seen <= {"exhausted"}
