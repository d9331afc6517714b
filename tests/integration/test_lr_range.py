"""`vae-tuner lr-range` as it is typed."""

import json

import pytest

from trainables.config.paths import parse_config
from tuner.sweeps.yaml_files import read_yaml


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lr-range")


def test_the_suggestion_is_printed_and_its_files_are_taken_by_the_other_verbs(folder, cli):
    done = cli(folder, "lr-range", "--set", "threads=1")
    assert done.code == 0, done.err
    assert "likelihood gaussian (the values are gray)" in done.err
    first = folder / "reports" / "lr-range-digits-1"
    base, top = (parse_config(read_yaml(first / "config.yaml")).lr.model_dump()[field] for field in ("base", "max"))
    assert f"--set lr.kind=clr --set lr.base={base} --set lr.max={top}" in done.out
    assert "sweep reports/lr-range-digits-1/sweep.yaml --plan" in done.out
    planned = cli(folder, "sweep", "reports/lr-range-digits-1/sweep.yaml", "--plan", "--format", "json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["space"][0] == {"path": "lr.kind", "varies": "fixed at clr", "condition": ""}


def test_json_is_one_document_and_the_next_free_folder_is_taken(folder, cli):
    (folder / "mine.yaml").write_text("{objective: {kind: geco}, lr: {kind: exponential}, threads: 1}")
    (folder / "reports" / "lr-range-digits-1").mkdir(parents=True, exist_ok=True)
    done = cli(folder, "lr-range", "mine.yaml", "--set", "batch_size=64", "--epochs", "6", "--format", "json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["files"]["figure"] == "reports/lr-range-digits-2/lr-range.png"
    assert (document["config"]["objective"]["kind"], document["batch_size"]) == ("geco", 64)
    assert len(document["lr"]) == len(document["loss"]) == len(document["smoothed"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "."], "--out . exists; name another folder, or remove it first"),
        (["--low", "2"], "learning rates from 2 to 1 do not rise; low must be above 0 and below high"),
        (["--high", "inf"], "learning rates from 1e-06 to inf are too far apart; high and high / low must be finite"),
        (["--epochs", "1"], "epochs: 1 are 37 steps and a range test needs at least 60; make it 2"),
        (["--set", "lr.bas=1"], "unknown key `lr.bas`; did you mean `lr.base`?"),
        (["--dataset", "minst"], "data.name: 'minst' is not a known data set; did you mean `mnist`?"),
        (["none.yaml"], "none.yaml does not exist; give the path of a YAML file"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(arguments, message, folder, mistake):
    assert mistake(folder, "lr-range", *arguments).startswith(message)


@pytest.mark.parametrize("arguments", [["--low", "3e-3", "--epochs", "50"], ["--linear", "--epochs", "100"]])
def test_a_loss_that_falls_at_once_gives_bounds(arguments, folder, cli, tmp_path):
    """Long tests smooth over more steps than the fall takes."""
    done = cli(folder, "lr-range", *arguments, "--out", tmp_path / "out", "--set", "threads=1")
    assert done.code == 0, done.err
    assert "NaN" not in done.err
    assert parse_config(read_yaml(tmp_path / "out" / "config.yaml")).lr.kind == "clr"


def test_a_test_that_finds_no_fall_says_so_and_fails(folder, cli):
    done = cli(folder, "lr-range", "--low", "1e-9", "--high", "1e-8", "--out", "flat", "--set", "threads=1")
    assert done.code == 1
    assert "the loss never fell clearly; try more epochs, or other rates" in done.err
    assert sorted(file.name for file in (folder / "flat").iterdir()) == ["lr-range.json", "lr-range.png"]
