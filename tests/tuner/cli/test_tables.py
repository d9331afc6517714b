import shlex
from dataclasses import replace

import pytest
import yaml

from trainables.config.paths import parse_config
from trainables.errors import ConfigError
from tuner.cli.tables import exported, show_best, show_result
from tuner.tracking.best import BestTrial
from tuner.tracking.origin import Origin, parted
from tuner.tracking.registry import ModelVersion


def row(sweep, trial, metrics, method="elbo"):
    config = parse_config({})
    run = f"run-{trial}"
    return BestTrial(
        sweep, run, trial, method, "completed", "ok", "digits", "val/mse", metrics, None, [0], [run], config
    )


ROWS = [row("one", "0003", {"val/mse": 0.5, "val/kl": 2.0}), row("two", "0001", {"val/mse": 0.7, "val/kl": 1.0})]


def test_rows_of_several_sweeps_name_theirs(capsys):
    show_best(ROWS, "table")
    shown = capsys.readouterr().out
    assert shown.startswith("best by val/mse (2 sweeps)")
    assert shown.splitlines()[1].split()[:2] == ["sweep", "trial"]
    assert [line.split()[:2] for line in shown.splitlines()[2:4]] == [["one", "0003"], ["two", "0001"]]
    assert "trial 0003 of one:\nconfiguration" in shown


@pytest.mark.parametrize(("batch_size", "shown"), [(32, False), (256, True)])
def test_the_configuration_ends_with_the_learning_rate_where_it_is_not_as_written(batch_size, shown, capsys):
    config = parse_config({"batch_size": batch_size, "lr": {"scaling": "linear"}})
    show_best([replace(ROWS[0], config=config)], "table")
    table = " ".join(capsys.readouterr().out.split())
    rate = "learning rate 0.048 = lr.base 0.006 × 8 (linear scaling, batch 256 over base batch 32)"
    assert (rate in table) == shown
    assert ("learning rate" in table) == shown


def test_rows_of_one_sweep_name_it_once(capsys):
    show_best(ROWS[:1], "table")
    shown = capsys.readouterr().out
    assert shown.startswith("best by val/mse (sweep one)")
    assert shown.splitlines()[1].split()[0] == "trial"


def test_a_front_shows_its_metrics_first_and_what_each_rewards(capsys):
    show_best(ROWS, "table", ["val/kl", "val/mse"])
    shown = capsys.readouterr().out
    assert shown.startswith("Pareto set of val/kl, val/mse (2 sweeps)")
    assert shown.splitlines()[1].split()[-2:] == ["val/kl", "val/mse"]
    assert "val/kl rewards" in shown
    assert "val/mse rewards" in shown


@pytest.mark.parametrize("output", ["table", "json"])
def test_what_was_written_is_said_beside_the_answer(output, capsys, tmp_path):
    version = ModelVersion("digits [red]", 3, "champion", is_new=False)
    show_best(ROWS, output, export=tmp_path / "best.yaml", plot=tmp_path / "front.png", registered=version)
    said = capsys.readouterr().err
    assert f"Wrote the configuration of trial 0003, the first of 2, to {tmp_path}/best.yaml" in said
    assert f"{tmp_path}/front.png" in said
    assert "Already registered: trial 0003, the first of 2, as digits [red] version 3, alias champion" in said
    assert 'tuner.load("models:/digits [red]@champion")' in said


def test_an_exported_configuration_says_where_it_comes_from():
    row = replace(ROWS[0], sweep_id="id-of-one")
    text = exported(row)
    assert text.splitlines()[:2] == ["# sweep one, trial 0003, MLflow run run-0003", "# val/mse: 0.5"]
    config, origin = parted(yaml.safe_load(text))
    assert parse_config(config) == row.config
    assert origin == Origin("one", "id-of-one", "0003", "run-0003")


def test_a_file_without_an_origin_is_a_configuration_of_its_own():
    assert parted({"epochs": 3}) == ({"epochs": 3}, None)


@pytest.mark.parametrize(
    "origin", [None, "s", ["s"], {}, {"sweep": "s", "trial": "0000"}, {"sweep": "s", "sweep_id": "i", "trial": 7}]
)
def test_an_origin_that_is_none_is_named(origin):
    with pytest.raises(ConfigError, match=r"origin: .* is not allowed; allowed: \{sweep: NAME"):
        parted({"epochs": 3, "origin": origin})


def test_what_later_versions_say_of_an_origin_is_left_to_them():
    _, origin = parted({"origin": {"sweep": "s", "sweep_id": "i", "trial": "0000", "more": 1}})
    assert origin == Origin("s", "i", "0000")


@pytest.mark.parametrize(("drop", "said"), [(0.5, False), (3.0, True)])
def test_a_ranking_within_what_the_estimates_still_drop_is_flagged(drop, said, capsys):
    nlls = {"0003": 90.0, "0001": 91.0, "0002": 99.0}
    rows = [row("one", trial, {"val/nll": nll, "val/nll_drop": drop}) for trial, nll in nlls.items()]
    show_best([replace(each, metric="val/nll") for each in rows], "table")
    assert ("0003, 0001 differ in val/nll by less than val/nll_drop" in capsys.readouterr().out) is said


@pytest.mark.parametrize(("unsent", "first"), [(0, "best --sweep s"), (7, "sync s && ")])
def test_the_next_command_finds_what_it_asks_for(unsent, first, sweeps, capsys):
    """After --offline `best` would find no run."""
    show_result(replace(sweeps.run("s"), unsent=unsent, storage="sweeps"), "table")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Next:")]
    assert line.split("vae-tuner ")[1].startswith(first)
    assert line.endswith("vae-tuner train best.yaml")


@pytest.mark.parametrize("odd", ["my runs", "it's", "a;b", "$HOME", "`x`", "a&b", 'say "x"', "*"])
def test_printed_commands_can_be_copied(odd, sweeps, capsys, uri):
    """A shell reads from them what was meant, whatever the words are."""
    own = {"storage": f"/data/{odd}/sweeps", "experiment": odd, "tracking_uri": f"sqlite:////data/{odd}/mlflow.db"}
    show_result(replace(sweeps.run("s"), finished="interrupted", unsent=7, **own), "table")
    printed = capsys.readouterr()
    lines = [line for line in (printed.err + printed.out).splitlines() if "vae-tuner" in line]
    told = [shlex.split(part.partition("vae-tuner ")[2]) for line in lines for part in line.split(" && ")]
    records = ["--experiment", odd, "--tracking-uri", own["tracking_uri"]]
    sync = ["sync", "s", "--storage", own["storage"]]
    assert told == [
        sync,
        ["resume", *sync[1:]],
        sync,
        ["best", "--sweep", "s", *records, "--export", "best.yaml"],
        ["train", "best.yaml", *records],
    ]


def test_a_printed_command_holds_no_secret(sweeps, capsys):
    show_result(replace(sweeps.run("s"), tracking_uri="http://me:hush@h:1"), "table")
    assert "hush" not in capsys.readouterr().out
