import json
import math
import subprocess
import sys

import optuna
import pytest

from search_spaces.catalogue import space_named, space_names
from search_spaces.compile import distributions, parameters, suggest_trial
from search_spaces.domains import Choice, Float, Int
from search_spaces.space import Space

ALL_KINDS = Space(
    "all",
    {},
    {
        "epochs": Int(1, 4),
        "batch_size": Int(1, 4, log=True),
        "lr.base": Float(1e-4, 1e-2, log=True),
        "beta.end": Float(-1, 1),
        "lr.scaling": Choice(("linear", "sqrt")),
    },
)
UNCONDITIONAL = [
    ALL_KINDS,
    *(
        space.scaled(0.27)
        for space in map(space_named, space_names())
        if not any(domain.when for domain in space.dimensions.values())
    ),
]


def optuna_draws(space, n=200):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [suggest_trial(study.ask(), space) for _ in range(n)]


def support(space, draws):
    """What is drawn of each dimension; of a Float the tenths of its scale."""
    return {path: {place(domain, draw[path]) for draw in draws} for path, domain in space.dimensions.items()}


def place(domain, value):
    assert domain.contains(value)
    if not isinstance(domain, Float):
        return value
    low, high, value = map(math.log if domain.log else float, (domain.low, domain.high, value))
    return min(int(10 * (value - low) / (high - low)), 9)


def whole_support(domain):
    if isinstance(domain, Choice):
        return set(domain.options)
    return set(range(10)) if isinstance(domain, Float) else set(range(domain.low, domain.high + 1))


@pytest.mark.parametrize("space", UNCONDITIONAL, ids=lambda space: space.name)
def test_every_value_of_a_domain_is_drawn(space):
    expected = {path: whole_support(domain) for path, domain in space.dimensions.items()}
    assert support(space, optuna_draws(space)) == expected


def test_the_bounds_of_a_range_are_drawn_where_the_sampler_reaches_for_them():
    lowest, highest = ({path: domain.levels()[end] for path, domain in ALL_KINDS.dimensions.items()} for end in (0, -1))
    for extreme in (lowest, highest):
        assert suggest_trial(optuna.trial.FixedTrial(extreme), ALL_KINDS) == extreme


@pytest.mark.parametrize("name", space_names())
def test_a_drawn_trial_can_be_created_again(name):
    space = space_named(name).scaled(0.27)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    for _ in range(20):
        trial = study.ask()
        assignment = suggest_trial(trial, space)
        assert distributions(space, assignment) == trial.distributions
        again = optuna.create_trial(params=assignment, distributions=distributions(space, assignment), value=0.0)
        assert again.params == assignment


TYPES = ([16], [24, 16], True, False, 1, 0, None, "true", "[16]", "1", 2.5)


@pytest.mark.parametrize("options", [TYPES, TYPES[:2], TYPES[2:4], TYPES[4:6], (True, "true"), ([1], "[1]")])
def test_each_option_is_drawn_and_told_in_its_own_type(options):
    space = Space("types", {}, {"model.kwargs.any": Choice(options)})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    found = set()
    for _ in range(200):
        trial = study.ask()
        assignment = suggest_trial(trial, space)
        assert parameters(space, json.loads(json.dumps(assignment))) == trial.params
        assert distributions(space, assignment) == trial.distributions
        found.add(json.dumps(assignment["model.kwargs.any"]))
    assert found == set(map(json.dumps, options))


def test_a_record_from_before_options_kept_their_type_is_told_as_the_option_it_means():
    space = Space("old", {}, {"model.kwargs.width": Choice(("8", "16"))})
    found = parameters(space, {"model.kwargs.width": 16})
    assert optuna.create_trial(params=found, distributions=distributions(space, found), value=0.0).params == found


def test_relative_bounds_are_never_drawn_as_they_stand():
    for draw in (lambda space: optuna_draws(space, 1), lambda space: distributions(space, {})):
        with pytest.raises(
            ValueError, match=r"^objective\.kappa is relative to kappa_min and kappa_max; call Space\.scaled first$"
        ):
            draw(space_named("geco"))


def test_ray_is_not_loaded_for_optuna():
    code = "import sys, search_spaces.compile, search_spaces.catalogue; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_printing_a_space_loads_no_heavy_library():
    code = "import sys, search_spaces.catalogue; assert not {'ray', 'optuna', 'torch', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
