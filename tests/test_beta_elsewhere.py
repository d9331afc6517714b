"""The table of other people's β: its formulas follow from how a loss is reduced, and give the values beside them."""

import re
from math import sqrt
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "concepts" / "beta-elsewhere.md").read_text(encoding="utf-8")
SIZES = {"D": 784, "L": 16, "B": 100}


def cells(line):
    return [cell.strip().replace("**", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


_, *LINES = [cells(line) for line in PAGE.partition("## The table")[2].splitlines() if line.startswith("| ")]
ROWS = {}
for name, reconstruction, *others in LINES:
    before = next(reversed(ROWS.values()))[0] if reconstruction == "the same" else reconstruction
    ROWS[name] = (before, *others)

OF_TWO = {"AntixK BetaVAE H, B": {"β": 10, "w": 0.00025}}
"""Of a row with two weights, those of its file."""
NUMBER = r"\d*\.?\d+(?:e-?\d+)?"


def numbers(text):
    return [float(found) for found in re.findall(NUMBER, text.replace(",", ""))]


def weight_of(text):
    """The weight that a run ends with."""
    if "min(1, " in text or "on the reconstruction" in text:
        return 1.0
    return float(re.sub(rf"^(?:\D*?)({NUMBER})(?: to (1\b))?.*", lambda found: found[2] or found[1], text))


def value_of(formula, weight, sizes=SIZES, own=()):
    """A formula such as w·D/(2L), in which the weight has several names."""
    named = re.sub(r"the |weight|factor|alpha_kl|(?<![a-z])w(?![a-z])|β", lambda found: _name(found[0]), formula)
    python = re.sub(r"(\d)([DLB])", r"\1*\2", named.replace("·", "*"))
    assert re.fullmatch(r"[\d.*/()DLBwb]+", python), formula
    return eval(
        python, {"__builtins__": {}}, {"w": weight, "b": weight, **sizes, **{_name(key): own[key] for key in own}}
    )


def _name(symbol):
    return {"the ": "", "β": "b"}.get(symbol, "w")


def formulas(text):
    """Those of a cell, one for each reading of the loss, without what is said beside them."""
    text = re.sub(r" (?:above|at|\().*", "", text.partition(",")[0])
    whole = [re.sub(r"^[^:]*: ", "", part.strip()) for part in text.split(";")]
    return [f"{whole[0]}{part}" if part.startswith("/") else part for part in whole]


WITH_FORMULA = [name for name, row in ROWS.items() if row[3][:4] not in ("none", "numb") and numbers(row[4])]


@pytest.mark.parametrize("name", [name for name in WITH_FORMULA if " to " not in ROWS[name][4]])
def test_a_formula_gives_what_the_row_says_its_weight_is_worth(name):
    _, _, weight, formula, worth, sigma = ROWS[name][:6]
    found = [value_of(each, weight_of(weight), own=OF_TWO.get(name, {})) for each in formulas(formula)]
    for beta, said in zip(found, worth.split(";"), strict=False):
        assert beta == pytest.approx(numbers(said)[0], rel=0.03)
    if sigma in ("–", "learned") or "√" in sigma:
        return
    squared = min(found[:2], key=lambda beta: abs(sqrt(beta) - numbers(sigma)[0]))
    of = {"MONAI AutoencoderKL, 2-D tutorial": squared, "alibi-detect 0.13.0 VAE, OutlierVAE": 0.05 * sqrt(squared)}
    assert of.get(name, sqrt(squared)) == pytest.approx(numbers(sigma)[0], rel=0.04)


OTHER_SIZES = re.compile(r"\((?:(\d+)×(\d+)×(\d+))?(?:, )?(?:L (\d+))?(?:B (\d+))?: ([\d.]+)\)")


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if OTHER_SIZES.search(row[4])])
def test_a_formula_gives_what_the_row_says_for_other_sizes(name):
    _, _, weight, formula, worth = ROWS[name][:5]
    *sides, latents, batch, said = OTHER_SIZES.search(worth).groups()
    sizes = {"D": int(sides[0]) * int(sides[1]) * int(sides[2])} if sides[0] else {}
    sizes |= {size: int(given) for size, given in (("L", latents), ("B", batch)) if given}
    assert value_of(formulas(formula)[0], weight_of(weight), SIZES | sizes) == pytest.approx(float(said), rel=0.03)


# --- the formulas themselves ------------------------------------------------------------------------------------------

RECONSTRUCTIONS = {
    "½·SSE": (2, "1/2"),
    "SSE, sum": (2, "1"),
    "MSE, mean over all": (2, "1/D"),
    "L1, mean over all": (1, "1/D"),
    "BCE, sum, sum over B": (1, "B"),
    "sum over peaks, over the batch B times": (1, "B*B"),
    "BCE, sum": (1, "1"),
    "−log p": (1, "1"),
    "Gaussian of σ .05, sum": (1, "1"),
    "3·(SSE": (2, "3*B"),
}
"""How it is reduced → 2 for a squared error, else 1, and `a`: its weight, each loss averaged over the batch."""
KLS = {
    "sum, sum over the batch": "B",
    "sum, sum over B": "B",
    "sum over B and L": "B",
    "mean over B and L": "1/L",
    "mean over L and B": "1/L",
    "sampled or exact, added twice": "2",
    "½·w·KL": "1/2",
    "sum": "1",
    "one draw, sum": "1",
}
REDUCED = {
    name: (kind, a, w)
    for name, (reconstruction, kl, *_) in ROWS.items()
    for start, (kind, a) in reversed(RECONSTRUCTIONS.items())
    for reduced, w in KLS.items()
    if reconstruction.startswith(start) and kl.partition(";")[0] == reduced
}


@pytest.mark.parametrize("name", [name for name in WITH_FORMULA if name in REDUCED])
def test_a_formula_is_w_over_a_or_half_of_it_under_a_squared_error(name):
    kind, a, w = REDUCED[name]
    own = OF_TWO.get(name, {})
    given = own["β"] * own["w"] if own else weight_of(ROWS[name][2])
    expected = given * value_of(w, 1.0) / (kind * value_of(a, 1.0))
    assert value_of(formulas(ROWS[name][3])[0], given, own=own) == pytest.approx(expected)


def test_most_rows_are_held():
    assert len(ROWS) == 38, "as the page says"
    assert len(WITH_FORMULA) == 35
    assert len(REDUCED) >= 22
