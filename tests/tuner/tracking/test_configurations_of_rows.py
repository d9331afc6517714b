"""The configuration of a row is the file of its run, held to its digest."""

import json
from pathlib import Path

import pytest
from stores import execute, project

from trainables.config.paths import parse_config
from trainables.errors import UserError
from tuner.cli.tables import exported
from tuner.tracking.best import best
from tuner.tracking.configurations import config_of
from tuner.tracking.mlflow_store import Tag, open_client
from tuner.tracking.run_artifacts import artifact
from tuner.tracking.run_files import RunFiles


def config_file(uri, row):
    return Path(open_client(uri).get_run(row.run_id).info.artifact_uri) / "config.yaml"


def test_a_configuration_is_not_rebuilt_from_parameters(uri, written_journal):
    """Cut at 6,000 characters, as MLflow does it, or edited: they are for filters alone."""
    groups = ",".join(f"GROUP_{i:04}" for i in range(700))
    tree = {"model": {"kind": "nets:make", "kwargs": {"groups": groups}}, "lr": {"base": 0.25}}
    journal = written_journal()
    journal.trial("0000", [-1.0], "completed", tree)
    project(uri, journal)
    execute(
        uri,
        ("UPDATE params SET value = '0.5' WHERE key = 'lr.base'", ()),
        ("DELETE FROM params WHERE key = 'epochs'", ()),
    )
    (row,) = best(uri, where="lr.base = 0.5")
    stored = open_client(uri).get_run(row.run_id).data.params
    assert len(stored["model.kwargs.groups"]) == 6000
    assert row.config == parse_config(tree)
    assert row.fault == ""


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "has no config.yaml, which says what was trained"),
        ("epochs: 3", "is not what was trained: it does not match tag vae_tuner.config"),
        ("epochs: [", "is not what was trained: it does not match tag vae_tuner.config"),
        (b"\xff", "cannot be read: "),
    ],
)
def test_a_file_that_is_not_what_was_run_is_listed_and_refused(content, fault, swept):
    row = best(swept)[0]
    file = config_file(swept, row)
    file.unlink()
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    row, other = best(swept, top=2)
    assert (row.trial, row.config) == ("0003", None)
    assert other.config is not None
    assert row.fault.startswith(
        (f"run {row.run_id} (trial 0003 of sweep s)", f"config.yaml of run {row.run_id} (trial")
    )
    assert fault in row.fault
    with pytest.raises(UserError) as refusal:
        exported(row)
    assert str(refusal.value) == row.fault
    assert "`vae-tuner sync s`" in row.fault or "cannot be read" in row.fault


def test_a_command_with_what_others_wrote_into_a_tag_can_be_copied(swept):
    row = best(swept)[0]
    client = open_client(swept)
    client.set_tag(row.run_id, Tag.SWEEP, "s; touch owned")
    config_file(swept, row).write_text("epochs: 3")
    with pytest.raises(UserError, match="`vae-tuner sync 's; touch owned'` sends it"):
        config_of(client, client.get_run(row.run_id))


def test_the_file_of_an_earlier_version_is_taken_as_it_is(swept):
    row = best(swept)[0]
    open_client(swept).delete_tag(row.run_id, Tag.CONFIG)
    assert best(swept)[0].config == row.config
    config_file(swept, row).unlink()
    assert "has no config.yaml" in best(swept)[0].fault


def test_only_the_files_of_rows_that_are_shown_are_read(uri, written_journal, monkeypatch):
    journal = written_journal()
    for n in range(30):
        journal.trial(f"{n:04d}", [float(n)], "completed")
    project(uri, journal)
    read = []
    fetch = RunFiles.fetch
    monkeypatch.setattr(RunFiles, "fetch", lambda self, *names: read.append(names) or fetch(self, *names))
    assert [row.config for row in best(uri, top=3)] == [parse_config({})] * 3
    assert len(read) == 3


def test_best_lists_a_run_without_its_file_and_exports_none(swept, cli, tmp_path):
    folder = tmp_path / "store"
    config_file(swept, best(swept)[0]).unlink()
    listed = cli(folder, "best", "--top", "2", "--format", "json")
    assert (listed.code, [row["config"] is None for row in json.loads(listed.out)]) == (0, [True, False])
    assert "has no config.yaml" in listed.err
    table = cli(folder, "best")
    assert (table.code, "0003" in table.out, "configuration" in table.out) == (0, True, False)
    refused = cli(folder, "best", "--export", "best.yaml")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "(trial 0003 of sweep s) has no config.yaml" in refused.err
    assert not (folder / "best.yaml").exists()


def test_an_artifact_comes_back_and_a_missing_one_is_named(uri, written_journal, tmp_path):
    journal = written_journal()
    journal.trial("0000", [-1.0], "completed")
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    (tmp_path / "trials" / "0000" / "samples.png").write_bytes(b"png")
    project(uri, journal, trials=tmp_path / "trials")
    run_id = best(uri)[0].run_id
    assert artifact(uri, run_id, "samples.png", tmp_path).read_bytes() == b"png"
    with pytest.raises(UserError, match=r"has no checkpoint\.safetensors"):
        artifact(uri, run_id, "checkpoint.safetensors", tmp_path)
    with pytest.raises(UserError, match="run 'nonsense' is not in"):
        artifact(uri, "nonsense", "config.yaml", tmp_path)
