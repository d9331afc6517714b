import csv
import json
from dataclasses import replace

import pytest
from html_pages import check_page
from PIL import Image

from trainables.errors import UserError
from tuner import compare_sweeps

RANDOM = {"scheduler.kind": "none", "search.trials": 6}


@pytest.fixture
def sweeps(sweeps):
    """In a folder whose name has to be quoted."""
    return replace(sweeps, storage=sweeps.storage.parent / "my sweeps")


@pytest.fixture
def shown(sweeps, tmp_path):
    sweeps.run("a", **RANDOM)
    sweeps.run("b", **{**RANDOM, "search.seed": 3, "config.batch_size": 16})
    return compare_sweeps(["a", "b"], storage=sweeps.storage, reports=tmp_path / "reports")


@pytest.fixture
def root(shown):
    return check_page(shown.page.read_text(encoding="utf-8"))


def test_the_page_says_that_it_describes_and_tests_nothing(root, shown):
    (lead,) = [paragraph for paragraph in root.all("p") if paragraph.attributes.get("class") == "lead"]
    assert lead.text.startswith("On digits the best val/elbo_cal of these sweeps is 3, by trial 0002 (")
    assert "This describes what these sweeps found and is not a test" in lead.text
    assert not [cell for cell in root.all("th", "td", "caption") if "p (" in cell.text or "95 % interval" in cell.text]


@pytest.mark.parametrize(
    ("ranking", "says"), [("last", "its last epoch"), ("mean-2", "the mean over its last 2 epochs")]
)
def test_the_page_says_by_which_epoch_trials_count(ranking, says, sweeps, tmp_path):
    for seed, name in enumerate("ab"):
        sweeps.run(name, **{**RANDOM, "search.trials": 2, "search.seed": seed, "search.ranking": ranking})
    found = compare_sweeps(["a", "b"], storage=sweeps.storage, reports=tmp_path / "reports")
    assert f"On validation examples, each trial by {says}." in found.page.read_text(encoding="utf-8")


def test_each_sweep_has_a_row_and_each_difference_one(root):
    headline, *_, differing = root.all("table")
    assert [row[:2] for row in headline.rows()] == [["a", "3"], ["b", "3"]]
    assert sorted(differing.rows()) == [["config.batch_size", "–", "16"], ["search.seed", "0", "3"]]


def test_figures_and_numbers_lie_beside_the_page(root, shown, sweeps):
    folder = shown.page.parent
    assert folder.name == "a-beside-b"
    names = [figure.attributes["id"] for figure in root.all("figure")]
    assert names == ["progress", "quality"]
    for name in names:
        with Image.open(folder / f"{name}.png") as image:
            assert image.width > 500
    assert json.loads((folder / "answer.json").read_text()) == shown.document()
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sweep"], row["trial"]) for row in rows] == [(s, f"{n:04}") for s in "ab" for n in range(6)]
    command = root.one("code").text
    assert command == f"vae-tuner compare --sweeps a,b --storage '{sweeps.storage}' --name a-beside-b"


def test_a_name_that_is_no_folder_is_refused_before_anything_is_written(sweeps, tmp_path):
    with pytest.raises(UserError, match=r"^name: 'x/y' is not allowed"):
        compare_sweeps(["a", "b"], name="x/y", storage=sweeps.storage, reports=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()
