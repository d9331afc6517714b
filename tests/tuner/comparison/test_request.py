"""A request that was written down, and one that comes after it under its name."""

import json
import shlex

import pytest

from trainables.errors import ConfigError, UserError
from tuner.comparison.request import FILE, Request, command_of, read_request, remembered

ASKED = Request("c", "digits", "mlp", ("geco", "beta"), 3, 2, True, {"batch_size": 16})


def again(**changes):
    return Request(**{**vars(ASKED), **changes})


@pytest.mark.parametrize(
    "changes", [{"seeds": 3}, {"settings": {}}, {"settings": {"batch_size": 16, "lr.base": 1e-3}}, {"quick": False}]
)
def test_another_request_is_refused_whatever_differs(changes, tmp_path):
    remembered(ASKED, tmp_path)
    remembered(again(), tmp_path)
    with pytest.raises(UserError, match="name: comparison c was begun with another "):
        remembered(again(**changes), tmp_path)


def test_a_transfer_may_be_named_later_but_once(tmp_path):
    remembered(ASKED, tmp_path)
    remembered(again(transfer="other"), tmp_path)
    assert read_request(tmp_path) == again(transfer="other")
    for other in (None, "third"):
        with pytest.raises(UserError, match=r"begun with another transfer \(other\)"):
            remembered(again(transfer=other), tmp_path)


def test_a_file_of_before_there_were_transfers_is_as_good(tmp_path):
    remembered(ASKED, tmp_path)
    kept = json.loads((tmp_path / FILE).read_text())
    del kept["transfer"]
    (tmp_path / FILE).write_text(json.dumps(kept))
    assert read_request(tmp_path) == ASKED
    remembered(ASKED, tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == kept


def test_where_there_is_none_nothing_is_read(tmp_path):
    assert read_request(tmp_path / "nothing") is None


@pytest.mark.parametrize("transfer", ["c", "../c", ""])
def test_a_transfer_is_the_name_of_another_comparison(transfer):
    with pytest.raises(ConfigError, match=f"transfer: {transfer!r} is not allowed; name another comparison"):
        again(transfer=transfer)


def test_the_command_repeats_all_that_was_asked():
    words = shlex.split(command_of(again(transfer="other")))
    assert words[:2] == ["vae-tuner", "compare"]
    assert words[2:] == [
        "--dataset", "digits", "--model", "mlp", "--name", "c", "--methods", "geco,beta", "--epochs", "3", "--seeds",
        "2", "--quick", "--transfer", "other", "--set", "batch_size=16",
    ]  # fmt: skip
