"""The arguments of a user's model as dimensions of a space. Nothing here imports the model."""

import optuna
import pytest

from search_spaces.catalogue import parse_space
from search_spaces.compile import suggest_trial
from search_spaces.domains import Choice, Int
from search_spaces.reach import check
from search_spaces.space import Space, assemble
from trainables.config.paths import parse_config, unflatten
from trainables.errors import ConfigError

KIND = "mypkg.nets:make"
EITHER = {
    "model.kind": {"choice": ["mlp", KIND]},
    "model.kwargs.width": {"int": [16, 64], "log": True, "when": {"model.kind": KIND}},
    "model.kwargs.encoder.norm": {"choice": ["group", "none"], "when": {"model.kind": KIND}},
}


def drawn(space, base, n=40):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n):
        assignment = suggest_trial(study.ask(), space)
        yield assignment, parse_config(assemble(base, space, assignment))


def test_an_argument_varies_between_its_bounds_beside_what_is_fixed():
    base = {"model": {"kind": KIND, "kwargs": {"depth": 2, "encoder": {"act": "tanh"}}}}
    space = Space.parse({"model.kwargs.width": {"int": [16, 64]}, "model.kwargs.encoder.skip": {"choice": [1, 2]}})
    check(space, base, parse_config)
    for assignment, config in drawn(space, base):
        assert 16 <= assignment["model.kwargs.width"] <= 64
        assert config.model.kwargs == {
            "depth": 2,
            "encoder": {"act": "tanh", "skip": assignment["model.kwargs.encoder.skip"]},
            "width": assignment["model.kwargs.width"],
        }


def test_arguments_are_drawn_under_their_condition_only():
    space = Space.parse(EITHER)
    base = {"model": {"kwargs": {"depth": 2}}}
    check(space, base, parse_config)
    kinds = set()
    for assignment, config in drawn(space, base):
        kinds.add(config.model.kind)
        if config.model.kind == "mlp":
            assert list(assignment) == ["model.kind"]
        else:
            assert config.model.kwargs.keys() == {"width", "encoder", "depth"}
    assert kinds == {"mlp", KIND}


def test_the_space_begins_with_the_users_argument():
    space = Space.parse({"model.kwargs.width": {"int": [16, 64]}})
    assert space.default({"model": {"kind": KIND, "kwargs": {"width": 20}}}) == {"model.kwargs.width": 20}
    assert space.default({"model": {"kind": KIND}}) == {"model.kwargs.width": 40}


def test_a_space_with_arguments_survives_its_yaml_form():
    space = Space.parse(EITHER)
    assert Space.parse(space.to_mapping()) == space
    assert space.dimensions["model.kwargs.width"] == Int(16, 64, log=True, when={"model.kind": [KIND]})


def test_an_argument_named_kind_decides_no_kind_of_ours():
    space = Space.parse({"model.kwargs.kind": {"choice": ["a", "b"]}, "lr.base": {"float": [1e-4, 1e-3]}})
    base = unflatten({"model.kind": KIND, "model.kwargs.depth": 1})
    check(space, base, parse_config)
    assert {config.model.kwargs["kind"] for _, config in drawn(space, base)} == {"a", "b"}
    assert isinstance(space.dimensions["model.kwargs.kind"], Choice)


@pytest.mark.parametrize(
    ("entries", "base", "message"),
    [
        (
            {"model.kwargs.width": {"int": [16, 64]}},
            {},
            "space custom: model.kwargs.width does not exist under model.kind mlp, only under package.module:factory; "
            "give it that condition or leave it out",
        ),
        (
            {"model.kwarg.width": {"int": [16, 64]}},
            {"model": {"kind": KIND}},
            "space: unknown key `model.kwarg.width`; did you mean `model.kwargs`?",
        ),
        (
            {"model.hidden": {"int": [16, 64]}},
            {"model": {"kind": KIND}},
            "space custom: model.hidden does not exist under model.kind mypkg.nets:make, only under mlp | conv; give "
            "it that condition or leave it out",
        ),
    ],
)
def test_what_cannot_vary_is_answered(entries, base, message):
    with pytest.raises(ConfigError) as error:
        check(parse_space(entries), base, parse_config)
    assert str(error.value) == message
