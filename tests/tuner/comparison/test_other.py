"""With which comparison dials can be exchanged, and what is said of one with which they cannot."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from events import new_event

from trainables.errors import UserError
from tuner.comparison.request import Request, design_of, remembered
from tuner.comparison.transfer import check_same_rule, other_comparison
from tuner.sweeps.journal import JOURNAL, Journal, close_session

HERE = Request("here", "here.npy", "mlp", ("geco", "beta"), 3, 2, True, {"batch_size": 16}, transfer="there")
THERE = replace(HERE, name="there", dataset="there.npy", transfer=None)


@pytest.fixture
def other(tmp_path, monkeypatch):
    """other(its request, how its last stage ended) → what is found of it."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.save("here.npy", draw.random((300, 6)))
    np.save("there.npy", 2 * draw.random((300, 6)))
    np.save("bits.npy", draw.integers(0, 2, (300, 6)).astype(bool))

    def find(request=THERE, ended="completed"):
        if request:
            remembered(request, tmp_path / "there")
        if ended:
            (tmp_path / "there.target").mkdir()
            journal = Journal.create(tmp_path / "there.target" / JOURNAL)
            journal.append(new_event("header", name="there.target"))
            close_session(journal, ended)
            journal.close()
        return other_comparison(HERE, design_of(HERE, tmp_path)[0], tmp_path, tmp_path)

    return find


def test_one_that_is_finished_and_alike_is_found_with_its_own_design(other, tmp_path):
    request, design = other()
    assert request == THERE
    assert design == design_of(THERE, tmp_path)[0]


@pytest.mark.parametrize(("theirs", "refused"), [("linear", True), ("sqrt", False), (None, False)])
def test_one_of_another_rule_for_batch_sizes_is_refused(theirs, refused):
    said = r"^transfer: comparison there was begun with lr\.scaling linear, this one with sqrt, so"
    with pytest.raises(UserError, match=said) if refused else nullcontext():
        check_same_rule("there", theirs, "sqrt")


@pytest.mark.parametrize("ended", [None, "interrupted"])
def test_one_that_is_not_finished_is_told_with_the_command_that_finishes_it(other, ended):
    with pytest.raises(UserError, match=r"^transfer: comparison there is not finished; run this first: vae-tuner comp"):
        other(ended=ended)


def test_one_that_is_not_there_is_told(other, tmp_path):
    with pytest.raises(UserError, match=f"^transfer: there is no comparison there in {tmp_path}; run it first"):
        other(request=None)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model": "conv"}, "model"),
        ({"methods": ("geco", "linear")}, "methods"),
        ({"epochs": None}, "epochs"),
        ({"quick": False}, "quick"),
        ({"settings": {"batch_size": 32}}, "settings.batch_size"),
        ({"settings": {}}, "settings.batch_size"),
    ],
)
def test_one_that_differs_in_more_than_its_data_is_told_in_what(other, changes, path):
    with pytest.raises(UserError, match=f"^transfer: comparison there has another {path}; both must agree in all but"):
        other(replace(THERE, **changes))


def test_one_of_the_same_data_is_none(other):
    with pytest.raises(UserError, match=r"^transfer: comparison there is of the same data, \./here\.npy; name one of"):
        other(replace(THERE, dataset="./here.npy"))


def test_bits_and_gray_values_have_no_dial_in_common(other):
    with pytest.raises(UserError, match=r"^transfer: comparison there and this one must both be of bits"):
        other(replace(THERE, dataset="bits.npy"))
