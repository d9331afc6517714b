import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.paths import parse_config
from tuner.tracking.params import from_params, to_params

positive = st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False)


@given(
    kappa=positive,
    lr=positive,
    warmup=st.floats(0, 1) | st.integers(0, 10**6).map("{} steps".format),
    n_train=st.none() | st.integers(1, 10**9),
    name=st.sampled_from(["digits", "7", "1e5", "none", "true", "[1].npy", "it's.npz"]),
    hidden=st.lists(st.integers(1, 4096), min_size=1, max_size=5),
)
def test_a_configuration_survives_mlflow_to_the_last_bit(kappa, lr, warmup, n_train, name, hidden):
    config = parse_config(
        {
            "data": {"name": name, "n_train": n_train},
            "model": {"kind": "mlp", "hidden": hidden},
            "objective": {"kind": "geco", "kappa": kappa},
            "lr": {"kind": "constant", "base": lr, "warmup": warmup},
        }
    )
    params = to_params(config.model_dump(mode="json"))
    assert all(isinstance(text, str) for text in params.values())
    assert from_params(params) == config


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
    assert from_params(to_params(config.model_dump(mode="json"))) == config


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
    params = to_params(config.model_dump(mode="json"))
    assert all(isinstance(text, str) for text in params.values())
    came_back = from_params(params).model.kwargs
    assert came_back == tree["model"]["kwargs"]
    assert repr(came_back) == repr(tree["model"]["kwargs"])


def test_a_users_model_without_arguments_comes_back():
    config = parse_config({"model": {"kind": "mypkg.nets:make"}})
    assert from_params(to_params(config.model_dump(mode="json"))) == config
