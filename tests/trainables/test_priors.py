"""Laws of every prior there is."""

import pytest
import torch
from torch import distributions as td

from trainables.config.paths import parse_config, variants
from trainables.models import build_prior

M = 3


@pytest.fixture(params=variants("model"))
def prior(request):
    return build_prior(parse_config({"model": {"kind": request.param}}).model)


@pytest.fixture
def posterior():
    draw = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, M, generator=draw, dtype=torch.float64)
    return mean, log_variance


def test_the_kl_is_the_mean_of_the_log_ratio(prior, posterior):
    mean, log_variance = posterior
    noise = torch.randn(400_000, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ratio = prior.log_ratio(mean + (0.5 * log_variance).exp() * noise, mean, log_variance)
    assert ratio.mean().item() == pytest.approx(prior.kl(mean, log_variance).sum().item(), abs=0.02)


def test_the_kl_of_uncorrelated_moments_is_that_of_the_latents(prior, posterior):
    mean, log_variance = posterior
    covariance = log_variance.exp().diag()
    torch.testing.assert_close(prior.kl_of_moments(mean, covariance), prior.kl(mean, log_variance).sum())


def test_its_draws_have_its_density(prior):
    """E_p[f/p] is the area of a box, here the one on which f is 1."""
    z = prior.sample((400_000, 1), torch.Generator().manual_seed(0)).double()
    inside = (z.abs() < 0.5).all(1)
    weights = torch.where(inside, (-prior.log_density(z)).exp(), 0.0)
    assert weights.mean().item() == pytest.approx(1.0, abs=0.01)


def test_one_seed_gives_the_same_draws(prior):
    one, again, other = (prior.sample((4, M), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(other)


def test_the_standard_normal_is_torchs(posterior):
    prior = build_prior(parse_config({}).model)
    z, _ = posterior
    torch.testing.assert_close(prior.log_density(z), td.Normal(0.0, 1.0).log_prob(z).sum())
