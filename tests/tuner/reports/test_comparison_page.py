import csv
import json

import numpy as np
import pytest
from comparisons import PRECISE, compared, without_levels
from html_pages import check_page
from PIL import Image

from tuner.comparison.final_loss import MARGIN
from tuner.comparison.hit_rate import KL_TOLERANCE
from tuner.reports.comparison_page import GALLERY, write_comparison_page
from tuner.reports.figures.comparison import FIGURES
from tuner.reports.glossary import TERMS

METHODS = ("geco", "beta", "linear", "free-bits")


def written(comparison, folder, command="vae-tuner compare", gallery=()):
    return check_page(write_comparison_page(comparison, folder, command, dict(gallery)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full():
    return compared(*METHODS, effects={"linear": 1.0}, spread=PRECISE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page with all its figures and pictures, and the files beside it."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(full, folder):
    gallery = {what: folder / f"{what}.png" for what in GALLERY}
    for file in gallery.values():
        Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(file)
    return written(full, folder, "vae-tuner compare --name c", gallery)


def test_the_page_opens_with_the_answer_and_its_table(page, full):
    (lead,) = [paragraph for paragraph in page.all("p") if paragraph.attributes.get("class") == "lead"]
    assert lead.text.replace("−", "-") == full.verdict[0].upper() + full.verdict[1:]
    table = next(page.all("table"))
    assert table.one("caption").text.startswith("The answer, method by method; Q1 over 5 of 5 levels and 10 seeds")
    assert [[row[0], row[1], row[-1]] for row in table.rows()] == [
        ["geco", "–", "2: objective.kappa, lr.base"],
        ["beta", "equivalent", "2: beta.end, lr.base"],
        ["linear", "lower", "3: beta.end, beta.warmup, lr.base"],
        ["free-bits", "–", "2: objective.free_bits, lr.base"],
    ]


def test_the_page_says_which_rates_and_which_epochs_count(page):
    text = page.one("main").text
    assert "0.0005, 0.001, 0.002; for Q1 chosen for each method and level on 2 pilot seeds" in text
    assert "every run counts by its last epoch" in text


def test_the_answer_comes_first_then_the_evidence_then_how_it_was_done(page):
    parts = [part for part in page.one("main").children if part.tag != "nav"]
    assert [part.tag for part in parts] == ["h1", "p", "div", "details", *["section"] * 6]
    assert [heading.text for heading in page.all("h2")] == [
        "Q1: the path", "Q2: quality for n trials", "Q3: a target, and no sweep", "How they trained",
        "What was learned", "How it was done",
    ]  # fmt: skip


def test_all_evidence_is_there(page):
    assert sorted(figure.attributes["id"] for figure in page.all("figure")) == sorted([*FIGURES, *GALLERY])
    numbers = {figure.attributes["id"] for figure in page.all("figure") if list(figure.all("table"))}
    assert numbers == {"path", "plane", "quality", "target", "latents"}
    assert page.one("code").text == "vae-tuner compare --name c"
    captions = [caption.text for caption in page.all("caption")]
    for start in ("Q1's levels", "Q2's pools", "Secondary, over Q1's levels"):
        assert any(caption.startswith(start) for caption in captions), start
    assert said_of(page)["Budget"].startswith("366 runs (GECO's pilots 30, the rivals' pilots 60, Q1 150, ")
    assert "of 1000 shufflings told them apart" in said_of(page)["Null check"]
    assert said_of(page)["Dials"].startswith("geco: objective.kappa; beta: beta.end; ")


def said_of(page):
    return {term.text: text.text for term, text in zip(page.all("dt"), page.all("dd"), strict=True)}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_its_numbers_beside_it(name, full, page, folder):
    with (folder / f"{name}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert rows
    assert {len(row) for row in rows} == {len(head)}


def test_the_numbers_are_those_that_are_drawn(full, page, folder):
    with (folder / "path.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    js = {(float(row["kappa"]), int(row["seed"])): float(row["J of geco [nats]"]) for row in rows}
    assert js == {cell: values["geco"] for cell, values in full.path.table.items()}
    with (folder / "schedules.csv").open(newline="") as file:
        products = [float(row["equivalent beta"]) * float(row["lambda"]) for row in csv.DictReader(file)]
    assert products == pytest.approx([1 / (2 * full.design.scale.sigma**2)] * len(products))
    with (folder / "latents.csv").open(newline="") as file:
        kls = [float(row["kl [nats]"]) for row in csv.DictReader(file) if row["method"] == "geco"]
    assert kls == full.kl_by_latent["geco"]


def test_figures_are_files_too_and_show_something(page, folder):
    for name in FIGURES:
        with Image.open(folder / f"{name}.png") as image:
            pixels = np.asarray(image.convert("L"))
        assert (pixels < 128).sum() > 100, f"{name}.png is blank"


def test_the_numbers_lie_beside_the_page(page, folder, full):
    assert json.loads((folder / "answer.json").read_text()) == full.document(folder / "index.html")
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = [each for trained in full.trained.values() for each in trained]
    assert [(row["stage"], row["method"]) for row in rows] == [(each.run.stage, each.run.method) for each in runs]
    for row, each in zip(rows, runs, strict=True):
        assert float(row["lr.base"]) == each.run.rate
        assert float(row["test/kl"]) == each.test["test/kl"]


NASTY = '<script>alert(1)</script>&"'


def test_names_of_the_users_are_text(tmp_path):
    root = written(compared("geco", "beta", dataset=NASTY, base={"data.name": NASTY}), tmp_path, f"x --dataset {NASTY}")
    assert NASTY in root.one("title").text
    assert root.one("code").text == f"x --dataset {NASTY}"
    assert any(NASTY in text.text for text in root.all("dd"))


def test_without_a_level_the_page_says_so_and_shows_the_pools(tmp_path):
    root = written(without_levels("geco", "beta"), tmp_path)
    assert "GECO settled on no level" in root.one("main").text
    assert [figure.attributes["id"] for figure in root.all("figure")] == ["plane", "quality", "target"]
    assert "Here 0 of 5 levels were kept" in root.one("main").text
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["plane.png", "quality.png", "target.png"]


@pytest.mark.parametrize("methods", [("geco",), ("geco", "free-bits")])
def test_without_a_rival_on_the_path_nothing_is_claimed(methods, undrawn, tmp_path):
    root = written(compared(*methods), tmp_path)
    assert "no rival was there whose path could be compared" in root.one("main").text


def test_a_marginal_kl_that_is_saturated_is_no_result(undrawn, tmp_path):
    found = compared("geco", "beta")
    for each in found.trained["path"]:
        each.test["test/mi_saturated"] = float(each.run.method == "beta")
    tables = {table.one("caption").text: table for table in written(found, tmp_path).all("table")}
    secondary = next(table for caption, table in tables.items() if caption.startswith("Secondary"))
    assert [row[-1] for row in secondary.rows()] == ["0.5 (0.5 to 0.5)", "saturated"]


def test_the_glossary_has_the_numbers_of_the_answers():
    texts = {term.name: term.text for term in TERMS}
    assert f"±{MARGIN:g} nat," in texts["equivalent"]
    assert f"within {KL_TOLERANCE:g} nat" in texts["hit"]
