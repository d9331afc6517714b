import itertools
import json
from typing import Literal, get_args, get_origin

import pytest
import yaml
from pydantic import ValidationError

from trainables.config import DEFAULT_KIND, TrialConfig, method_of
from trainables.config.models import UserModel
from trainables.config.paths import flatten, parse_config, plain, unflatten, variants
from trainables.errors import ConfigError
from trainables.values import parse_duration, steps_of

FAMILIES = list(DEFAULT_KIND)


def changed(field):
    """Another value that the field allows; a switch stays, what it allows depends on other fields."""
    options = get_args(field.annotation)
    if get_origin(field.annotation) is Literal:
        return options[-1]
    value = field.default
    if isinstance(value, tuple):
        return (*value, 3)
    if isinstance(value, int) and not isinstance(value, bool):
        return value + 1
    return 0.9 * value if isinstance(value, float) else value


def kinds_of(family):
    """The kinds of a family; a user's model has no name of its own."""
    return [kind for kind, cls in variants(family).items() if cls is not UserModel]


def combinations():
    """Every pair of kinds, the other families at their first; each with its defaults and with other values."""
    for one, other in itertools.combinations(FAMILIES, 2):
        for pair in itertools.product(kinds_of(one), kinds_of(other)):
            kinds = DEFAULT_KIND | dict(zip((one, other), pair, strict=True))
            for value_of in (lambda field: field.default, changed):
                yield tree_of(kinds, value_of)


def tree_of(kinds, value_of):
    return {
        family: {"kind": kind} | {name: value_of(f) for name, f in fields_of(family, kind).items()}
        for family, kind in kinds.items()
        if not (family == "beta" and kinds["objective"] == "geco")
    }


def fields_of(family, kind):
    return {name: field for name, field in variants(family)[kind].model_fields.items() if name != "kind"}


def test_every_combination_of_kinds_survives_the_round_trips():
    for tree in combinations():
        config = parse_config(tree)
        assert parse_config(plain(config)) == config
        assert parse_config(json.loads(json.dumps(plain(config)))) == config
        assert parse_config(yaml.safe_load(yaml.safe_dump(plain(config)))) == config
        assert unflatten(flatten(plain(config))) == plain(config)
        assert flatten(tree).items() <= flatten(config.model_dump()).items()


def test_a_family_without_a_kind_means_its_first():
    assert list(DEFAULT_KIND.values()) == [next(iter(variants(family))) for family in FAMILIES]
    assert parse_config({"lr": {"base": 0.1}}).lr.kind == "constant"
    assert parse_config({}) == TrialConfig()


def test_configurations_are_frozen():
    with pytest.raises(ValidationError):
        TrialConfig().epochs = 3


def test_digits_get_settings_under_which_geco_settles_and_only_where_left_open():
    digits = parse_config({"model": {"latent_dim": 3}})
    assert (digits.batch_size, digits.lr.base, digits.model.latent_dim, digits.model.hidden) == (32, 6e-3, 3, (128,))
    assert parse_config({"lr": {"kind": "clr"}}).lr.base_batch_size == 32
    mnist = parse_config({"data": {"name": "mnist"}})
    assert (mnist.batch_size, mnist.lr.base, mnist.model.latent_dim, mnist.model.hidden) == (128, 1e-3, 16, (400,))


def test_beta_is_one_where_there_is_a_beta_and_absent_under_geco():
    assert parse_config({}).beta.end == 1
    geco = parse_config({"objective": {"kind": "geco"}})
    assert geco.beta is None
    assert "beta" not in plain(geco)


@pytest.mark.parametrize(
    ("tree", "path", "value"),
    [
        ({"lr": {"base": "1e-4"}}, "lr.base", 1e-4),
        ({"epochs": "10"}, "epochs", 10),
        ({"objective": {"kind": "geco", "kappa": "1e-1"}}, "objective.kappa", 0.1),
        ({"model": {"sigma": "0.1"}}, "model.sigma", 0.1),
        ({"model": {"sigma": "none"}}, "model.sigma", None),
        ({"threads": "2"}, "threads", 2),
        ({"data": {"n_train": "none"}}, "data.n_train", None),
        ({"optimizer": {"clip_norm": "none"}}, "optimizer.clip_norm", None),
        ({"optimizer": {"clip_norm": "1"}}, "optimizer.clip_norm", 1.0),
        ({"beta": {"kind": "linear", "warmup": "400 steps"}}, "beta.warmup", "400 steps"),
        ({"beta": {"kind": "linear", "warmup": "1 step"}}, "beta.warmup", "1 steps"),
        ({"beta": {"kind": "linear", "warmup": ".5"}}, "beta.warmup", 0.5),
        ({"beta": {"kind": "linear", "warmup": 1}}, "beta.warmup", 1.0),
    ],
)
def test_what_yaml_makes_of_numbers_is_understood(tree, path, value):
    assert flatten(plain(parse_config(tree)))[path] == value


NUMBER_FOR_BOOLEAN = (
    "(YAML reads yes, no, on, off as booleans; the word for off is `none`) is not allowed; allowed: a number"
)
FRACTION_OR_STEPS = "is not allowed; allowed: a fraction of the budget from 0 to 1, or steps as in '400 steps'"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        # unknown keys
        ({"epoch": 3}, "unknown key `epoch`; did you mean `epochs`?"),
        ({"objectve": {}}, "unknown key `objectve`; did you mean `objective`?"),
        (
            {"dropout": 0.1},
            "unknown key `dropout`; known: data, model, objective, beta, lr, optimizer, batch_size, epochs, seed, "
            "device, threads, metrics",
        ),
        ({"batch-size": 64}, "unknown key `batch-size`; did you mean `batch_size`?"),
        ({"lr": {"bse": 1}}, "unknown key `lr.bse`; did you mean `lr.base`?"),
        ({"lr": {"Base": 1}}, "unknown key `lr.Base`; did you mean `lr.base`?"),
        ({"objective": {"kind": "geco", "kapa": 0.1}}, "unknown key `objective.kapa`; did you mean `objective.kappa`?"),
        (
            {"objective": {"kappa": 0.1}},
            "`objective.kappa` does not exist under objective.kind elbo; it belongs to geco",
        ),
        (
            {"model": {"kind": "linear-vae", "hidden": [3]}},
            "`model.hidden` does not exist under model.kind linear-vae; it belongs to mlp or conv",
        ),
        (
            {"lr": {"kind": "one-cycle", "base": 0.1}},
            "`lr.base` does not exist under lr.kind one-cycle; it belongs to constant or clr or linear-wave or "
            "cosine-wave or inverse-sqrt or step or exponential",
        ),
        ({"seed.x": 1}, "unknown key `seed.x`; did you mean `seed`?"),
        ({"lr.base": 0.1}, "`lr.base` is not nested; write lr: {base: …}"),
        # unknown kinds
        ({"objective": {"kind": "gecko"}}, "objective.kind: 'gecko' is unknown; did you mean `geco`?"),
        (
            {"model": {"kind": "cnn"}},
            "model.kind: 'cnn' is unknown; known: mlp, conv, linear-vae, package.module:factory",
        ),
        (
            {"beta": {"kind": "ramp"}},
            "beta.kind: 'ramp' is unknown; known: constant, linear, sigmoid, tanh, cosine, cyclical, cosine-wave, "
            "triangular-wave, gqn",
        ),
        ({"lr": {"kind": "cosine"}}, "lr.kind: 'cosine' is unknown; did you mean `cosine-wave`?"),
        ({"optimizer": {"kind": "lion"}}, "optimizer.kind: 'lion' is unknown; known: adam, adamw, radam, sgd"),
        # numbers out of range
        (
            {"objective": {"kind": "geco", "kappa": 0}},
            "objective.kappa: 0 is not allowed; allowed: greater than 0 or 'auto'",
        ),
        (
            {"objective": {"kind": "geco", "kappa": -0.1}},
            "objective.kappa: -0.1 is not allowed; allowed: greater than 0 or 'auto'",
        ),
        ({"epochs": 0}, "epochs: 0 is not allowed; allowed: greater than or equal to 1"),
        (
            {"data": {"image_size": 100_000}},
            "data.image_size: 100000 is not allowed; allowed: less than or equal to 1024",
        ),
        ({"seed": -1}, "seed: -1 is not allowed; allowed: greater than or equal to 0"),
        ({"beta": {"end": -1}}, "beta.end: -1 is not allowed; allowed: greater than or equal to 0"),
        ({"model": {"hidden": []}}, "model.hidden: [] is not allowed; allowed: at least one layer"),
        ({"model": {"hidden": [0]}}, "model.hidden.0: 0 is not allowed; allowed: greater than or equal to 1"),
        ({"beta": {"kind": "linear", "warmup": 1.5}}, f"beta.warmup: 1.5 {FRACTION_OR_STEPS}"),
        ({"beta": {"kind": "linear", "warmup": "5 epochs"}}, f'beta.warmup: "5 epochs" {FRACTION_OR_STEPS}'),
        ({"lr": {"warmup": float("nan")}}, f"lr.warmup: NaN {FRACTION_OR_STEPS}"),
        (
            {"lr": {"kind": "inverse-sqrt", "timescale": 0}},
            "lr.timescale: 0 is not allowed; allowed: a length above 0",
        ),
        ({"lr": {"base": float("nan")}}, "lr.base: NaN is not allowed; allowed: a finite number"),
        ({"lr": {"base": float("inf")}}, "lr.base: Infinity is not allowed; allowed: a finite number"),
        # no numbers
        ({"lr": {"base": "fast"}}, 'lr.base: "fast" is not allowed; allowed: a valid number'),
        ({"lr": {"base": None}}, "lr.base: null is not allowed; allowed: a valid number"),
        ({"epochs": 1.5}, "epochs: 1.5 is not allowed; allowed: a valid integer"),
        ({"data": {"n_train": "all"}}, 'data.n_train: "all" is not allowed; allowed: a valid integer'),
        ({"epochs": True}, f"epochs: true {NUMBER_FOR_BOOLEAN}"),
        ({"lr": {"base": True}}, f"lr.base: true {NUMBER_FOR_BOOLEAN}"),
        ({"beta": {"kind": "linear", "warmup": False}}, f"beta.warmup: false {NUMBER_FOR_BOOLEAN}"),
        ({"optimizer": {"clip_norm": False}}, f"optimizer.clip_norm: false {NUMBER_FOR_BOOLEAN}"),
        ({"objective": {"kind": "geco", "kappa": True}}, f"objective.kappa: true {NUMBER_FOR_BOOLEAN} or 'auto'"),
        # words
        (
            {"model": {"output": "relu"}},
            "model.output: \"relu\" is not allowed; allowed: 'auto', 'identity' or 'sigmoid'",
        ),
        ({"device": "gpu"}, 'device: "gpu" is not allowed; allowed: auto, cpu, cuda or cuda:N'),
        ({"data": {"name": [1]}}, "data.name: [1] is not allowed; allowed: a valid string"),
        # values that exclude each other
        (
            {"lr": {"kind": "clr", "base": 0.01, "max": 0.01}},
            "lr: base 0.01 must be below max 0.01; lower lr.base or raise lr.max",
        ),
        (
            {"objective": {"kind": "geco"}, "beta": {"end": 2}},
            "beta does not exist under objective.kind geco, whose multiplier takes its place; remove beta",
        ),
        (
            {"data": {"binarize": "dynamic", "likelihood": "gaussian"}},
            "data: likelihood gaussian does not describe bits (binarize: dynamic); use likelihood: bernoulli or "
            "binarize: none",
        ),
        # two mistakes
        (
            {"lr": {"base": 0}, "epochs": 0},
            "lr.base: 0 is not allowed; allowed: greater than 0; "
            "epochs: 0 is not allowed; allowed: greater than or equal to 1",
        ),
    ],
)
def test_bad_input_is_answered_with_field_value_and_way_out(tree, message):
    with pytest.raises(ConfigError) as error:
        parse_config(tree)
    assert str(error.value) == message


def test_a_duration_is_a_fraction_of_the_budget_or_steps():
    assert [steps_of(parse_duration(d), 1000) for d in (0, 0.25, 1, "400 steps")] == [0, 250, 1000, 400]


@pytest.mark.parametrize(
    ("tree", "method"),
    [
        ({}, "elbo"),
        ({"beta": {"end": 2}}, "beta"),
        ({"beta": {"kind": "linear"}}, "linear"),
        ({"beta": {"kind": "cyclical"}}, "cyclical"),
        ({"beta": {"kind": "gqn"}}, "gqn"),
        ({"objective": {"kind": "free-bits"}, "beta": {"kind": "linear"}}, "free-bits"),
        ({"objective": {"kind": "iwae"}, "beta": {"kind": "linear"}}, "iwae"),
        ({"objective": {"kind": "geco"}}, "geco"),
    ],
)
def test_the_method_is_the_objective_else_the_beta_schedule(tree, method):
    assert method_of(parse_config(tree)) == method


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"objective": {"kind": "geco"}, "model": {"learn_sigma": True}},
            "model.learn_sigma: GECO's loss has no sigma to learn; set it to false",
        ),
        (
            {"beta": {"kind": "gqn"}, "model": {"learn_sigma": True}},
            "model.learn_sigma: beta.kind gqn sets sigma itself; set it to false or take another beta",
        ),
        (
            {"beta": {"end": 0.5}, "model": {"learn_sigma": True}},
            "model.learn_sigma: with beta.end 0.5 a learned sigma would undo the weight; set beta.end to 1 or "
            "model.learn_sigma to false",
        ),
        (
            {"objective": {"kind": "free-bits", "groups": 3}},
            "objective.groups: 3 groups of equal size cannot be made of model.latent_dim 8; allowed: its divisors, or "
            "none",
        ),
        (
            {"objective": {"kind": "free-bits", "free_bits": [0.1, 0.2]}},
            "objective.free_bits: 2 values for 8 groups of latents; give one for each, or one number for all",
        ),
    ],
)
def test_what_would_not_identify_sigma_or_divide_the_latents_is_refused(tree, message):
    with pytest.raises(ConfigError) as error:
        parse_config(tree)
    assert str(error.value) == message
