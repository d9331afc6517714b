import csv
import io
from zipfile import ZipFile

import pytest
from comparisons import compared

from trainables.errors import ConfigError, UserError
from tuner.comparison.request import Request, remembered
from tuner.reports.comparison_page import write_comparison_page
from tuner.reports.zip_file import export
from tuner.sweeps.journal import parse_journal


@pytest.fixture
def packed(sweeps, tmp_path):
    """packed(paths of the spec) → what a sweep's file holds, by its path in the sweep."""

    def make(name="s", **paths):
        sweeps.run(name, **paths)
        return contents(export(sweeps.storage, name, tmp_path / "a.zip").file, name)

    return make


def contents(file, name):
    with ZipFile(file) as zipped:
        assert zipped.testzip() is None
        assert all(path.startswith(f"{name}/") and ".." not in path for path in zipped.namelist())
        return {path.removeprefix(f"{name}/"): zipped.read(path) for path in zipped.namelist()}


def test_everything_known_of_a_sweep_is_in_its_file(packed, sweeps):
    found = packed()
    sweep = sweeps.storage / "s"
    assert found["journal.jsonl"] == (sweep / "journal.jsonl").read_bytes()
    assert parse_journal("", found["journal.jsonl"])[0] == sweeps.events("s")
    per_trial = {f"trials/000{number}/{file}" for number in range(4) for file in ("config.yaml", "curves.csv")}
    report = {
        f"report/{file}"
        for file in ("index.html", "answer.json", "trials.csv", "curves.csv", "curves.png", "slices.png")
    }
    assert found.keys() == {"README.txt", "spec.yaml", "journal.jsonl", "best/config.yaml", *per_trial, *report}


def test_curves_have_a_row_for_each_epoch(undrawn, packed, sweeps):
    rows = list(csv.DictReader(io.StringIO(packed()["trials/0002/curves.csv"].decode())))
    reports = [event for event in sweeps.events("s") if event["event"] == "report" and event["trial"] == "0002"]
    assert [(int(row["epoch"]), float(row["val/elbo_cal"])) for row in rows] == [
        (event["epoch"], event["metrics"]["val/elbo_cal"]) for event in reports
    ]


def test_the_reader_is_told_of_what_is_there_and_nothing_else(undrawn, packed):
    text = packed()["README.txt"].decode()
    for part in ("report/", "best/", "trials/", "spec.yaml", "journal.jsonl"):
        assert f"  {part} " in text
    assert "vae-tuner train" not in text, "there is no checkpoint"


def test_a_checkpoint_comes_with_the_commands_that_use_it(undrawn, sweeps, tmp_path):
    sweeps.run("s")
    (sweeps.storage / "s" / "trials" / "0002" / "checkpoint.safetensors").write_bytes(b"weights")
    result = export(sweeps.storage, "s", tmp_path / "a.zip")
    found = contents(result.file, "s")
    assert (result.best, found["best/checkpoint.safetensors"]) == ("0002", b"weights")
    assert "vae-tuner train best/config.yaml" in found["README.txt"].decode()
    assert 'tuner.load("best/checkpoint.safetensors")' in found["README.txt"].decode()


def test_a_sweep_that_runs_is_packed_as_it_stands(undrawn, sweeps, tmp_path):
    sweeps.run("s")
    sweeps.cut("s", 4)
    before = (sweeps.storage / "s" / "journal.jsonl").read_bytes()
    result = export(sweeps.storage, "s", tmp_path / "a.zip")
    found = contents(result.file, "s")
    assert result.best is None
    assert not [path for path in found if path.startswith(("best/", "report/"))]
    assert "index.html" not in found["README.txt"].decode()
    assert (sweeps.storage / "s" / "journal.jsonl").read_bytes() == before


def test_a_link_that_lies_in_wait_is_not_written_through(undrawn, sweeps, tmp_path):
    sweeps.run("s")
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".s.zip.part").symlink_to(tmp_path / "precious")
    export(sweeps.storage, "s", tmp_path / "s.zip")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("linked", ["trials/0002/samples.png", "trials/0002", "trials"])
def test_no_link_is_followed(undrawn, linked, sweeps, tmp_path):
    sweeps.run("s")
    place = sweeps.storage / "s" / linked
    secret = tmp_path / "secret"
    if place.exists():
        place.rename(secret)
    else:
        secret.write_text("secret")
    place.symlink_to(secret)
    found = contents(export(sweeps.storage, "s", tmp_path / "a.zip").file, "s")
    assert "best/samples.png" not in found
    assert ("best/config.yaml" in found) == (linked == "trials/0002/samples.png")


def test_no_password_is_packed(undrawn, packed):
    found = packed(**{"tracking.uri": "http://me:pa55word@127.0.0.1:9"})
    assert not [path for path, content in found.items() if b"pa55word" in content]


def test_a_file_is_never_overwritten_and_never_half_there(undrawn, sweeps, tmp_path, monkeypatch):
    sweeps.run("s")
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(UserError, match=r"a\.zip exists; name another file, or remove it first"):
        export(sweeps.storage, "s", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_text() == "mine"
    monkeypatch.setattr("tuner.reports.zip_file._curves", lambda trial: 1 / 0)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        export(sweeps.storage, "s", tmp_path / "b.zip")
    assert sorted(tmp_path.iterdir()) == before


def test_mistakes_are_one_sentence(undrawn, sweeps, tmp_path):
    sweeps.run("s")
    with pytest.raises(ConfigError, match=r"a\.tar: the file must end in \.zip"):
        export(sweeps.storage, "s", tmp_path / "a.tar")
    with pytest.raises(UserError, match=r"a\.zip cannot be written: No such file or directory; name a file in an exis"):
        export(sweeps.storage, "s", tmp_path / "none" / "a.zip")
    for name in ("nope", "../sweeps/s", str(sweeps.storage / "s")):
        with pytest.raises(UserError, match="name: no sweep "):
            export(sweeps.storage, name, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_comparison_is_packed_with_its_page_and_its_journals(undrawn, sweeps, tmp_path):
    remembered(Request("c"), sweeps.storage / "c")
    sweeps.run("c.pilot")
    with pytest.raises(UserError, match=r"comparison c has no page in .*reports/c yet; repeat its command"):
        export(sweeps.storage, "c", tmp_path / "a.zip", tmp_path / "reports")
    write_comparison_page(compared("geco", pool=2), tmp_path / "reports" / "c", "vae-tuner compare", {})
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "reports" / "c" / "stolen.json").symlink_to(tmp_path / "secret")
    found = contents(export(sweeps.storage, "c", tmp_path / "a.zip", tmp_path / "reports").file, "c")
    assert found["journals/pilot.jsonl"] == sweeps.journal("c.pilot").read_bytes()
    assert {
        "README.txt",
        "comparison.json",
        "report/index.html",
        "report/answer.json",
        "report/runs.csv",
    } <= found.keys()
    assert "report/stolen.json" not in found
    (sweeps.storage / "linked").symlink_to(sweeps.storage / "c")
    with pytest.raises(UserError, match="name: no sweep 'linked'"):
        export(sweeps.storage, "linked", tmp_path / "b.zip", tmp_path / "reports")
