import pytest

from search_spaces.space import Space, assemble
from trainables.config import method_of
from trainables.config.paths import parse_config, unflatten
from tuner.comparison.design import LEVELS, Design, Trained
from tuner.comparison.hit_rate import answer_target
from tuner.comparison.kinds import METHODS
from tuner.comparison.methods import Scale, free_paths
from tuner.comparison.tuning_cost import answer_quality

BITS = Scale(0.26, None, 784)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_varies_its_methods_dials_and_the_learning_rate_alone(design, method):
    runs = design(method, pool=50).pools()
    assert len(runs) == 50
    for run in runs:
        config = parse_config(assemble({"data.name": "mnist"}, Space("", {}, {}), run.full))
        assert method_of(config) == method
    varying = {path for path in runs[0].full if len({str(run.full.get(path)) for run in runs}) > 1}
    assert varying == {*free_paths(method), "lr.base"}


@pytest.mark.parametrize("method", [method for method in METHODS if method != "gqn"])
def test_pools_of_bits_parse_too(method):
    for run in Design({}, (method,), BITS, rates=(1e-3,), pool=5).pools():
        tree = unflatten({"data.name": "mnist", "data.binarize": "dynamic", **run.full})
        assert method_of(parse_config(tree)) == method


@pytest.mark.parametrize("sigma", [0.15, None])
def test_the_levels_span_what_gecos_pool_draws_from(design, sigma):
    of = design("geco", sigma=sigma, pool=200)
    drawn = [run.full["objective.kappa"] for run in of.pools()]
    assert min(of.kappas) <= min(drawn) <= 1.03 * min(of.kappas)
    assert max(of.kappas) / 1.03 <= max(drawn) <= max(of.kappas)
    assert of.target in of.kappas


def test_the_same_seed_draws_the_same_pool(design):
    assert design("linear", pool=8).pools() == design("linear", pool=8).pools()
    assert design("linear", pool=8).pools() != design("linear", pool=8, seed=1).pools()


def test_the_answer_has_a_curve_and_all_ends_of_every_method(design, drawn):
    of = design("geco", "linear", pool=24)
    found = answer_quality(drawn(effects={"linear": 2.0}).train(of.pools()), "val/elbo_cal")
    assert [answer.method for answer in found] == ["geco", "linear"]
    geco, linear = found
    assert [each.n for each in geco.expected] == list(range(1, 21))
    assert linear.expected[-1].mean < geco.expected[-1].mean
    assert geco.shares == {"ok": 1.0}
    assert geco.spread[0] <= geco.spread[1] <= geco.spread[2]


def test_what_diverged_counts_as_the_worst_and_is_told(design, drawn):
    trained = drawn().train(design("linear", pool=10).pools())
    lost = [type(trained[0])(trained[0].run, "diverged", None, {}), *trained[1:]]
    whole, partly = answer_quality(trained, "val/elbo_cal")[0], answer_quality(lost, "val/elbo_cal")[0]
    assert partly.shares == {"ok": 0.9, "diverged": 0.1}
    assert partly.expected[0].mean <= whole.expected[0].mean


def test_pools_in_which_nothing_trained_to_its_end_have_no_answer(design, drawn):
    trained = drawn().train(design("geco", "linear", pool=10).pools())
    assert answer_quality([type(each)(each.run, "diverged", None, {}) for each in trained], "val/elbo_cal") == []


LAMBDA, KL = 1.5, 10.0


def on_the_frontier(runs, share, above=0.0):
    """Runs that end at this share of κ*, on one frontier of slope −λ, or some nats above it."""
    kappa = LEVELS[2] * 0.25
    kl = KL - LAMBDA * 784 * ((share * kappa) ** 2 - kappa**2) + above
    return [
        Trained(run, "completed", "ok", {"train_eval/mse": (share * kappa) ** 2}, LAMBDA, {"test/kl": kl})
        for run in runs
    ]


@pytest.mark.parametrize(
    ("share", "above", "hit"),
    [
        (1.0, 0.0, True),
        (1.018, 0.0, True),
        (0.982, 0.0, True),
        (1.022, 0.0, False),
        (1.0, 0.4, True),
        (1.01, 0.6, False),
    ],
)
def test_a_target_is_hit_within_two_percent_of_it_and_half_a_nat_of_the_frontier(design, share, above, hit):
    """Wherever within the two percent: where KL is dear, they are worth more than half a nat."""
    of = design("geco", "linear", pool=5)
    rivals = [run for run in of.pools() if run.method == "linear"]
    answer = answer_target(of, on_the_frontier(of.targets(), 1.0), on_the_frontier(rivals, share, above))
    assert answer.kappa == pytest.approx(LEVELS[2] * 0.25)
    assert answer.best_kl == pytest.approx(KL)
    assert answer.hits == {"geco": (5, 5), "linear": (5 * hit, 5)}
    assert answer.chance["linear"] == [float(hit)] * 5
