import itertools

import pytest

from trainables.config import DEFAULT_KIND
from trainables.data import DataFacts
from trainables.errors import ConfigError
from trainables.paths import flatten, parse_config, plain, variants
from trainables.resolve import notes, output_of, resolve, steps_per_epoch


def facts(n_train=100, low=0.0, high=1.0, bits=False, kappa_max=None):
    return DataFacts((4, 4), n_train, 20, 20, low, high, bits, kappa_max or {"re": 0.25, "nll": 0.5})


GRAY, BITS, REAL = facts(), facts(bits=True), facts(low=-3, high=3, kappa_max={"re": 1.5})


def resolved(tree=None, given=GRAY, **options):
    return resolve(parse_config({"batch_size": 10, **(tree or {})}), given, **options)


@pytest.mark.parametrize("given", [GRAY, BITS, REAL], ids=["gray", "bits", "real"])
def test_no_auto_is_left_and_resolving_again_changes_nothing(given):
    trees = [{family: {"kind": kind}} for family in DEFAULT_KIND for kind in variants(family)]
    pairs = itertools.product(variants("model"), variants("objective"))
    trees += [{"model": {"kind": model}, "objective": {"kind": objective}} for model, objective in pairs]
    for tree in trees:
        if given is BITS and tree.get("beta") == {"kind": "gqn"}:
            continue
        once = resolved(tree, given)
        leaves = flatten(plain(once))
        assert "auto" not in leaves.values()
        assert resolve(once, given) == once
        assert resolve(parse_config(plain(once)), given) == once


@pytest.mark.parametrize(
    ("given", "binarize", "likelihood"),
    [
        (GRAY, "none", "gaussian"),
        (REAL, "none", "gaussian"),
        (BITS, "none", "bernoulli"),
        (GRAY, "dynamic", "bernoulli"),
        (GRAY, "fixed", "bernoulli"),
        (GRAY, "soft", "bernoulli"),
    ],
)
def test_the_likelihood_is_bernoulli_where_the_data_are_bits(given, binarize, likelihood):
    assert resolved({"data": {"binarize": binarize}}, given).data.likelihood == likelihood


def test_sigma_is_six_tenths_of_what_the_mean_image_reaches_and_none_for_bits():
    assert resolved().model.sigma == pytest.approx(0.6 * 0.25)
    assert resolved({"model": {"sigma": 0.3}}).model.sigma == 0.3
    assert resolved(given=BITS).model.sigma is None
    assert resolved({"model": {"sigma": 0.3}}, BITS).model.sigma is None


def test_a_learned_sigma_starts_at_a_number():
    model = resolved({"model": {"learn_sigma": True}}).model
    assert (model.learn_sigma, model.sigma) == (True, pytest.approx(0.6 * 0.25))


def test_kappa_is_six_tenths_of_what_the_mean_image_reaches_under_its_constraint():
    geco = {"objective": {"kind": "geco"}}
    under_re, under_nll = resolved(geco).objective, resolved(geco, BITS).objective
    assert (under_re.constraint, under_re.kappa) == ("re", pytest.approx(0.6 * 0.25))
    assert (under_nll.constraint, under_nll.kappa) == ("nll", pytest.approx(0.6 * 0.5))
    assert resolved({"objective": {"kind": "geco", "kappa": 0.1}}).objective.kappa == 0.1


def test_the_decoder_ends_in_a_sigmoid_where_the_data_lie_in_0_to_1():
    assert resolved().model.output == "sigmoid"
    assert resolved(given=REAL).model.output == "identity"
    assert resolved({"model": {"output": "identity"}}).model.output == "identity"
    assert output_of(resolved({"model": {"kind": "linear-vae"}})) == "identity"
    assert output_of(resolved({"model": {"kind": "linear-vae"}}, BITS)) == "sigmoid"
    assert output_of(resolved({"model": {"output": "identity"}}, BITS)) == "sigmoid"


def test_device_threads_and_examples_are_those_at_hand():
    config = resolved(device="cuda:0", threads=3)
    assert (config.device, config.threads, config.data.n_train) == ("cuda:0", 3, 100)
    config = resolved({"device": "cpu", "threads": 2}, device="cuda:0", threads=3)
    assert (config.device, config.threads) == ("cpu", 2)


def test_a_ragged_last_batch_is_no_step():
    assert [steps_per_epoch(n, 10) for n in (10, 19, 20)] == [1, 1, 2]


def test_durations_may_use_the_whole_budget():
    for warmup in (1.0, "100 steps"):
        resolved({"beta": {"kind": "linear", "warmup": warmup}, "epochs": 10})


@pytest.mark.parametrize(
    ("tree", "given", "message"),
    [
        (
            {"batch_size": 101},
            GRAY,
            "batch_size: 101 is more than the 100 training examples; allowed: 1 to 100",
        ),
        (
            {"data": {"likelihood": "bernoulli"}},
            REAL,
            "data.likelihood: bernoulli needs values in [0, 1], the data span [-3, 3]; rescale them or use gaussian",
        ),
        (
            {"data": {"binarize": "dynamic"}},
            REAL,
            "data.likelihood: bernoulli needs values in [0, 1], the data span [-3, 3]; rescale them or use gaussian",
        ),
        (
            {"data": {"likelihood": "bernoulli"}},
            GRAY,
            "data.likelihood: bernoulli describes bits and the data are gray; set data.binarize to dynamic or fixed, "
            "or to soft to fit gray values on purpose",
        ),
        (
            {"objective": {"kind": "geco", "constraint": "nll"}},
            GRAY,
            "objective.constraint: nll needs the Bernoulli likelihood; use re under a Gaussian one",
        ),
        (
            {"model": {"learn_sigma": True}},
            BITS,
            "model.learn_sigma: the Bernoulli likelihood has no sigma to learn; set it to false",
        ),
        (
            {"model": {"learn_sigma": True}, "data": {"binarize": "dynamic"}},
            GRAY,
            "model.learn_sigma: the Bernoulli likelihood has no sigma to learn; set it to false",
        ),
        (
            {"model": {"learn_sigma": True, "sigma": 0.0039}},
            GRAY,
            "model.sigma: 0.0039 is not above 1/256, below which a learned sigma cannot go; raise it or set "
            "model.learn_sigma to false",
        ),
        (
            {"beta": {"kind": "gqn"}},
            BITS,
            "beta.kind: gqn anneals sigma, which the Bernoulli likelihood does not have; allowed: any other kind",
        ),
        (
            {},
            facts(kappa_max={"re": 0.0}),
            "model.sigma: auto needs data that vary, and all training examples are equal",
        ),
        (
            {"beta": {"kind": "linear", "warmup": "101 steps"}},
            GRAY,
            "beta.warmup: 101 steps is beyond the budget of 100 steps (10 epochs); allowed: at most 100 steps",
        ),
        (
            {"beta": {"kind": "cyclical", "period": "101 steps"}},
            GRAY,
            "beta.period: 101 steps is beyond the budget of 100 steps (10 epochs); allowed: at most 100 steps",
        ),
        (
            {"lr": {"warmup": "101 steps"}},
            GRAY,
            "lr.warmup: 101 steps is beyond the budget of 100 steps (10 epochs); allowed: at most 100 steps",
        ),
        (
            {"lr": {"kind": "clr", "step_size": "101 steps"}},
            GRAY,
            "lr.step_size: 101 steps is beyond the budget of 100 steps (10 epochs); allowed: at most 100 steps",
        ),
        (
            {"lr": {"kind": "clr", "step_size": 0}},
            GRAY,
            "lr.step_size: 0.0 is less than one of the 100 steps of the budget; make it longer",
        ),
        (
            {"beta": {"kind": "cyclical", "period": 0.001}},
            GRAY,
            "beta.period: 0.001 is less than one of the 100 steps of the budget; make it longer",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused(tree, given, message):
    with pytest.raises(ConfigError) as error:
        resolved({"epochs": 10, **tree}, given)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("tree", "given", "expected"),
    [
        ({}, GRAY, []),
        ({"objective": {"kind": "geco", "kappa": 0.2}}, GRAY, []),
        (
            {"objective": {"kind": "geco", "kappa": 0.3}},
            GRAY,
            [
                "objective.kappa 0.3 is not below 0.25, what the mean image reaches: the constraint is slack and the "
                "KL falls to 0"
            ],
        ),
        (
            {"objective": {"kind": "geco", "kappa": 0.2, "constraint": "re"}},
            BITS,
            [
                "objective.constraint re under a Bernoulli likelihood: the result is not comparable with trials that "
                "maximise the Bernoulli likelihood"
            ],
        ),
        (
            {"data": {"binarize": "soft"}},
            GRAY,
            ["data.binarize soft: gray values under a Bernoulli likelihood are never ranked with bits"],
        ),
    ],
)
def test_what_a_user_should_know_of_an_allowed_configuration(tree, given, expected):
    assert notes(resolved(tree, given), given) == expected
