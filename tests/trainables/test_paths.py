import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trainables.config import DEFAULT_KIND, TrialConfig
from trainables.config.paths import (
    field_of,
    flatten,
    is_known,
    known_paths,
    parse_config,
    plain,
    suggest,
    unflatten,
    variants,
)
from trainables.errors import ConfigError

USER = {"kind": "mypkg.nets:make"}


def test_known_paths_are_those_of_all_configurations_and_no_more():
    found = {"beta.kind"}
    for family in DEFAULT_KIND:
        for kind in variants(family):
            found |= flatten(plain(parse_config({family: {"kind": kind}}))).keys()
    found |= flatten(plain(parse_config({"model": USER}))).keys()
    assert set(known_paths()) == found
    assert len(known_paths()) == len(found)


def test_known_paths_keep_the_order_of_declaration_with_the_kind_first():
    assert [path.partition(".")[0] for path in known_paths() if path.endswith(".kind")] == list(DEFAULT_KIND)
    assert list(dict.fromkeys(path.partition(".")[0] for path in known_paths())) == list(TrialConfig.model_fields)
    assert next(path for path in known_paths() if path.startswith("lr.")) == "lr.kind"


def test_flatten_and_unflatten_are_inverse():
    tree = {"a": {"b": {"c": 1}, "d": None}, "e": [1, {"f": 2}]}
    assert flatten(tree) == {"a.b.c": 1, "a.d": None, "e": [1, {"f": 2}]}
    assert unflatten(flatten(tree)) == tree


def test_a_beta_of_none_is_no_path():
    assert flatten({"beta": None, "seed": 1}) == {"seed": 1}


def test_suggest_names_the_nearest_word_or_all():
    assert suggest("mnst", ["digits", "mnist"]) == "; did you mean `mnist`?"
    assert suggest("faces", ["digits", "mnist"]) == "; known: digits, mnist"


# --- the arguments of a user's model ----------------------------------------------------------------------------------


def test_paths_below_the_arguments_are_known_and_lie_in_their_field():
    assert is_known("model.kwargs")
    assert is_known("model.kwargs.width")
    assert is_known("model.kwargs.encoder.width")
    assert not is_known("model.kwarg.width")
    assert not is_known("lr.base.x")
    assert field_of("model.kwargs.encoder.width") == "model.kwargs"
    assert all(field_of(path) == path for path in known_paths())


NAMES = st.from_regex(r"[\w-]{1,5}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_arguments_survive_the_round_trips(kwargs):
    config = parse_config({"model": {**USER, "kwargs": kwargs}})
    assert config.model.kwargs == kwargs
    tree = plain(config)
    assert unflatten(flatten(tree)) == tree
    assert parse_config(json.loads(json.dumps(tree))) == config
    assert parse_config(yaml.safe_load(yaml.safe_dump(tree))) == config


def test_nested_arguments_have_nested_paths():
    flat = flatten({"model": {**USER, "kwargs": {"encoder": {"width": 3, "more": {}}, "sizes": [1, {"a": 2}]}}})
    assert flat == {
        "model.kind": USER["kind"],
        "model.kwargs.encoder.width": 3,
        "model.kwargs.encoder.more": {},
        "model.kwargs.sizes": [1, {"a": 2}],
    }


def test_unflatten_takes_nothing_of_what_it_was_given():
    flat = {"model.kwargs": {}, "model.kwargs.width": 3}
    assert unflatten(flat) == {"model": {"kwargs": {"width": 3}}}
    assert flat["model.kwargs"] == {}


def test_tuples_are_lists():
    assert parse_config({"model": {**USER, "kwargs": {"sizes": (1, (2, 3))}}}).model.kwargs == {"sizes": [1, [2, 3]]}


JSON_ONLY = (
    "is not allowed; allowed: finite numbers, words, booleans, null, lists and mappings, by names of letters, digits, "
    "_ and -"
)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"kind": "cnov"}, "model.kind: 'cnov' is unknown; did you mean `conv`?"),
        ({"kind": "resnet"}, "model.kind: 'resnet' is unknown; known: mlp, conv, linear-vae, package.module:factory"),
        (
            {"kind": "nets.py:make it"},
            'model.kind: "nets.py:make it" is not allowed; allowed: package.module:factory, as in mypkg.nets:make',
        ),
        (
            {"kind": ".nets:make"},
            'model.kind: ".nets:make" is not allowed; allowed: package.module:factory, as in mypkg.nets:make',
        ),
        (
            {"kind": "mlp", "kwargs": {"width": 3}},
            "`model.kwargs` does not exist under model.kind mlp; it belongs to package.module:factory",
        ),
        (
            {**USER, "hidden": 3},
            "`model.hidden` does not exist under model.kind mypkg.nets:make; it belongs to mlp or conv",
        ),
        ({**USER, "kwarg": {}}, "unknown key `model.kwarg`; did you mean `model.kwargs`?"),
        ({**USER, "kwargs": 3}, "model.kwargs: 3 is not allowed; allowed: a valid dictionary"),
        ({**USER, "kwargs": {"a.b": 1}}, f"model.kwargs: a.b = 1 {JSON_ONLY}"),
        ({**USER, "kwargs": {"ok": 1, "a": {"b c": 1}}}, f"model.kwargs: a = {{'b c': 1}} {JSON_ONLY}"),
        ({**USER, "kwargs": {"a": [float("nan")]}}, f"model.kwargs: a = [nan] {JSON_ONLY}"),
        ({**USER, "kwargs": {"a": {1: 2}}}, f"model.kwargs: a = {{1: 2}} {JSON_ONLY}"),
        ({**USER, "kwargs": {"a": {1, 2}}}, f"model.kwargs: a = {{1, 2}} {JSON_ONLY}"),
    ],
)
def test_a_models_mistakes_are_answered_with_field_value_and_way_out(model, message):
    with pytest.raises(ConfigError) as error:
        parse_config({"model": model})
    assert str(error.value) == message


def test_arguments_whose_names_would_not_survive_are_refused():
    with pytest.raises(ConfigError) as error:
        flatten({"model": {**USER, "kwargs": {"inner": {"a.b": 1}}}})
    assert str(error.value) == (
        "model.kwargs.inner: 'a.b' is not allowed as the name of an argument; allowed: letters, digits, _ and -"
    )


def test_a_path_through_a_value_is_refused():
    with pytest.raises(ConfigError) as error:
        unflatten({"model.kwargs.a": 1, "model.kwargs.a.b": 2})
    assert str(error.value) == ("model.kwargs.a.b: its parent is already set to a value; remove one of the two")
