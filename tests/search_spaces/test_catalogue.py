from itertools import combinations

import optuna
import pytest

from search_spaces.catalogue import parse_space, space_named, space_names
from search_spaces.compile import suggest_trial
from search_spaces.domains import Choice, Float
from search_spaces.reach import check
from search_spaces.space import assemble
from trainables.config import TrialConfig
from trainables.config.paths import flatten, parse_config
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.resolve import resolve

METHODS = {"linear", "cyclical", "free-bits", "geco", "annealing", "geco-vs-annealing"}
RATES = {"lr", "clr", "one-cycle"}
EXCLUSIVE = {frozenset(pair) for group in (METHODS, RATES) for pair in combinations(sorted(group), 2)}
PAIRS = [pair for pair in combinations(space_names(), 2) if frozenset(pair) not in EXCLUSIVE]
JOINED = [*space_names(), *("+".join(pair) for pair in PAIRS), "geco-vs-annealing+clr+batch-size"]
DIGITS = DataFacts((1, 8, 8), 1200, 297, 300, 0.0, 1.0, False, {"re": 0.27, "nll": 0.5})


def valid(tree):
    return resolve(parse_config(tree), DIGITS)


@pytest.mark.parametrize("name", JOINED)
def test_every_random_draw_is_a_valid_trial(name):
    """Inside its domains, complete, free of inactive dimensions; it arrives in the configuration."""
    space = parse_space(name).scaled(DIGITS.kappa_max["re"])
    drawn = set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(200):
        trial = study.ask()
        assignment = suggest_trial(trial, space)
        assert trial.params == assignment
        assert list(assignment) == space.active(assignment)
        assert all(space.dimensions[path].contains(value) for path, value in assignment.items())
        config = valid(assemble({}, space, assignment))
        assert isinstance(config, TrialConfig)
        flat = flatten(config.model_dump())
        assert {path: flat[path] for path in assignment} == assignment
        drawn |= set(assignment.items())
    assert {path for path, _ in drawn} == set(space.dimensions)
    for path, domain in space.dimensions.items():
        if isinstance(domain, Choice):
            assert {value for at, value in drawn if at == path} == set(domain.options)


@pytest.mark.parametrize("name", JOINED)
def test_nothing_that_is_not_valid_can_be_drawn(name):
    check(parse_space(name).scaled(DIGITS.kappa_max["re"]), {}, valid)


@pytest.mark.parametrize("name", JOINED)
def test_the_default_is_a_valid_trial(name):
    space = parse_space(name).scaled(DIGITS.kappa_max["re"])
    valid(assemble({}, space, space.default({})))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_order_of_joined_names_does_not_matter(first, second):
    one, other = parse_space(f"{first}+{second}"), parse_space(f" {second} + {first}")
    assert (one.fixed, one.dimensions) == (other.fixed, other.dimensions)


@pytest.mark.parametrize(("first", "second"), sorted(map(sorted, EXCLUSIVE)))
def test_spaces_that_decide_the_same_exclude_each_other(first, second):
    for name in (f"{first}+{second}", f"{second}+{first}"):
        with pytest.raises(ConfigError, match=r"exclude each other: both decide (objective|beta|lr)\.kind; use "):
            parse_space(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "linear+geco",
            "spaces linear and geco exclude each other: both decide objective.kind; use geco-vs-annealing",
        ),
        ("linear+cyclical", "spaces linear and cyclical exclude each other: both decide beta.kind; use annealing"),
        ("clr+one-cycle", "spaces clr and one-cycle exclude each other: both decide lr.kind; use one of them"),
        (
            "annealing+linear",
            "spaces annealing and linear exclude each other: both decide objective.kind; use annealing",
        ),
        ("geko", "space: 'geko' is unknown; did you mean `geco`?"),
        ("geco+", f"space: '' is unknown; known: {', '.join(space_names())}"),
        ({"use": ["linaer"]}, "space: 'linaer' is unknown; did you mean `linear`?"),
        ({"use": []}, f"space: use: [] is not allowed; write [NAME, …]; known: {', '.join(space_names())}"),
        ({"use": [1]}, f"space: use: [1] is not allowed; write [NAME, …]; known: {', '.join(space_names())}"),
        (["geco"], "space: ['geco'] is not allowed; write names joined by + or {PATH: …, use: [NAME]}"),
    ],
)
def test_a_mistaken_name_is_refused(name, message):
    with pytest.raises(ConfigError) as error:
        parse_space(name)
    assert str(error.value) == message


def test_a_name_twice_is_the_space():
    assert parse_space("geco+geco") == space_named("geco")


@pytest.mark.parametrize("use", [["geco-vs-annealing", "batch-size"], "geco-vs-annealing+batch-size"])
def test_a_users_space_starts_from_named_ones(use):
    space = parse_space(
        {
            "use": use,
            "beta.kind": {"choice": ["linear", "cyclical"], "when": {"objective.kind": "elbo"}},
            "beta.warmup": {"float": [0.05, 0.5], "when": {"beta.kind": "linear"}},
            "objective.kappa": {"float": [0.12, 0.2], "log": True, "when": {"objective.kind": "geco"}},
        }
    )
    named = parse_space("geco-vs-annealing+batch-size")
    assert space.dimensions["objective.kappa"] == Float(0.12, 0.2, log=True, when={"objective.kind": "geco"})
    assert set(space.dimensions) == set(named.dimensions)
    assert space.active({"objective.kind": "geco"}) == named.active({"objective.kind": "geco"})
    check(space, {}, valid)


def test_use_alone_is_the_named_space():
    assert parse_space({"use": ["geco", "clr"]}) == parse_space("geco+clr")


@pytest.mark.parametrize("name", space_names())
def test_every_space_varies_something_and_can_be_printed(name):
    space = space_named(name)
    assert space.name == name
    rows = space.describe()
    assert [row.path for row in rows] == [*space.fixed, *space.dimensions]
    assert all(row.varies for row in rows)
    assert {row.path for row in rows if row.condition} == {path for path, d in space.dimensions.items() if d.when}


def test_the_catalogue_is_the_promised_one():
    assert METHODS | RATES | {"batch-size", "optimizer"} == set(space_names())
