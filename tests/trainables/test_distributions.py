import math

import pytest
import torch
from torch import distributions as td

from trainables import distributions

N, M = 5, 3


@pytest.fixture
def draws():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def normal(mean, log_variance):
    return td.Independent(td.Normal(mean, (0.5 * log_variance).exp()), 1)


def test_kl_to_standard_normal_is_torchs(draws):
    mean, log_variance = draws(N, M), draws(N, M)
    expected = td.kl_divergence(td.Normal(mean, (0.5 * log_variance).exp()), td.Normal(0.0, 1.0))
    torch.testing.assert_close(distributions.kl_to_standard_normal(mean, log_variance), expected)


def test_log_normal_is_torchs(draws):
    z, mean, log_variance = draws(N, M), draws(N, M), draws(N, M)
    torch.testing.assert_close(distributions.log_normal(z, mean, log_variance), normal(mean, log_variance).log_prob(z))


def test_log_normal_pairs_is_log_normal_of_every_pair(draws):
    z, mean, log_variance = draws(4, M), draws(N, M), draws(N, M)
    expected = distributions.log_normal(z[:, None], mean, log_variance)
    torch.testing.assert_close(distributions.log_normal_pairs(z, mean, log_variance), expected)


def test_gaussian_nll_is_torchs(draws):
    x, mean, sigma = draws(N, M), draws(N, M), torch.tensor(0.3, dtype=torch.float64)
    expected = -td.Independent(td.Normal(mean, sigma), 1).log_prob(x)
    found = distributions.gaussian_nll(distributions.squared_error(x, mean), sigma, M)
    torch.testing.assert_close(found, expected)


def test_bernoulli_nll_is_torchs(draws):
    x, logits = (draws(N, M) > 0).double(), draws(N, M)
    expected = -td.Independent(td.Bernoulli(logits=logits), 1).log_prob(x)
    torch.testing.assert_close(distributions.bernoulli_nll(x, logits), expected)


def test_bernoulli_nll_of_extreme_logits_is_finite():
    logits = torch.tensor([[1e4, -1e4]])
    assert distributions.bernoulli_nll(torch.tensor([[1.0, 0.0]]), logits).item() == 0
    assert distributions.bernoulli_nll(torch.tensor([[0.0, 1.0]]), logits).item() == 2e4


def test_kl_full_gaussian_is_torchs(draws):
    mean, root = draws(M), draws(M, M)
    covariance = root @ root.T + torch.eye(M, dtype=torch.float64)
    standard = td.MultivariateNormal(torch.zeros(M, dtype=torch.float64), torch.eye(M, dtype=torch.float64))
    expected = td.kl_divergence(td.MultivariateNormal(mean, covariance), standard)
    torch.testing.assert_close(distributions.kl_full_gaussian(mean, covariance), expected)


def test_reparameterised_noise_has_the_posteriors_density(draws):
    mean, log_variance, noise = draws(N, M), draws(N, M), draws(N, M)
    z = distributions.reparameterise(mean, log_variance, noise)
    expected = -0.5 * (noise.square() + math.log(2 * math.pi) + log_variance).sum(-1)
    torch.testing.assert_close(normal(mean, log_variance).log_prob(z), expected)
