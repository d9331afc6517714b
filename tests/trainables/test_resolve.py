import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.config import DEFAULT_KIND
from trainables.config.paths import flatten, parse_config, plain, variants
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.likelihoods import build_likelihood
from trainables.objectives import geco_notes, updates_to_settle
from trainables.resolve import (
    DURATIONS,
    identity,
    notes,
    resolve,
)
from trainables.values import steps_per_epoch


def facts(n_train=100, low=0.0, high=1.0, bits=False, kappa_max=None):
    return DataFacts((4, 4), n_train, 20, 20, low, high, bits, kappa_max or {"re": 0.25, "nll": 0.5})


GRAY, BITS, REAL = facts(), facts(bits=True), facts(low=-3, high=3, kappa_max={"re": 1.5})
NOISY = replace(BITS, pixel_noise=0.1365)


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


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_learning_rate_follows_the_root_of_the_batch_size_as_it_was_measured(kind):
    assert resolved({"optimizer": {"kind": kind}}).lr.scaling == "sqrt"


@pytest.mark.parametrize("scaling", ["linear", "sqrt", "none"])
@pytest.mark.parametrize("kind", variants("optimizer"))
def test_a_written_rule_stays_under_every_optimiser(kind, scaling):
    config = resolved({"optimizer": {"kind": kind}, "lr": {"scaling": scaling}})
    assert config.lr.scaling == scaling


def test_the_schedule_is_the_same_before_and_after_the_rule_is_settled():
    config = parse_config({"batch_size": 128})
    settled = resolve(config, facts(n_train=200))
    assert (config.lr.scaling, settled.lr.scaling) == ("auto", "sqrt")
    said = "learning rate 0.012 = lr.base 0.006 × 2 (square-root scaling, batch 128 over base batch 32)"
    assert config.lr.rate_in_use(128) == settled.lr.rate_in_use(128) == said
    assert settled.lr.rate_in_use(32) is None


def test_sigma_is_six_tenths_of_what_the_mean_image_reaches_and_none_for_bits():
    assert resolved().model.sigma == pytest.approx(0.6 * 0.25)
    assert resolved({"model": {"sigma": 0.3}}).model.sigma == 0.3
    assert resolved(given=BITS).model.sigma is None
    assert resolved({"model": {"sigma": 0.3}}, BITS).model.sigma is None


def test_a_learned_sigma_starts_at_a_number():
    model = resolved({"model": {"learn_sigma": True}}).model
    assert (model.learn_sigma, model.sigma) == (True, pytest.approx(0.6 * 0.25))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.58, 0.7, 0.9, 0.94, 1.5])
@pytest.mark.parametrize(("given", "constraint"), [(GRAY, "re"), (BITS, "nll")], ids=["gray", "bits"])
def test_kappa_auto_is_within_reach_and_constrains_something(given, constraint, share):
    limit = given.kappa_max[constraint]
    reached = replace(given, kappa_min={"re": share * given.kappa_max["re"], constraint: share * limit})
    kappa = resolved({"objective": {"kind": "geco"}}, reached).objective.kappa
    assert 0.6 * limit <= kappa <= 0.95 * limit
    assert kappa == pytest.approx(min(max(0.6, 1.05 * share), 0.95) * limit)
    assert resolved({"objective": {"kind": "geco", "kappa": 0.1}}, reached).objective.kappa == 0.1


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
    assert mean_of_0({"model": {"kind": "linear-vae"}}) == 0
    assert mean_of_0({"model": {"kind": "linear-vae"}}, BITS) == 0.5
    assert mean_of_0({"model": {"output": "identity"}}, BITS) == 0.5
    assert mean_of_0({}) == 0.5


def mean_of_0(tree, given=GRAY):
    """What a decoder's output of 0 stands for."""
    return build_likelihood(resolved(tree, given)).mean(torch.tensor(0.0)).item()


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
        ({"model": {"sigma": 2.5}}, GRAY, []),
        ({"model": {"sigma": 2.6}, "objective": {"kind": "geco", "kappa": 0.2}}, GRAY, []),
        (
            {"model": {"sigma": 2.6}},
            GRAY,
            [
                "model.sigma 2.6 is far above 0.25, the RMS error of the mean image: reconstruction hardly counts and "
                "the KL falls to 0; set it to auto, which is 0.15"
            ],
        ),
        (
            {"objective": {"kind": "geco", "constraint": "re"}},
            NOISY,
            [
                "objective.constraint re under a Bernoulli likelihood: the result is not comparable with trials that "
                "maximise the Bernoulli likelihood",
                "the pixel noise of the bits has an RMS of 0.1365: no smaller κ can be kept to",
            ],
        ),
        (
            {"objective": {"kind": "geco", "constraint": "re", "kappa": 0.13}},
            NOISY,
            [
                "objective.constraint re under a Bernoulli likelihood: the result is not comparable with trials that "
                "maximise the Bernoulli likelihood",
                "objective.kappa 0.13 is out of reach: the pixel noise of the bits has an RMS of 0.1365: no smaller κ "
                "can be kept to; raise it",
            ],
        ),
        ({"objective": {"kind": "geco"}}, NOISY, []),
        (
            {"data": {"binarize": "soft"}},
            GRAY,
            ["data.binarize soft: gray values under a Bernoulli likelihood are never ranked with bits"],
        ),
    ],
)
def test_what_a_user_should_know_of_an_allowed_configuration(tree, given, expected):
    assert notes(resolved(tree, given), given) == expected


WITH_LENGTHS = [
    (family, kind, path)
    for family in ("beta", "lr")
    for kind in variants(family)
    for path in flatten(parse_config({family: {"kind": kind}}).model_dump(include={family}))
    if path in DURATIONS
]


@pytest.mark.parametrize(("family", "kind", "path"), WITH_LENGTHS, ids=str)
def test_a_length_in_steps_and_its_fraction_are_one_configuration_and_one_schedule(family, kind, path):
    """100 examples in batches of 10 for 40 epochs: 400 steps."""

    def config(length):
        return resolved({family: {"kind": kind, path.partition(".")[2]: length}})

    def schedules(config):
        steps = np.arange(400.0)
        return [config.beta.at(steps, 400), config.lr.at(steps, 400, config.batch_size)]

    for one, other, same in ((0.25, "100 steps", True), (0.25, "101 steps", False), (0.25, 0.26, False)):
        assert (identity(config(one)) == identity(config(other))) is same
        assert all(map(np.array_equal, schedules(config(one)), schedules(config(other)))) is same


def test_configurations_that_train_alike_are_one():
    """A warm-up has whole steps; what is measured on the data may be written out."""
    linear = [resolved({"beta": {"kind": "linear", "warmup": warmup}}) for warmup in (0.25, 0.2501, 0.252)]
    assert identity(linear[0]) == identity(linear[1]) != identity(linear[2])
    automatic, written = (resolved({"model": {"sigma": sigma}}) for sigma in ("auto", 0.6 * 0.25))
    assert identity(automatic) == identity(written) != identity(resolved({"model": {"sigma": 0.1}}))
    assert identity(automatic) != identity(resolved({"seed": 1}))


def test_rules_for_batch_sizes_are_one_configuration_where_they_scale_alike():
    def config(scaling, base_batch_size):
        return identity(resolved({"lr": {"scaling": scaling, "base_batch_size": base_batch_size}}))

    assert config("linear", 10) == config("sqrt", 10) == config("none", 10) == config("none", 40)
    assert config("linear", 20) == config("sqrt", 40) != config("linear", 40)


@pytest.mark.parametrize(
    ("batch_size", "needed"), [(4, 2829), (8, 2000), (16, 1415), (32, 1000), (128, 1000), (1000, 1000)]
)
def test_the_updates_that_geco_needs_grow_as_batches_get_small(batch_size, needed):
    assert updates_to_settle(parse_config({"batch_size": batch_size})) == needed
    doubled = updates_to_settle(parse_config({"batch_size": batch_size, "optimizer": {"kind": "sgd"}}))
    assert doubled == pytest.approx(2 * needed, abs=1)


def test_a_budget_too_short_for_geco_is_told_with_what_to_raise():
    given = facts(n_train=1_000)
    config = resolved({"objective": {"kind": "geco"}, "epochs": 10, "batch_size": 32}, given)
    assert geco_notes(config, given) == [
        "objective.kind geco: 310 updates (10 epochs of 31 steps at batch_size 32) are fewer than the 1,000 that "
        "λ takes to settle: expect the outcome unmet; set epochs to 33, or lower batch_size"
    ]
    assert geco_notes(config.model_copy(update={"epochs": 33}), given) == []
    assert geco_notes(config.model_copy(update={"epochs": 32}), given) != []
