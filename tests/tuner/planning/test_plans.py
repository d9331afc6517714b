"""What a spec means before anything starts: metrics, the scheduler `auto`, the trials of a grid, what is refused."""

import pytest

from trainables.config.paths import unflatten
from trainables.errors import UserError
from tuner.planning.plans import make_plan
from tuner.running.driver import header_of
from tuner.search.samplers import Sampling
from tuner.sweeps.metrics import SATURATING
from tuner.sweeps.spec import parse_spec


@pytest.fixture
def plan(vae_data_root):
    """A plan on the digits: plan(space, **{path: value})."""

    def make(space="geco+lr", **paths):
        return make_plan(parse_spec(unflatten({"space": space, "config.epochs": 20, **paths})), vae_data_root)

    return make


BITS = {"config.data.binarize": "dynamic"}


@pytest.mark.parametrize(
    ("space", "paths", "metric"),
    [
        ("geco", {}, "val/elbo_cal"),
        ("geco", BITS, "val/elbo"),
        ("lr", {"config.objective.kind": "iwae"}, "val/nll"),
        ({"objective.kind": {"choice": ["elbo", "iwae"]}}, BITS, "val/nll"),
        ({"use": ["lr"], "objective.kind": "iwae"}, {}, "val/nll"),
    ],
)
def test_the_metric_follows_likelihood_and_objective(space, paths, metric, plan):
    made = plan(space, **paths)
    assert made.metrics == (metric,)
    config = made.resolved(made.space.default({}))
    assert (config.metrics.nll_samples, config.metrics.every) == ((100, 1) if metric == "val/nll" else (None, 10))
    assert made.default == config


def test_importance_samples_the_user_chose_stay(plan):
    made = plan("lr", **{"search.metric": "val/mse,val/nll", "config.metrics.nll_samples": 7})
    assert made.default.metrics.nll_samples == 7


def test_aggregates_are_taken_at_every_epoch(plan):
    assert plan("lr", **{"search.metric": "val/kl,val/agg_kl_gauss"}).default.metrics.every == 1
    assert plan("lr", **{"search.metric": "val/kl"}).default.metrics.every == 10


def test_several_metrics_keep_their_order_and_directions(plan):
    made = plan("lr", **{"search.metric": ["val/mse", "val/active_units", "val/kl"]})
    assert (made.metric, made.direction) == ("val/mse", "min")
    assert made.directions == ("min", "max", "min")
    header = header_of(made, "name", "sqlite:///x.db")
    assert list(header["metrics"].items()) == [("val/mse", "min"), ("val/active_units", "max"), ("val/kl", "min")]
    assert (header["metric"], header["direction"]) == ("val/mse", "min")


@pytest.mark.parametrize(
    ("metric", "kind", "settled", "prunes"),
    [
        ("val/elbo", "auto", "asha", True),
        ("val/mse,val/kl", "auto", "none", False),
        ("val/mse,val/kl", "asha", "asha", True),
        ("val/elbo", "none", "none", False),
    ],
)
def test_auto_prunes_by_one_metric_and_not_by_several(metric, kind, settled, prunes, plan):
    made = plan("lr", **{"search.metric": metric, "scheduler.kind": kind})
    assert (made.scheduler_kind, bool(made.rungs)) == (settled, prunes)
    assert header_of(made, "name", "sqlite:///x.db")["scheduler"]["kind"] == settled
    told = [note for note in made.notes if note.startswith("searched as a Pareto set by val/mse, val/kl: ")]
    ends = ["asha prunes by the first alone" if prunes else "no trial is pruned"] if "," in metric else []
    assert [note.partition(": ")[2] for note in told] == ends


@pytest.mark.parametrize(
    ("trials", "expected", "note"),
    [
        (20, 12, "grid: 12 points, for 20 trials at most"),
        (5, 5, "grid: 5 of 12 points, drawn by the seed; for all of them use --trials 12"),
    ],
)
def test_a_grid_has_no_more_trials_than_points(trials, expected, note, plan):
    made = plan("batch-size", **{"search.sampler": "grid", "search.trials": trials})
    assert made.spec.search.trials == expected
    assert note in made.notes


@pytest.mark.parametrize(
    ("space", "paths", "said"),
    [
        ("geco", {}, []),
        ("lr", {}, []),
        (
            "geco",
            {"config.batch_size": 128, "config.lr.scaling": "linear"},
            ["learning rate 0.024 = lr.base 0.006 × 4 (linear scaling, batch 128 over base batch 32)"],
        ),
        (
            "geco",
            {"config.batch_size": 128},
            ["learning rate 0.012 = lr.base 0.006 × 2 (square-root scaling, batch 128 over base batch 32)"],
        ),
        (
            "lr",
            {"config.batch_size": 128, "config.lr.scaling": "linear"},
            ["learning rates are multiplied by 4 (linear scaling, batch 128 over base batch 32)"],
        ),
        (
            "batch-size",
            {},
            [
                "learning rates are multiplied by 1 to 8 (linear, square-root or no scaling, batch 32 to 256 over "
                "base batch 32)"
            ],
        ),
    ],
)
def test_the_learning_rates_in_use_are_said_where_they_are_not_as_written(space, paths, said, plan):
    made = plan(space, **paths)
    assert [note for note in made.notes if note.startswith("learning rate")] == said


def test_given_trials_each_say_their_rate(plan):
    points = [{"batch_size": size} for size in (32, 128, 128)]
    made = plan("lr", **{"search.points": points})
    assert [note for note in made.notes if note.startswith("learning rate")] == [
        "learning rate 0.012 = lr.base 0.006 × 2 (square-root scaling, batch 128 over base batch 32)"
    ]


SLACK = (
    "objective.kappa {} is not below {:.4g}, what the mean image reaches: the constraint is slack and the KL falls to 0"
)
GIVEN_KAPPAS = [{"objective.kind": "geco", "objective.kappa": kappa} for kappa in (0.2, 0.3, 0.2, 0.5)]


@pytest.mark.parametrize(
    ("space", "paths", "told"),
    [
        ("lr", {"search.points": GIVEN_KAPPAS}, [0.3, 0.5]),
        ({"use": ["geco"], "objective.kappa": {"float": [0.2, 0.3]}}, {}, [0.3]),
        ({"use": ["geco"], "objective.kappa": {"choice": [0.2, 0.5, 0.3]}}, {}, [0.5, 0.3]),
        ("geco", {"config.objective.kappa": 0.3, "space": "geco+lr"}, [0.3]),
        ("geco-vs-annealing", {}, []),
    ],
    ids=str,
)
def test_every_kappa_that_is_slack_is_told(space, paths, told, plan):
    made = plan(**{"space": space, **paths})
    limit = made.facts.kappa_max["re"]
    assert [note for note in made.notes if "constraint is slack" in note] == [SLACK.format(k, limit) for k in told]


@pytest.mark.parametrize("space", ["geco-vs-annealing+lr", "clr", "batch-size+one-cycle"])
@pytest.mark.parametrize("trials", [3, 20, 77, 200])
def test_the_grid_of_the_settled_trials_is_the_grid_that_was_planned(space, trials, plan):
    made = plan(space, **{"search.sampler": "grid", "search.trials": trials})
    default = made.space.default(unflatten(made.base))
    grids = [Sampling("grid", 0, n, False, default).grid(made.space) for n in (trials, made.spec.search.trials)]
    assert grids[0].assignments(trials, 0) == grids[1].assignments(made.spec.search.trials, 0)


@pytest.mark.parametrize(
    ("space", "paths", "message"),
    [
        (
            "geco",
            {"config.beta.kind": "linear"},
            "config: beta.kind = linear is never used: no trial of the space geco has it; leave it out, or choose "
            "another space",
        ),
        (
            "clr",
            {"config.lr.pct_start": 0.2},
            "config: lr.pct_start = 0.2 is never used: no trial of the space clr has it; leave it out, or choose "
            "another space",
        ),
        ("lr", {"search.metric": "val/kl,val/kl"}, "search.metric: [val/kl, val/kl]: give 1 to 3 metrics, each once"),
        (
            "lr",
            {"search.metric": "val/kl,val/mse,val/elbo,val/recon_nll"},
            "search.metric: [val/kl, val/mse, val/elbo, val/recon_nll]: give 1 to 3 metrics, each once",
        ),
        (
            "lr",
            {"search.metric": "val/kl,val/mes"},
            "search.metric: 'val/mes' cannot be optimised; did you mean `val/mse`?",
        ),
        (
            "lr",
            {"search.metric": "val/kl,test/mse"},
            "search.metric: test/mse: test data must not select; use a val/ metric such as val/elbo",
        ),
        (
            "lr",
            {"search.metric": "val/kl,val/elbo_cal", **BITS},
            "search.metric: val/elbo_cal needs a Gaussian likelihood, this sweep's is Bernoulli; use val/elbo",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(space, paths, message, plan):
    with pytest.raises(UserError) as error:
        plan(space, **paths)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("space", "path", "value"),
    [("geco-vs-annealing", "beta.steepness", 3.0), ("geco-vs-annealing", "objective.constraint", "re")],
)
def test_what_only_some_branches_have_may_be_fixed(space, path, value, plan):
    if path == "beta.steepness":
        space = {"use": [space], "beta.kind": {"choice": ["linear", "sigmoid"], "when": {"objective.kind": "elbo"}}}
    assert plan(space, **{f"config.{path}": value}).base[path] == value


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_a_grace_that_leaves_nothing_to_compare_is_told(kind, plan):
    (note,) = [note for note in plan(**{"scheduler.kind": kind, "scheduler.grace": 20}).notes if "grace" in note]
    assert note == "a grace of 20 leaves no comparison before the last of 20 epochs: nothing is pruned"


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median", "none"])
def test_a_grace_beyond_the_budget_is_refused_whatever_prunes(kind, plan):
    with pytest.raises(UserError, match=r"scheduler\.grace: 100 is beyond the 20 epochs"):
        plan(**{"scheduler.kind": kind, "scheduler.grace": 100})


def test_more_cores_than_there_are_are_refused(plan):
    with pytest.raises(UserError, match=r"resources\.cpus_per_trial: 1000 is not allowed; allowed: at most \d+"):
        plan(**{"resources.cpus_per_trial": 1000})


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("val/mse,", r"search\.metric: '' cannot be optimised"),
        ([], r"search\.metric: \[\]: give 1 to 3 metrics"),
        ("val/msee", r"search\.metric: 'val/msee' cannot be optimised; did you mean `val/mse`\?"),
        ("train/kl", r"search\.metric: train/kl is not measured on validation data"),
        *(
            (metrics, rf"search\.metric: {name} is estimated from N examples .*use val/agg_kl_gauss")
            for name in SATURATING
            for metrics in (name, f"val/elbo,{name}")
        ),
    ],
)
def test_a_metric_that_cannot_be_searched_by_is_named(metric, message, plan):
    with pytest.raises(UserError, match=message):
        plan(**{"search.metric": metric})


def test_a_likelihood_of_gray_values_is_refused_by_the_name_of_the_metric(plan):
    with pytest.raises(UserError, match=r"search\.metric: val/nll needs bits, and data\.binarize soft keeps gray"):
        plan("lr", **{"search.metric": "val/nll", "config.data.binarize": "soft"})


@pytest.mark.parametrize(("kind", "prunes"), [("asha", True), ("median", True), ("none", False)])
def test_the_plan_says_what_nsga2_is_blind_to(kind, prunes, plan):
    notes = plan("lr", **{"search.sampler": "nsga2", "scheduler.kind": kind}).notes
    (found,) = [note for note in notes if note.startswith("nsga2 learns from completed trials alone")]
    assert found.endswith(f": under {kind} it may stay random search; use tpe, or --scheduler none") == prunes


def test_one_earlier_sweep_needs_no_list():
    assert parse_spec({"search": {"warm_start": "earlier"}}).search.warm_start == ("earlier",)


@pytest.mark.parametrize(
    ("space", "kind", "said"),
    [
        ("clr", "asha", "under lr.kind clr trials are compared at the end of their last complete cycle"),
        ("annealing", "median", "under beta.kind cyclical trials are compared"),
        ("cyclical+clr", "hyperband", "under beta.kind cyclical, lr.kind clr trials are compared"),
        ("one-cycle", "asha", "under lr.kind one-cycle trials go on until their learning rate has passed its peak"),
        ("linear", "asha", None),
        ("clr", "none", None),
    ],
)
def test_a_plan_says_at_which_epochs_trials_are_compared(space, kind, said, plan):
    notes = [note for note in plan(space, **{"scheduler.kind": kind}).notes if note.startswith("under ")]
    assert len(notes) == (said is not None)
    assert said is None or notes[0].startswith(said)
