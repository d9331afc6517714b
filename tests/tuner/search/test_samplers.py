"""Every sampler on every space, and each against the law it is named for."""

import json
import warnings
from typing import get_args

import numpy as np
import optuna
import pytest
from events import ToldSweep
from scipy.stats import qmc

from search_spaces.catalogue import parse_space, space_named, space_names
from search_spaces.compile import suggest_trial
from search_spaces.domains import Choice, Float
from search_spaces.space import Space, assemble
from trainables.config.paths import flatten, parse_config
from tuner.search.optuna_study import suggest
from tuner.search.samplers import Sampling, new_sampler, sampler_notes, trials_to_run
from tuner.sweeps.spec import Search

SAMPLERS = get_args(Search.model_fields["sampler"].annotation)
FLAT = Space(
    "flat", {}, {"lr.base": Float(1e-4, 1e-2, log=True), "beta.end": Float(0, 4), "batch_size": Choice((8, 16))}
)
CUBE = Space("cube", {}, {path: Float(0, 1) for path in ("beta.end", "beta.warmup", "lr.base", "optimizer.beta1")})


def sampling_of(kind, space, **other):
    return Sampling(
        **{"kind": kind, "seed": 0, "trials": 200, "concurrent": False, "default": space.default({}), **other}
    )


def draws(kind, space, n):
    """n draws of one living study, or the points of a grid."""
    sampling = sampling_of(kind, space, trials=n)
    if kind == "grid":
        yield from sampling.grid(space).assignments(n, seed=0)
        return
    study = optuna.create_study(sampler=new_sampler(sampling, space, 0))
    for number in range(n):
        trial = study.ask()
        yield suggest_trial(trial, space)
        study.tell(trial, number % 7)


def unit(domain, value):
    """Where a value lies between its bounds, 0 to 1, on the scale it is drawn on."""
    low, high, value = (np.log(bound) if domain.log else bound for bound in (domain.low, domain.high, value))
    return (value - low) / (high - low)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", space_names())
def test_each_draw_is_a_valid_trial(name, sampler):
    """TPE's own begin after ten, and take ever longer."""
    space = space_named(name).scaled(0.27)
    for assignment in draws(sampler, space, 30 if sampler == "tpe" else 100):
        assert list(assignment) == space.active(assignment)
        assert all(space.dimensions[path].contains(value) for path, value in assignment.items())
        flat = flatten(parse_config(assemble({}, space, assignment)).model_dump())
        assert {path: flat[path] for path in assignment} == assignment


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
@pytest.mark.parametrize("name", space_names())
def test_what_does_not_learn_reaches_every_option_and_both_ends(name, sampler):
    space = space_named(name).scaled(0.27)
    drawn = list(draws(sampler, space, 400))
    for path, domain in space.dimensions.items():
        values = {assignment[path] for assignment in drawn if path in assignment}
        if isinstance(domain, Choice):
            assert values == set(domain.options)
        else:
            places = [unit(domain, value) for value in values]
            assert min(places) < 0.1, path
            assert max(places) > 0.9, path


# --- a journal told of a function -------------------------------------------------------------------------------------


def swept(space, sampling, objective, n, metrics=("val/mse", "val/kl"), priors=(), ahead=1):
    """A sweep of n trials of one epoch, `ahead` at a time; each is asked with sampler and study built anew."""
    told = ToldSweep(dict.fromkeys(metrics, "min"))
    for prior in priors:
        told.add("prior", **prior)
    for number in range(n + ahead - 1):
        if number < n:
            told.ask(suggest(told.sweep, space, sampling))
        if number >= ahead - 1:
            trial = f"{number - ahead + 1:04}"
            values = objective(told.sweep.trials[trial].assignment)
            told.report(trial, dict(zip(metrics, values, strict=True)))
    return told.sweep


def assignments(sweep):
    return [trial.assignment for trial in sweep.trials.values()]


def two_ends(assignment):
    """ZDT1 (Zitzler, Deb & Thiele 2000) in four dimensions: the front is y = 1 − √x where all but the first are 0."""
    first, *others = assignment.values()
    g = 1 + 9 * float(np.mean(others))
    return first, g * (1 - (first / g) ** 0.5)


def hypervolume(points, reference):
    """The area that points (x, y), both to be small, dominate below the reference."""
    area, top = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < top:
            area += (reference[0] - x) * (top - y)
            top = y
    return area


# --- qmc --------------------------------------------------------------------------------------------------------------


def test_rebuilt_for_every_ask_qmc_is_scipys_sobol_sequence():
    sweep = swept(CUBE, sampling_of("qmc", CUBE, seed=3), two_ends, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = qmc.Sobol(len(CUBE.dimensions), scramble=True, seed=3).random(16)
    assert np.array([list(drawn.values()) for drawn in assignments(sweep)]) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_16_qmc_points_lie_one_in_each_of_16_equal_bins(seed):
    drawn = assignments(swept(FLAT, sampling_of("qmc", FLAT, seed=seed), lambda a: (0.0, 0.0), 16))
    for path, domain in FLAT.dimensions.items():
        if isinstance(domain, Float):
            assert sorted(int(16 * unit(domain, point[path])) for point in drawn) == list(range(16))
        else:
            assert [sum(point[path] == option for point in drawn) for option in domain.options] == [8, 8]


def test_qmc_keeps_its_place_when_trials_fail():
    def ends(reason):
        told = ToldSweep({"val/mse": "min"})
        for number in range(6):
            told.ask(suggest(told.sweep, FLAT, sampling_of("qmc", FLAT)))
            if reason:
                told.add("end", trial=f"{number:04}", reason=reason, error="")
        return assignments(told.sweep)

    assert ends("error") == ends(None)


def test_in_branches_qmc_spreads_what_every_trial_draws():
    space = parse_space("annealing+lr")
    drawn = assignments(swept(space, sampling_of("qmc", space), lambda a: (0.0, 0.0), 16))
    assert sorted(int(16 * unit(space.dimensions["lr.base"], point["lr.base"])) for point in drawn) == list(range(16))


# --- nsga2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 4])
def test_nsga2_rebuilt_for_every_ask_is_the_one_living_study(ahead):
    """With four at a time some of a generation end after the next has chosen its parents."""
    sampling = sampling_of("nsga2", CUBE, trials=50)
    rebuilt = assignments(swept(CUBE, sampling, two_ends, 40, ahead=ahead))
    study = optuna.create_study(directions=["minimize", "minimize"])
    living, asked = [], []
    for number in range(40):
        study.sampler = new_sampler(sampling, CUBE, number)
        asked.append(study.ask())
        living.append(suggest_trial(asked[-1], CUBE))
        if number >= ahead - 1:
            study.tell(asked[number - ahead + 1], two_ends(living[number - ahead + 1]))
    assert rebuilt == living
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in study.trials]
    assert generations == sorted(generations)
    assert generations[-1] >= 3


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_what_learns_dominates_more_than_random_search(kind):
    def mean_area(kind, n=80):
        areas = []
        for seed in range(3):
            sweep = swept(CUBE, sampling_of(kind, CUBE, seed=seed, trials=n), two_ends, n)
            areas.append(hypervolume(map(two_ends, assignments(sweep)), (1.1, 10)))
        return float(np.mean(areas))

    assert mean_area(kind) > mean_area("random") + 0.3


def test_nsga2_breeds_from_what_it_did_not_ask_for_itself():
    """Priors fill the first generation; every value of a child that is not mutated is one of theirs."""
    drawn = assignments(swept(CUBE, sampling_of("random", CUBE), two_ends, 10))
    priors = [
        {
            "source_sweep": "earlier",
            "source_trial": f"{number:04}",
            "assignment": assignment,
            "values": dict(zip(("val/mse", "val/kl"), two_ends(assignment), strict=True)),
        }
        for number, assignment in enumerate(drawn)
    ]
    (child,) = assignments(swept(CUBE, sampling_of("nsga2", CUBE, trials=50, seed=1), two_ends, 1, priors=priors))
    inherited = [any(child[path] == parent[path] for parent in drawn) for path in CUBE.dimensions]
    assert sum(inherited) >= 2


def test_the_default_configuration_counts_in_nsga2s_first_generation():
    sampling = sampling_of("nsga2", CUBE, trials=20)
    sweep = swept(CUBE, sampling, two_ends, 4)
    sweep.trials["0000"].memory.clear()
    assert suggest(sweep, CUBE, sampling).memory["trial"] == {"NSGAIISampler:generation": 1}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("metrics", [("val/mse",), ("val/mse", "val/kl"), ("val/mse", "val/kl", "val/elbo")])
def test_every_sampler_takes_any_number_of_metrics(sampler, metrics):
    space = parse_space("annealing+lr")
    sampling = sampling_of(sampler, space, trials=15)
    sweep = swept(space, sampling, lambda a: [float(len(str(a)) % (n + 3)) for n in range(len(metrics))], 15, metrics)
    assert len({json.dumps(drawn, sort_keys=True) for drawn in assignments(sweep)}) == 15


# --- grid -------------------------------------------------------------------------------------------------------------


def test_trap_optunas_grid_repeats_itself_and_its_brute_force_raises_on_conditions():
    def drawn(sampler, n):
        study = optuna.create_study(sampler=sampler)
        for _ in range(n):
            trial = study.ask()
            kind = trial.suggest_categorical("kind", ["linear", "cyclical"])
            yield kind, trial.suggest_int("period", 1, 5) if kind == "cyclical" else None
            study.tell(trial, 0.0)

    grid = optuna.samplers.GridSampler({"kind": ["linear", "cyclical"], "period": range(1, 6)}, seed=0)
    points = list(drawn(grid, 9))
    assert len(set(points)) <= 6 < len(points)
    with pytest.raises(RuntimeError, match=r"`Study\.stop` is supposed to be invoked inside an objective"):
        list(drawn(optuna.samplers.BruteForceSampler(seed=0), 6))

    ours = Space(
        "ours",
        {},
        {
            "beta.kind": Choice(("linear", "cyclical")),
            "beta.period": Choice((0.1, 0.2, 0.25, 0.5, 1), when={"beta.kind": "cyclical"}),
        },
    )
    sampling = sampling_of("grid", ours, trials=20)
    n = trials_to_run(sampling, ours)
    assert n == 6
    sweep = swept(ours, sampling, lambda a: (0.0, 0.0), n)
    assert len({json.dumps(point) for point in assignments(sweep)}) == 6


# --- what a user is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "space", "warm", "pruned_by", "expected"),
    [
        ("tpe", "geco+lr", True, "asha", []),
        ("random", "geco+lr", False, "asha", []),
        ("random", "lr", True, "asha", ["random does not learn from a warm start; use tpe or nsga2"]),
        (
            "qmc",
            "geco+lr",
            False,
            "asha",
            ["qmc does not learn from trials: its points depend on the seed alone"],
        ),
        (
            "qmc",
            "annealing",
            False,
            None,
            [
                "qmc does not learn from trials: its points depend on the seed alone",
                "qmc spreads evenly over objective.kind; dimensions under a condition are drawn at random: beta.kind, "
                "beta.end, objective.free_bits, beta.warmup, beta.period, beta.ratio",
            ],
        ),
        (
            "nsga2",
            "lr",
            False,
            None,
            [
                "nsga2 learns from completed trials alone, 4 a generation, the first at random; it ignores "
                "pruned and failed ones"
            ],
        ),
        (
            "nsga2",
            "lr",
            False,
            "median",
            [
                "nsga2 learns from completed trials alone, 4 a generation, the first at random; it ignores "
                "pruned and failed ones: under median it may stay random search; use tpe, or --scheduler none"
            ],
        ),
        ("grid", "lr", False, None, ["grid: 20 points (levels: lr.base 19), for 20 trials at most"]),
        ("grid", "batch-size", False, None, ["grid: 12 points, for 20 trials at most"]),
        (
            "grid",
            "clr",
            False,
            None,
            ["grid: 20 of 21 points (levels: lr.base 2, lr.max 2), drawn by the seed; for all of them use --trials 21"],
        ),
    ],
)
def test_the_notes_say_what_a_sampler_does_with_a_space(kind, space, warm, pruned_by, expected):
    space = parse_space(space).scaled(0.27)
    notes = sampler_notes(sampling_of(kind, space, trials=20), space, warm=warm, pruned_by=pruned_by)
    assert notes == expected
