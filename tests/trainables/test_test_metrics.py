import math

import pytest
import torch

from trainables import metrics
from trainables.training.test_metrics import held_out_metrics, held_out_nll


@pytest.fixture
def trained(in_memory, trial, finish, gaussian):
    trainer = trial(in_memory(gaussian([4, 2, 0.5], 600)), model={"kind": "linear-vae", "latent_dim": 2}, epochs=3)
    finish(trainer)
    return trainer


def test_one_draw_is_the_final_report_of_a_trial(trained):
    found = held_out_metrics(trained, draws=1)
    for name, value in trained.test_metrics().items():
        assert found[name] == pytest.approx(value, rel=1e-6)


def test_the_draws_are_averaged_and_the_kl_needs_none(trained):
    found, single = held_out_metrics(trained, draws=8), held_out_metrics(trained, draws=1)
    passes = [trained.evaluation("test", sample) for sample in range(8)]
    assert found["test/recon_nll"] == pytest.approx(sum(each.recon_nll.mean().item() for each in passes) / 8, rel=1e-6)
    assert found["test/recon_nll"] != single["test/recon_nll"]
    assert found["test/kl"] == pytest.approx(single["test/kl"], rel=1e-9)


def test_all_models_of_a_split_get_the_same_noise(trained, in_memory, trial, gaussian):
    other = trial(in_memory(gaussian([4, 2, 0.5], 600)), model={"kind": "linear-vae", "latent_dim": 2}, seed=5)
    for sample in (0, 3):
        one, two = (each.evaluation("test", sample) for each in (trained, other))
        noise = [(e.z - e.mean) / (0.5 * e.log_variance).exp() for e in (one, two)]
        assert torch.allclose(*noise, atol=1e-4)


def test_the_nll_is_that_of_a_trial_and_says_how_it_was_taken(trained):
    found, estimate = held_out_nll(trained, samples=20), trained.importance_nll("test", 20)
    assert found["test/nll"] == pytest.approx(estimate.nll.mean().item(), rel=1e-9)
    assert found["test/nll_bias"] == pytest.approx(estimate.bias.mean().item(), rel=1e-6)
    assert found["test/nll_drop"] == pytest.approx(estimate.drop.mean().item(), rel=1e-6)
    assert (found["test/nll_samples"], found["test/nll_examples"]) == (20, len(trained.dataset.test))


def test_another_sigma_is_that_of_a_model_that_has_it(trained, in_memory, trial, gaussian):
    model = {"kind": "linear-vae", "latent_dim": 2, "sigma": 0.7}
    other = trial(in_memory(gaussian([4, 2, 0.5], 600)), model=model, epochs=3)
    other.flat = trained.flat
    at_sigma = held_out_nll(trained, samples=20, sigma=0.7)
    assert at_sigma.pop("test/nll_sigma") == 0.7
    assert at_sigma == pytest.approx(held_out_nll(other, samples=20))
    assert at_sigma["test/nll"] != pytest.approx(held_out_nll(trained, samples=20)["test/nll"], rel=0.01)


def test_t5_the_sum_of_the_dimensions_vanishes_where_the_aggregate_is_the_prior():
    draw = torch.Generator().manual_seed(0)
    beta, s = 0.3, torch.tensor([4.0, 2, 1, 0.5])
    mean = torch.randn(20_000, 4, generator=draw) * ((s - beta) / s).sqrt()
    log_variance = (beta / s).log().expand(20_000, 4)
    assert metrics.agg_kl_dims(mean[:2000], log_variance[:2000], draw).item() == pytest.approx(0, abs=0.03)
    assert metrics.agg_c2st(mean, log_variance) == pytest.approx(0.5, abs=0.03)


def test_one_shifted_dimension_is_half_its_square():
    draw = torch.Generator().manual_seed(0)
    mean = torch.randn(4000, 2, generator=draw) * math.sqrt(0.5) + torch.tensor([1.0, 0.0])
    log_variance = torch.full((4000, 2), math.log(0.5))
    assert metrics.agg_kl_dims(mean, log_variance, draw).item() == pytest.approx(0.5, abs=0.05)
    assert metrics.agg_c2st(mean, log_variance) > 0.65


def test_a_classifier_sees_the_hole_that_two_moments_do_not():
    """Posteriors on a sphere of radius √M: mean 0 and covariance I, and nothing where most of the prior is not."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(2000, 2, generator=draw)
    mean = math.sqrt(2) * directions / directions.norm(dim=1, keepdim=True)
    log_variance = torch.full((2000, 2), -8.0)
    assert metrics.agg_kl_gauss(mean, log_variance).item() < 0.02
    assert metrics.agg_c2st(mean, log_variance) > 0.9
