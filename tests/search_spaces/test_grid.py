"""A grid has every combination of every branch once, as fine as the number of trials allows."""

import json
import math
import random

import optuna
import pytest
from branches import branches, points
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.catalogue import parse_space, space_names
from search_spaces.compile import suggest_trial
from search_spaces.domains import Choice, Float, Int
from search_spaces.grid import every_point, finest_grid
from search_spaces.space import Space

SPACES = [*space_names(), "geco-vs-annealing+lr+batch-size"]
TOY = Space(
    "toy",
    {},
    {
        "objective.kind": Choice(("elbo", "geco")),
        "beta.kind": Choice(("constant", "cyclical"), when={"objective.kind": "elbo"}),
        "beta.end": Float(1, 3, when={"objective.kind": "elbo"}),
        "beta.period": Choice((0.5, 0.25), when={"beta.kind": "cyclical"}),
        "objective.kappa": Float(0.01, 1, log=True, when={"objective.kind": "geco"}),
    },
)


def grid_of(name, n_max):
    space = parse_space(name).scaled(0.27)
    return space, finest_grid(space, space.default({}), n_max)


def size(space, levels):
    """Σ over branches of Π of levels."""
    return sum(
        math.prod(levels[path] for path in space.active(branch) if path not in branch) for branch in branches(space)
    )


def keys(points):
    return [json.dumps(point, sort_keys=True) for point in points]


def test_a_conditional_tree_is_the_one_enumerated_by_hand():
    constant = [{"objective.kind": "elbo", "beta.kind": "constant", "beta.end": end} for end in (1.0, 2.0, 3.0)]
    cyclical = [
        {**point, "beta.kind": "cyclical", "beta.period": period} for point in constant for period in (0.5, 0.25)
    ]
    geco = [{"objective.kind": "geco", "objective.kappa": kappa} for kappa in (0.01, 0.1, 1.0)]
    grid = finest_grid(TOY, TOY.default({}), 12)
    found = [
        {path: round(value, 9) if isinstance(value, float) else value for path, value in point.items()}
        for point in grid.assignments(100, seed=0)
    ]
    assert sorted(keys(found)) == sorted(keys([*constant, *cyclical, *geco]))
    assert found[0] == {"objective.kind": "elbo", "beta.kind": "constant", "beta.end": 1.0}


@pytest.mark.parametrize("n_max", [40, 200, 1000])
@pytest.mark.parametrize("name", SPACES)
def test_each_point_is_there_once_valid_and_in_all_as_many_as_the_branches_have(name, n_max):
    space, grid = grid_of(name, n_max)
    found = grid.assignments(grid.n_points, seed=0)
    beside = any(value not in grid.values[path] for path, value in space.default({}).items())
    assert grid.n_points == size(space, {path: len(values) for path, values in grid.values.items()}) + beside
    assert len(set(keys(found))) == len(found) == grid.n_points
    for point in found:
        assert list(point) == space.active(point)
        assert all(space.dimensions[path].contains(value) for path, value in point.items())
    for path, domain in space.dimensions.items():
        assert set(domain.levels()) <= {point[path] for point in found if path in point}


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("name", SPACES)
def test_points_keep_their_places_without_being_enumerated(name, seed):
    """A grid that was cut short is gone on with by these places."""
    space, grid = grid_of(name, 60)
    default, every = space.default({}), list(points(space, grid.values))
    draw = random.Random(f"grid/{seed}")
    shuffled = dict.fromkeys(draw.randrange(len(every)) for _ in range(100))
    expected = [default, *(every[i] for i in shuffled if every[i] != default)]
    assert grid.assignments(len(expected), seed) == expected
    assert [next(grid.points(seed, number)) for number in range(len(expected))] == expected


def wide(n_parents, children):
    """Parents of six options, each with a child under every option of `children`."""
    entries = {}
    for parent in (f"model.kwargs.p{number}" for number in range(n_parents)):
        entries[parent] = {"choice": list(range(6))}
        entries |= {f"{parent}_{o}": {"int": [1, 3], "when": {parent: o}} for o in children}
    return Space.parse(entries)


@pytest.mark.parametrize(("children", "levels"), [([3], 8), (range(6), 18)])
def test_a_wide_grid_is_counted_and_its_points_are_drawn(children, levels):
    space = wide(10, children)
    grid = finest_grid(space, space.default({}), 10**30)
    assert grid.n_points == levels**10
    found = grid.assignments(5, seed=0)
    assert len(set(keys(found))) == 5
    assert all(list(point) == space.active(point) for point in found)


@pytest.mark.parametrize("n_max", [100, 333, 1000])
@pytest.mark.parametrize("name", SPACES)
def test_the_grid_fits_and_its_ranges_are_equally_fine(name, n_max):
    space, grid = grid_of(name, n_max)
    levels = {path: len(values) for path, values in grid.values.items()}
    ranges = [path for path, domain in space.dimensions.items() if isinstance(domain, Float)]
    coarsest = min((levels[path] for path in ranges), default=0)
    assert all(levels[path] in (coarsest, coarsest + 1) for path in ranges)
    assert grid.n_points <= n_max or set(ranges) == {path for path in ranges if levels[path] == 2}
    for path in ranges:
        assert levels[path] > coarsest or size(space, {**levels, path: coarsest + 1}) >= n_max


@given(n_max=st.integers(12, 400))
def test_a_budget_of_just_its_points_gives_the_same_grid(n_max):
    default = TOY.default({})
    grid = finest_grid(TOY, default, n_max)
    assert finest_grid(TOY, default, grid.n_points) == grid


@pytest.mark.parametrize("n", [1, 5, 20])
def test_what_is_cut_short_is_a_sample_that_begins_with_the_default(n):
    space, grid = grid_of("geco-vs-annealing+lr", n)
    assert grid.n_points > n
    drawn = grid.assignments(n, seed=0)
    assert drawn[0] == space.default({})
    assert len(set(keys(drawn))) == len(drawn) == n
    assert drawn == grid.assignments(n, seed=0)
    assert n == 1 or drawn != grid.assignments(n, seed=1)


@given(low=st.integers(1, 50), width=st.integers(1, 200), log=st.booleans(), n_max=st.integers(2, 80))
def test_whole_numbers_are_as_many_as_fit_and_differ(low, width, log, n_max):
    space = Space("ints", {}, {"epochs": Int(low, low + width, log=log)})
    grid = finest_grid(space, {"epochs": low}, n_max)
    values = grid.values["epochs"]
    assert values == tuple(sorted(set(values)))
    assert all(isinstance(value, int) for value in values)
    assert (values[0], values[-1]) == (low, low + width)
    assert len(values) == grid.n_points == min(n_max, width + 1)


def test_a_range_is_cut_evenly_in_its_own_scale():
    space = Space("both", {}, {"lr.base": Float(1e-4, 1e-2, log=True), "beta.end": Float(0, 4)})
    values = finest_grid(space, {"lr.base": 1e-4, "beta.end": 0}, 25).values
    assert values["lr.base"] == pytest.approx((1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2))
    assert values["beta.end"] == pytest.approx((0, 1, 2, 3, 4))


@pytest.mark.parametrize("name", ["batch-size", "tree"])
def test_every_point_of_a_space_with_an_end_is_what_drawing_for_long_enough_finds(name):
    tree = {
        "objective.kind": {"choice": ["elbo", "geco"]},
        "batch_size": {"int": [30, 32], "when": {"objective.kind": "geco"}},
        "beta.kind": {"choice": ["constant", "cyclical"], "when": {"objective.kind": "elbo"}},
        "beta.period": {"choice": [0.5, 0.25], "when": {"beta.kind": "cyclical"}},
    }
    space = Space.parse(tree) if name == "tree" else parse_space(name)
    grid = every_point(space, space.default({}))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest_trial(study.ask(), space) for _ in range(300)]
    assert set(keys(drawn)) == set(keys(grid.assignments(grid.n_points, seed=0)))
    assert len(set(keys(drawn))) == grid.n_points == (6 if name == "tree" else 12)


def test_real_numbers_have_no_end():
    assert every_point(parse_space("lr"), {}) is None
    assert every_point(Space.parse({"batch_size": {"int": [1, 10**12]}}), {"batch_size": 3}).n_points == 10**12
