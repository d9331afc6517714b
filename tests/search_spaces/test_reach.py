import re
from itertools import combinations, product

import numpy as np
import pytest

from search_spaces.catalogue import parse_space, space_names
from search_spaces.domains import Choice, Float
from search_spaces.reach import CONSTANT, check, longest_warmup
from search_spaces.space import Space
from trainables.data import DataFacts
from trainables.errors import ConfigError
from trainables.paths import parse_config, variants
from trainables.resolve import resolve
from trainables.schedules import beta_at

DIGITS = DataFacts((1, 8, 8), 1200, 297, 300, 0.0, 1.0, False, {"re": 0.27, "nll": 0.5})


def valid(tree):
    return resolve(parse_config(tree), DIGITS)


@pytest.mark.parametrize(
    ("mapping", "base", "message"),
    [
        (
            {"lr.kind": "clr", "lr.base": {"float": [1e-4, 1e-2]}, "lr.max": {"float": [1e-3, 2e-2]}},
            {},
            "space custom can draw lr.base = 0.01, lr.max = 0.001: "
            "lr: base 0.01 must be below max 0.001; lower lr.base or raise lr.max",
        ),
        (
            {"lr.kind": "clr", "lr.base": {"float": [1e-4, 1e-2]}},
            {"lr.max": 5e-3},
            "space custom can draw lr.base = 0.01: "
            "lr: base 0.01 must be below max 0.005; lower lr.base or raise lr.max",
        ),
        (
            {"use": ["geco-vs-annealing"], "beta.warmup": {"float": [0.2, 1.5]}},
            {},
            "space geco-vs-annealing+custom can draw beta.warmup = 1.5: beta.warmup: 1.5 is not allowed; "
            "allowed: a fraction of the budget from 0 to 1, or steps as in '400 steps'",
        ),
        (
            {"use": ["linear"], "beta.warmup": {"choice": ["100 steps", "9000 steps"]}},
            {},
            "space linear+custom can draw beta.warmup = 9000 steps: "
            "beta.warmup: 9000 steps is beyond the budget of 1480 steps (40 epochs); allowed: at most 1480 steps",
        ),
        (
            {"use": ["linear"], "batch_size": {"choice": [32, 2048]}},
            {},
            "space linear+custom can draw batch_size = 2048: "
            "batch_size: 2048 is more than the 1200 training examples; allowed: 1 to 1200",
        ),
        (
            {"use": ["linear"], "objective.kind": "geco"},
            {},
            "space linear+custom: beta.end does not exist under objective.kind geco, only under elbo | "
            "free-bits | iwae; give it that condition or leave it out",
        ),
        (
            {"beta.period": {"choice": [0.5, 0.25]}},
            {"beta": {"kind": "linear"}},
            "space custom: beta.period does not exist under beta.kind linear, only under cyclical | cosine-wave | "
            "triangular-wave; give it that condition or leave it out",
        ),
        (
            {"objective.kind": {"choice": ["elbo", "geco"]}, "objective.kappa": {"float": [0.1, 0.2]}},
            {},
            "space custom: objective.kappa does not exist under objective.kind elbo, only under geco; "
            "give it that condition or leave it out",
        ),
        (
            {"use": ["linear"], "objective.kappa": 0.1},
            {},
            "space linear+custom: objective.kappa is never used: nothing the space draws has it; leave it out",
        ),
        (
            {
                "objective.kind": {"choice": ["elbo", "geco"]},
                "beta.kind": {"choice": ["linear", "cyclical"], "when": {"objective.kind": "elbo"}},
                "objective.kappa": {"float": [0.1, 0.2], "when": {"objective.kind": "geco", "beta.kind": "linear"}},
            },
            {},
            "space custom: objective.kappa is never used: nothing the space draws has it; leave it out",
        ),
        (
            {"objective.kind": {"choice": ["elbo", "gecko"]}},
            {},
            "objective.kind: 'gecko' is unknown; did you mean `geco`?",
        ),
        (
            {"use": ["linear"], "model.sigma": {"float": [0.1, 0.3]}},
            {},
            "space linear+custom: model.sigma and beta.end weigh the same two terms and cannot both vary; fix one",
        ),
        (
            {"use": ["linear"]},
            {"model.learn_sigma": True},
            "space linear: model.learn_sigma would undo whatever weight beta.end sets; fix beta.end at 1, or set "
            "model.learn_sigma to false",
        ),
        (
            {"use": ["annealing"], "model.learn_sigma": True},
            {},
            "space annealing+custom: model.learn_sigma would undo whatever weight beta.end sets; fix beta.end at 1, or "
            "set model.learn_sigma to false",
        ),
        (
            {"use": ["optimizer"], "optimizer.kind": "sgd"},
            {},
            "space optimizer+custom: optimizer.beta1 does not exist under optimizer.kind sgd, only under "
            "adam | adamw | radam; give it that condition or leave it out",
        ),
        ({"use": ["linear"]}, {"epochs": 0}, "epochs: 0 is not allowed; allowed: greater than or equal to 1"),
        ({"use": ["linear"]}, {"epohcs": 2}, "unknown key `epohcs`; did you mean `epochs`?"),
        (
            {"seed": 1},
            {},
            "space: nothing varies; add a dimension or start from a named space with `use: [NAME]`",
        ),
    ],
)
def test_a_space_that_can_draw_what_is_not_valid_is_refused(mapping, base, message):
    with pytest.raises(ConfigError) as error:
        check(parse_space(mapping), base, valid)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("mapping", "base"),
    [
        ({"beta.kind": "gqn", "model.sigma": {"float": [0.1, 0.3]}}, {}),
        ({"use": ["linear"], "beta.end": 1.0}, {"model": {"learn_sigma": True}}),
        (
            {
                "beta.kind": {"choice": ["linear", "gqn"]},
                "beta.end": {"float": [0.1, 4], "when": {"beta.kind": "linear"}},
                "model.sigma": {"float": [0.1, 0.3], "when": {"beta.kind": "gqn"}},
            },
            {},
        ),
    ],
)
def test_sigma_may_vary_where_beta_does_not(mapping, base):
    check(parse_space(mapping), base, valid)


def test_values_that_only_clash_in_pairs_are_found():
    seen = []
    space = Space.parse({path: {"int": [1, 2]} for path in ("lr.base_batch_size", "seed", "batch_size")})
    check(space, {}, seen.append)
    drawn = [(tree["lr"]["base_batch_size"], tree["seed"], tree["batch_size"]) for tree in seen]
    for first, second in combinations(range(3), 2):
        assert {(values[first], values[second]) for values in drawn} == set(product((1, 2), repeat=2))


@pytest.mark.parametrize(
    ("space", "base", "steps"),
    [
        ("linear", {}, 500),
        ("cyclical", {}, 400),
        ("annealing", {}, 500),
        ("geco-vs-annealing", {}, 500),
        ("geco", {}, 0),
        ("free-bits", {}, 0),
        ("clr", {}, 0),
        ("one-cycle", {}, 0),
        ("batch-size", {}, 100),
        ("geco+batch-size", {}, 100),
        ("linear+batch-size", {}, 500),
        ("lr", {"beta": {"kind": "linear"}}, 250),
        ("lr", {"beta": {"kind": "linear", "warmup": "0.4"}}, 400),
        ("lr", {"beta": {"kind": "linear", "warmup": "700 steps"}}, 700),
        ("lr", {"beta": {"kind": "cyclical"}}, 125),
        ("lr", {"beta": {"kind": "cyclical", "period": 0.5, "ratio": "0.6"}}, 300),
        ("geco", {"beta": {"kind": "linear"}}, 0),
        ("geco", {"beta": {"kind": "linear", "warmup": 0.4}}, 0),
        ("geco", {"lr.warmup": 0.2}, 200),
        ({"use": "linear", "beta.warmup": 0.1}, {}, 100),
        ({"use": "linear", "beta.warmup": {"choice": [0.1, "640 steps"]}}, {}, 640),
        ({"use": "cyclical", "beta.period": 0.25, "beta.ratio": {"float": [0.2, 0.4]}}, {}, 100),
        ({"use": "geco-vs-annealing", "objective.kind": {"choice": ["geco", "free-bits"]}}, {}, 0),
    ],
)
def test_the_longest_warm_up_of_a_thousand_steps(space, base, steps):
    assert longest_warmup(parse_space(space), base, 1000) == steps


def first_step_at_its_end(config, total):
    """Where the curve of β first reaches its end, 1, or for tanh .99 of it; 0 where it does not stay there."""
    curve = beta_at(config, np.arange(total + 1.0), total)
    there = curve >= 0.99 if config.kind == "tanh" else np.isclose(curve, 1, rtol=1e-9)
    first = int(np.argmax(there))
    return first if there[first + 1] else 0


@pytest.mark.parametrize("duration", [0.3, "210 steps"])
@pytest.mark.parametrize("kind", variants("beta"))
def test_the_longest_warm_up_is_where_the_curve_of_beta_first_reaches_its_end(kind, duration):
    lengths = {"warmup", "period"} & variants("beta")[kind].model_fields.keys()
    tree = {"kind": kind, **dict.fromkeys(lengths, duration)}
    config = parse_config({"beta": tree}).beta
    found = longest_warmup(parse_space("lr"), {"beta": tree}, 1000)
    assert found == first_step_at_its_end(config, 1000)


@pytest.mark.parametrize("name", space_names())
def test_no_warm_up_of_the_catalogue_is_longer_than_half_the_budget(name):
    assert longest_warmup(parse_space(name), {}, 1000) <= 500


@pytest.mark.parametrize("path", CONSTANT)
def test_what_makes_trials_incomparable_cannot_vary(path):
    with pytest.raises(ConfigError, match=rf"{re.escape(path)} must be the same for all trials"):
        check(Space("", {}, {"lr.base": Float(1e-4, 1e-2), path: Choice((1, 2))}), {}, parse_config)
