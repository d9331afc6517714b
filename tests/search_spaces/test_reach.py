import re
from itertools import combinations, product

import numpy as np
import optuna
import pytest
from branches import branches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.catalogue import parse_space, space_names
from search_spaces.compile import suggest_trial
from search_spaces.domains import Choice, Float
from search_spaces.reach import CONSTANT, check, longest_warmup
from search_spaces.space import Space, assemble
from trainables.config.paths import parse_config, variants
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.resolve import resolve
from trainables.values import steps_of

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
            "space linear+custom: objective.kappa is never used: no configuration of the space has it; remove it",
        ),
        (
            {
                "objective.kind": {"choice": ["elbo", "geco"]},
                "beta.kind": {"choice": ["linear", "cyclical"], "when": {"objective.kind": "elbo"}},
                "objective.kappa": {"float": [0.1, 0.2], "when": {"objective.kind": "geco", "beta.kind": "linear"}},
            },
            {},
            "space custom: objective.kappa is never used: no configuration of the space has it; remove it",
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
        (
            {"objective.samples": {"float": [1, 5]}},
            {},
            "space custom can draw objective.samples = 2.52786: objective.samples: 2.5278640450004204 is not allowed; "
            "allowed: a valid integer; write objective.samples: {int: [1, 5]}",
        ),
        (
            {"model.latent_dim": {"int": [8, 24]}},
            {"objective": {"kind": "free-bits", "groups": 8}},
            "space custom can draw model.latent_dim = 9: objective.groups: 8 groups of equal size cannot be made of "
            "model.latent_dim 9; allowed: its divisors, or none; write model.latent_dim: {choice: [8, 16, 24]}",
        ),
        (
            {"model.latent_dim": {"int": [8, 800]}},
            {"objective": {"kind": "free-bits", "groups": 8}},
            "space custom can draw model.latent_dim = 9: objective.groups: 8 groups of equal size cannot be made of "
            "model.latent_dim 9; allowed: its divisors, or none",
        ),
        (
            {
                "objective.kind": "free-bits",
                "objective.groups": {"choice": [2, 4]},
                "model.latent_dim": {"int": [4, 7]},
            },
            {},
            "space custom can draw objective.groups = 4, model.latent_dim = 7: objective.groups: 4 groups of equal "
            "size cannot be made of model.latent_dim 7; allowed: its divisors, or none",
        ),
        (
            {"optimizer.clip_norm": {"choice": [False, 1.0]}},
            {},
            "space custom can draw optimizer.clip_norm = false: optimizer.clip_norm: false (YAML reads yes, no, on, "
            "off as booleans; the word for off is `none`) is not allowed; allowed: a number",
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
        ("one-cycle", {}, 500),
        ("geco", {"lr": {"kind": "one-cycle", "pct_start": 0.3}}, 300),
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
    curve = config.at(np.arange(total + 1.0), total)
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


# --- laws -------------------------------------------------------------------------------------------------------------


def ends(levels):
    """The least and the greatest of numbers; every word."""
    return levels if isinstance(levels[0], str) else (min(levels), max(levels))


def every_two_extremes(space):
    """In every branch all pairs of extremes, the other dimensions at their first."""
    for branch in branches(space):
        levels = {path: ends(space.dimensions[path].levels()) for path in space.active(branch) if path not in branch}
        first = {**branch, **{path: values[0] for path, values in levels.items()}}
        yield first
        for one, other in combinations(levels, 2):
            for mine, yours in product(levels[one], levels[other]):
                yield {**first, one: mine, other: yours}


NAMED = [*space_names(), "geco-vs-annealing+clr+batch-size", "annealing+one-cycle+optimizer"]


@pytest.mark.parametrize("name", NAMED)
def test_the_draws_that_are_parsed_hold_every_option_and_every_two_extremes(name):
    space = parse_space(name).scaled(0.27)
    pairs = {frozenset(two) for draw in space.covering for two in combinations(draw.items(), 2)}
    assert {frozenset(two) for draw in every_two_extremes(space) for two in combinations(draw.items(), 2)} <= pairs
    for draw in space.covering:
        assert list(draw) == space.active(draw)
        assert all(space.dimensions[path].contains(value) for path, value in draw.items())


@pytest.mark.parametrize("name", NAMED)
def test_the_longest_warm_up_is_that_of_every_branch(name):
    space = parse_space(name).scaled(0.27)
    configs = [parse_config(assemble({}, space, draw)) for draw in every_two_extremes(space)]
    lengths = [
        steps_of(getattr(config.beta, "warmup", 0), 1000)
        if not hasattr(config.beta, "ratio")
        else round(config.beta.ratio * steps_of(config.beta.period, 1000))
        for config in configs
    ]
    lengths += [steps_of(config.lr.warmup, 1000) for config in configs]
    lengths += [round(1000 * getattr(config.lr, "pct_start", 0)) for config in configs]
    assert longest_warmup(space, {}, 1000) == max(lengths)


RANGES = {
    "lr.base": st.floats(1e-4, 2e-2),
    "lr.max": st.floats(1e-3, 2e-2),
    "beta.end": st.floats(0, 4),
    "beta.warmup": st.floats(0, 1.2),
    "lr.step_size": st.floats(1e-5, 1),
    "objective.samples": st.integers(0, 6),
    "objective.groups": st.integers(1, 9),
    "model.latent_dim": st.integers(1, 30),
    "model.sigma": st.floats(0, 1),
    "batch_size": st.integers(1, 1300),
}
OPTIONS = {
    "objective.kind": ["elbo", "free-bits", "iwae", "geco"],
    "lr.kind": ["constant", "clr", "one-cycle"],
    "beta.kind": ["constant", "linear", "gqn"],
    "model.learn_sigma": [True, False],
    "model.hidden": [[16], [8, 8], []],
    "objective.groups": ["none", 2, 3, 4],
    "objective.free_bits": [0.1, [0.1, 0.2], [0.1, 0.2, 0.3]],
    "lr.scaling": ["linear", "sqrt", "none"],
    "lr.base": ["1e-3", 1e-2],
    "lr.warmup": ["10 steps", "2000 steps", 0.3],
}


@st.composite
def entries(draw):
    """A dimension of a plausible path: a range of either kind, or a choice."""
    path = draw(st.sampled_from([*RANGES, *OPTIONS]))
    if path in OPTIONS and (path not in RANGES or draw(st.booleans())):
        options = draw(st.lists(st.sampled_from(OPTIONS[path]), min_size=1, max_size=4, unique_by=str))
        return path, {"choice": options}
    bounds = sorted(draw(st.lists(RANGES[path], min_size=2, max_size=2, unique=True)))
    whole = all(isinstance(bound, int) for bound in bounds)
    return path, {"int" if whole and draw(st.booleans()) else "float": bounds}


@st.composite
def spaces(draw):
    """Up to five dimensions, some of them under an option of one before."""
    found = {}
    for path, entry in draw(st.lists(entries(), min_size=1, max_size=5, unique_by=lambda entry: entry[0])):
        parents = [parent for parent in found if "choice" in found[parent]]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            entry["when"] = {parent: [draw(st.sampled_from(found[parent]["choice"]))]}
        found[path] = entry
    return found


BASES = [{}, {"objective": {"kind": "free-bits", "groups": 4}}, {"objective": {"kind": "iwae"}, "lr": {"kind": "clr"}}]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces(), st.sampled_from(BASES), st.integers(0, 2**32 - 1))
def test_what_is_accepted_is_valid_wherever_it_is_drawn(mapping, base, seed):
    try:
        space = parse_space(mapping)
        check(space, base, valid)
    except ConfigError:
        return
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(25):
        valid(assemble(base, space, suggest_trial(study.ask(), space)))


@pytest.mark.parametrize("children", [[3], range(6)])
def test_ten_parents_of_six_options_take_few_draws(children):
    entries = {}
    for parent in (f"model.kwargs.p{number}" for number in range(10)):
        entries[parent] = {"choice": list(range(6))}
        entries |= {f"{parent}_{o}": {"int": [1, 3], "when": {parent: o}} for o in children}
    space = Space.parse(entries)
    assert len(space.covering) < 300
    check(space, {"model": {"kind": "nets:make"}}, parse_config)


def test_six_choices_of_fifty_options_take_few_draws():
    paths = ("lr.base", "beta.end", "lr.encoder", "lr.decoder", "optimizer.eps", "optimizer.clip_norm")
    space = Space.parse({path: {"choice": [1 + i / 100 for i in range(50)]} for path in paths})
    assert len(space.covering) < 200
    check(space, {}, parse_config)


@pytest.mark.parametrize("path", CONSTANT)
def test_what_makes_trials_incomparable_cannot_vary(path):
    with pytest.raises(ConfigError, match=rf"{re.escape(path)} must be the same for all trials"):
        check(Space("", {}, {"lr.base": Float(1e-4, 1e-2), path: Choice((1, 2))}), {}, parse_config)
