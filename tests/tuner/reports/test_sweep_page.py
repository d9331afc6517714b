import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from html_pages import check_page
from PIL import Image

from trainables.errors import UserError
from tuner.reports.sweep_page import lead, write_sweep_page
from tuner.sweeps.journal import bytes_of
from tuner.sweeps.state import fold


@pytest.fixture
def sweeps(sweeps):
    """In a folder whose name has to be quoted."""
    return replace(sweeps, storage=sweeps.storage.parent / "my sweeps")


@pytest.fixture
def swept(sweeps):
    """swept(paths of its spec) → the sweep that ended, and its page's elements."""

    def make(name="s", **paths):
        sweeps.run(name, **{"space": "geco-vs-annealing", "search.trials": 8, **paths})
        return check_page(write_sweep_page(sweeps.storage, name, sweeps.storage.parent / "page").read_text())

    return make


def test_the_page_names_the_best_and_all_that_was_searched(swept, sweeps):
    root = swept(**{"scheduler.kind": "none"})
    (lead,) = [paragraph for paragraph in root.all("p") if paragraph.attributes.get("class") == "lead"]
    best, searched = root.all("table")
    assert lead.text.startswith("The best of 8 trials (8 completed; 24 epochs in all) is 0002, ")
    assert best.rows()[0][0] == "0002"
    space = sweeps.plan("t", space="geco-vs-annealing").space
    assert [row[0] for row in searched.rows()] == [row.path for row in space.describe()]
    assert root.one("code").text == f"vae-tuner sweep '{sweeps.storage}/s/spec.yaml' --name s-again"


@pytest.mark.parametrize(
    ("outcome", "method", "said"),
    [
        ("ok", "geco", "geco, its constraint ok, with a val/elbo_cal of"),
        ("ok", "linear", "linear, with a val/elbo_cal of"),
        ("worse-than-mean", "geco", "geco, whose error is above the mean image's, with a val/elbo_cal of"),
        ("worse-than-mean", "linear", "linear, whose error is above the mean image's, with a val/elbo_cal of"),
    ],
)
def test_the_page_says_how_the_best_trial_ended(outcome, method, said, sweeps):
    sweeps.run("s", **{"space": "linear", "search.trials": 1})
    sweep = fold(sweeps.events("s"))
    (trial,) = sweep.trials.values()
    assert said in lead(sweep, [replace(trial, outcome=outcome, method=method)])


def test_the_numbers_lie_beside_the_page(undrawn, swept, sweeps, tmp_path):
    swept()
    answer = json.loads((tmp_path / "page" / "answer.json").read_text())
    assert (answer["name"], answer["best"]["trial"]) == ("s", "0002")
    with (tmp_path / "page" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [f"{number:04}" for number in range(8)]
    assert rows[2]["stop_reason"] == "completed"
    with (tmp_path / "page" / "curves.csv").open(newline="") as file:
        curves = list(csv.DictReader(file))
    assert len(curves) == sum(int(row["epochs"]) for row in rows)
    assert float(rows[2]["val/elbo_cal"]) == answer["best"]["metrics"]["val/elbo_cal"]


def test_the_best_trials_pictures_are_in_the_page(undrawn, sweeps):
    sweeps.run("s")
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(sweeps.storage / "s" / "trials" / "0002" / "samples.png")
    root = check_page(write_sweep_page(sweeps.storage, "s", sweeps.storage.parent / "page").read_text())
    (figure,) = [figure for figure in root.all("figure") if figure.attributes["id"] == "samples"]
    assert figure.one("image").attributes["xlink:href"].startswith("data:image/png;base64,")
    assert (sweeps.storage.parent / "page" / "samples.png").exists()


def test_of_given_trials_the_page_shows_what_they_differ_in(swept):
    points = [{"lr.base": rate, "batch_size": size} for rate, size in ((1e-4, 16), (1e-3, 16), (2e-3, 32))]
    root = swept(**{"space": {}, "search.points": points})
    _, searched = root.all("table")
    assert [row[:2] for row in searched.rows()] == [["lr.base", "0.0001 to 0.002 (log)"], ["batch_size", "16 | 32"]]
    assert [figure.attributes["id"] for figure in root.all("figure")] == ["curves", "parallel", "slices"]


def test_a_data_set_of_any_name_is_text(undrawn, sweeps, tmp_path, swept):
    np.save(tmp_path / "<b>&.npy", np.random.default_rng(0).random((60, 6)))
    root = swept(**{"config.data.name": "<b>&.npy", "config.batch_size": 8})
    assert any("<b>&.npy" in text.text for text in root.all("dd"))


def test_one_trial_is_a_page_too(swept):
    root = swept(**{"search.trials": 1})
    assert [figure.attributes["id"] for figure in root.all("figure")] == ["curves", "slices"]


def saturate(sweeps, trials):
    """Have a finished sweep search by a mutual information, of which these trials reach the bound."""
    events = sweeps.events("s")
    for event in events:
        if event["event"] == "header":
            event |= {"metric": "val/mutual_info", "metrics": {"val/mutual_info": "max"}}
        if event["event"] == "report":
            event["metrics"] = {"val/mutual_info": 6.5, "val/mi_saturated": float(event["trial"] in trials)}
    sweeps.journal("s").write_bytes(bytes_of(events))


def test_trials_that_cannot_be_ranked_are_named_with_the_reason(undrawn, sweeps, tmp_path, swept):
    swept(**{"search.trials": 4, "scheduler.kind": "none"})
    reason = "val/mutual_info is estimated from N examples and has reached its bound ln N (val/mi_cap)"
    saturate(sweeps, ["0001", "0003"])
    page = write_sweep_page(sweeps.storage, "s", tmp_path / "some")
    assert f"trials 0001, 0003: {reason}" in page.read_text()
    saturate(sweeps, [trial for event in sweeps.events("s") if (trial := event.get("trial"))])
    with pytest.raises(UserError) as error:
        write_sweep_page(sweeps.storage, "s", tmp_path / "none")
    assert f"no trial of sweep s that has completed can be ranked (trials 0000, 0001, 0002 and 1 more: {reason}" in str(
        error.value
    )


def test_a_sweep_that_is_not_there_or_has_no_result_is_one_sentence(sweeps, tmp_path):
    with pytest.raises(UserError, match="name: no sweep 'nope' in "):
        write_sweep_page(sweeps.storage, "nope", tmp_path / "page")
    sweeps.run("s")
    sweeps.cut("s", 4)
    with pytest.raises(UserError, match=r"no trial of sweep s has completed yet; see it with `vae-tuner status s`"):
        write_sweep_page(sweeps.storage, "s", tmp_path / "page")
    assert not (tmp_path / "page").exists()
