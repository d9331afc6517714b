"""Laws of every likelihood there is."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import distributions as td

from trainables.config import DataConfig
from trainables.config.paths import parse_config
from trainables.data.dataset import DataFacts
from trainables.likelihoods import LIKELIHOODS, build_likelihood
from trainables.resolve import resolve
from tuner.sweeps.metrics import METRICS

D, B = 6, 5
BITS = DataFacts((D,), 200, 20, 20, 0.0, 1.0, True, {"re": 0.25, "nll": 0.5})
CASES = {"gaussian": {}, "learned": {"learn_sigma": True}, "bernoulli": {}}
CPU = torch.device("cpu")


@pytest.fixture(params=CASES)
def likelihood(request):
    kind = "gaussian" if request.param == "learned" else request.param
    data = {"name": "memory.npy", "likelihood": kind}
    config = parse_config({"data": data, "model": {"sigma": 0.7, **CASES[request.param]}})
    return build_likelihood(resolve(config, BITS))


def terms(likelihood, x, output):
    scales = {name: torch.tensor(value) for name, value in likelihood.scales().items()}
    return likelihood.terms(x, output, likelihood.init(CPU), scales)


def drawn(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(B, D, generator=draw).round(), torch.randn(B, D, generator=draw)


def test_every_kind_of_the_configuration_is_one():
    assert LIKELIHOODS.keys() == {*get_args(DataConfig.model_fields["likelihood"].annotation)} - {"auto"}
    assert all(kind == each.kind for kind, each in LIKELIHOODS.items())
    assert {LIKELIHOODS[kind].kind for kind in LIKELIHOODS} <= CASES.keys()


def test_its_nll_is_torchs(likelihood):
    x, output = drawn()
    p = td.Bernoulli(logits=output) if likelihood.kind == "bernoulli" else td.Normal(likelihood.mean(output), 0.7)
    nll, sse = terms(likelihood, x, output)
    torch.testing.assert_close(nll, -p.log_prob(x).sum(1))
    torch.testing.assert_close(sse, (x - p.mean).square().sum(1))


def test_many_draws_of_a_batch_cost_what_each_costs_alone(likelihood):
    (x, first), (_, second) = drawn(), drawn(1)
    together = terms(likelihood, x, torch.stack([first, second]))
    alone = [torch.stack(pair) for pair in zip(terms(likelihood, x, first), terms(likelihood, x, second), strict=True)]
    torch.testing.assert_close(list(together), alone)


def test_what_it_learns_is_named_for_it_and_gets_a_gradient(likelihood):
    params = {name: value.requires_grad_() for name, value in likelihood.init(CPU).items()}
    x, output = drawn()
    nll, _ = likelihood.terms(x, output, params, {name: torch.tensor(v) for name, v in likelihood.scales().items()})
    assert all(name.startswith("likelihood.") for name in params)
    if params:
        assert all(value.any() for value in torch.autograd.grad(nll.sum(), list(params.values())))


def test_it_is_ranked_by_a_metric_and_bounded_by_a_constraint_that_there_are(likelihood):
    assert likelihood.metric in METRICS
    assert set(likelihood.constraints) <= {"re", "nll"}
    assert "re" in likelihood.constraints


def test_the_mean_image_of_bits_costs_what_their_smoothed_frequencies_do():
    x = torch.tensor(np.random.default_rng(0).integers(0, 2, (50, D)), dtype=torch.float32)
    frequency = (x.sum(0) + 1) / 52
    cost = LIKELIHOODS["bernoulli"]().mean_image_nll(x, x.mean(0), 50)
    torch.testing.assert_close(cost, -td.Bernoulli(frequency).log_prob(x).sum(1))
