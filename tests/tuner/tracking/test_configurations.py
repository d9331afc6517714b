"""`config.yaml` and its digest: what it says survives to the last bit, and nothing else passes for it."""

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.paths import parse_config
from tuner.tracking.configurations import config_digest, config_text, is_same_config

positive = st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False)


def read(text):
    return parse_config(yaml.safe_load(text))


@given(
    kappa=positive,
    lr=positive,
    warmup=st.floats(0, 1) | st.integers(0, 10**6).map("{} steps".format),
    n_train=st.none() | st.integers(1, 10**9),
    name=st.sampled_from(["digits", "7", "1e5", "none", "true", "[1].npy", "it's.npz"]),
    hidden=st.lists(st.integers(1, 4096), min_size=1, max_size=5),
)
def test_a_configuration_survives_to_the_last_bit(kappa, lr, warmup, n_train, name, hidden):
    config = parse_config(
        {
            "data": {"name": name, "n_train": n_train},
            "model": {"kind": "mlp", "hidden": hidden},
            "objective": {"kind": "geco", "kappa": kappa},
            "lr": {"kind": "constant", "base": lr, "warmup": warmup},
        }
    )
    tree = config.model_dump(mode="json")
    text, digest = config_text(tree), config_digest(tree)
    assert read(text) == config
    assert is_same_config(text, digest)
    assert digest == config_digest(json.loads(json.dumps(tree)))
    tree["lr"]["base"] *= 1 + 2**-52
    assert (config_digest(tree) == digest) == (tree["lr"]["base"] == lr)


@pytest.mark.parametrize(
    "tree",
    [
        {"model": {"kind": "linear-vae", "sigma": None}},
        {"data": {"binarize": "dynamic", "likelihood": "bernoulli"}, "model": {"kind": "mlp", "sigma": None}},
        {"optimizer": {"kind": "adamw", "clip_norm": 1 / 3}, "threads": 2},
        {"beta": {"kind": "cyclical", "period": "400 steps", "ratio": math.pi / 4}},
        {"objective": {"kind": "free-bits", "free_bits": 0.1 + 0.2}, "seed": 2**62 + 1},
    ],
)
def test_every_kind_of_value_comes_back(tree):
    config = parse_config(tree)
    assert read(config_text(config.model_dump(mode="json"))) == config


@pytest.mark.parametrize(
    "value",
    [
        7,
        "7",
        7.0,
        0.5,
        1e-300,
        "0.5",
        True,
        "true",
        None,
        "null",
        "none",
        [1, "1"],
        "[1]",
        "",
        '"7"',
        "{}",
        "ä ö",
        [{}],
    ],
    ids=repr,
)
def test_the_arguments_of_a_users_model_come_back_as_what_they_were(value):
    tree = {"model": {"kind": "mypkg.nets:make", "kwargs": {"a": value, "nested": {"b": value, "empty": {}}}}}
    config = parse_config(tree)
    text = config_text(config.model_dump(mode="json"))
    came_back = read(text).model.kwargs
    assert came_back == tree["model"]["kwargs"]
    assert repr(came_back) == repr(tree["model"]["kwargs"])


@pytest.mark.parametrize("text", ["", "- 1", "epochs: [", "epochs: 41\n", "epochs: 40\nmore: 1\n"])
def test_another_text_is_not_the_same(text):
    assert not is_same_config(text, config_digest({"epochs": 40}))


def test_how_a_file_is_laid_out_does_not_matter():
    tree = parse_config({"objective": {"kind": "geco"}}).model_dump(mode="json")
    laid_out = "# a remark\n" + yaml.safe_dump(dict(reversed(tree.items())), default_flow_style=True)
    assert tree["beta"] is None
    assert is_same_config(laid_out.replace("beta: null, ", ""), config_digest(tree))


def test_a_field_that_a_later_version_adds_does_not_matter():
    """The digest is of what was written: a file of before, read with a new default, is the same file."""
    tree = parse_config({}).model_dump(mode="json")
    del tree["threads"]
    assert is_same_config(config_text(tree), config_digest(tree))
    assert read(config_text(tree)) == parse_config({})
