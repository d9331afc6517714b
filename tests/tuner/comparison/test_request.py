"""A request that was written down, and one that comes after it under its name."""

import json
import shlex

import pytest

from trainables.errors import ConfigError, UserError
from tuner.cli.options import parsed_settings
from tuner.comparison.request import Request, command_of, read_request, remembered
from tuner.comparison.stages import REQUEST_FILE

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
    kept = json.loads((tmp_path / REQUEST_FILE).read_text())
    del kept["transfer"]
    (tmp_path / REQUEST_FILE).write_text(json.dumps(kept))
    assert read_request(tmp_path) == ASKED
    remembered(ASKED, tmp_path)
    assert json.loads((tmp_path / REQUEST_FILE).read_text()) == kept


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


@pytest.mark.parametrize("value", [1e-5, 0.5, [16, 8], True, "dynamic", "1e-5", None, {"width": 3}, "a: b"])
def test_a_setting_in_the_command_is_read_back_as_it_was(value):
    words = shlex.split(command_of(again(settings={"model.x": value})))
    assert parsed_settings([words[words.index("--set") + 1]]) == {"config.model.x": value}


@pytest.mark.parametrize(
    "settings", [{"seed": 5}, {"objective.kind": "iwae"}, {"objective": {"kappa": 0.1}}, {"beta.warmup": 0.1}]
)
def test_what_the_comparison_chooses_cannot_be_fixed(settings):
    with pytest.raises(ConfigError, match=r"is not allowed; a comparison chooses it for every run, leave it out"):
        again(settings=settings)


def test_all_else_can_be_fixed():
    for path in ("model.sigma", "data.n_train", "batch_size", "lr.base", "lr.warmup", "optimizer.kind", "epochs"):
        again(settings={path: 1})
