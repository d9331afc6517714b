import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from trainables import distributions, metrics
from trainables.config.paths import parse_config, variants
from trainables.errors import ConfigError
from trainables.likelihoods import Bernoulli, Gaussian, LearnedSigma
from trainables.metrics import importance
from trainables.models import LinearVaeModel, MlpVae
from trainables.models.priors import STANDARD_NORMAL
from trainables.objectives import ElboObjective
from trainables.optimizers import build_optimizer
from trainables.program import Program

ONE = torch.tensor(1.0, dtype=torch.float64)


def at(sigma):
    return {"sigma": sigma}


def program(model, likelihood="gaussian"):
    made = Bernoulli() if likelihood == "bernoulli" else Gaussian(1.0, "identity")
    return Program(model, STANDARD_NORMAL, made, ElboObjective(), build_optimizer(parse_config({})))


def draws(n, latent_dim, dtype=torch.float32):
    """The noise of the k-th sample."""

    def noise(k):
        return torch.randn(n, latent_dim, generator=torch.Generator().manual_seed(k), dtype=dtype)

    return noise


def linear_vae(weight, mean, sigma2):
    """Probabilistic PCA x ~ N(mean, WWᵀ + σ²I) with the best diagonal posterior: the true one where W's columns are
    orthogonal.
    """
    precision = torch.eye(weight.shape[1], dtype=torch.float64) + weight.T @ weight / sigma2
    encoder = torch.linalg.solve(precision, weight.T) / sigma2
    params = {
        "decoder.weight": weight,
        "decoder.bias": mean,
        "encoder.weight": encoder,
        "encoder.bias": -encoder @ mean,
    }
    return LinearVaeModel(*weight.shape), params | {"encoder.log_variance": -precision.diagonal().log()}


@pytest.fixture(scope="module")
def digits():
    """Digits, the linear VAE that sklearn's PCA makes of them, and their log-likelihood under it by sklearn."""
    x = load_digits().data[:400] / 16
    pca = PCA(8).fit(x)
    weight = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    model, params = linear_vae(torch.tensor(weight), torch.tensor(pca.mean_), pca.noise_variance_)
    return program(model), params, torch.tensor(x), at(ONE * math.sqrt(pca.noise_variance_)), pca.score_samples(x)


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_t6_at_the_optimum_of_the_linear_vae_any_k_gives_the_likelihood(samples, digits):
    """sklearn is the oracle; the weights are constant, so that nothing is left of noise and bias."""
    program, params, x, sigma, likelihood = digits
    found = metrics.importance_nll(program, params, x, sigma, samples, draws(len(x), 8, torch.float64))
    np.testing.assert_allclose(found.nll, -likelihood, atol=1e-9)
    assert samples == 1 or found.bias.abs().max() < 1e-12


def test_sums_do_not_lose_digits_over_many_samples(digits, monkeypatch):
    """3,000 equal weights summed one by one: in float32 the same sum is off by more than 1e-6."""
    program, params, x, sigma, likelihood = digits
    monkeypatch.setattr(importance, "DECODED_ELEMENTS", 1)
    some = slice(2)
    found = metrics.importance_nll(program, params, x[some], sigma, 3_000, draws(2, 8, torch.float64))
    np.testing.assert_allclose(found.nll, -likelihood[some], atol=1e-9)
    total = torch.tensor(-math.inf)
    for _ in range(3_000):
        total = total.logaddexp(torch.tensor(float(likelihood[0])))
    assert abs(total.item() - math.log(3_000) - likelihood[0]) > 1e-6


WIDER = 4.0


@pytest.fixture(scope="module")
def wrong_posterior():
    """x ~ N(0, w² + σ²) in one dimension, and a posterior of 4 times the true variance: E, and Var(w/p(x))."""
    weight, sigma2, n = torch.full((1, 1), 1.5, dtype=torch.float64), 0.5, 40_000
    model, params = linear_vae(weight, torch.zeros(1, dtype=torch.float64), sigma2)
    params["encoder.log_variance"] = params["encoder.log_variance"] + math.log(WIDER)
    variance = weight.square().item() + sigma2
    x = math.sqrt(variance) * draws(n, 1, torch.float64)(10_000)
    nll = -distributions.log_normal(x, torch.zeros_like(x), torch.full_like(x, math.log(variance)))
    relative_variance = WIDER / math.sqrt(2 * WIDER - 1) - 1

    def estimate(samples):
        return metrics.importance_nll(
            program(model), params, x, at(ONE * math.sqrt(sigma2)), samples, draws(n, 1, torch.float64)
        )

    return estimate, nll, relative_variance


@pytest.mark.parametrize("samples", [20, 40])
def test_with_a_wrong_posterior_the_error_is_the_variance_of_the_weights_over_2k(samples, wrong_posterior):
    estimate, nll, variance = wrong_posterior
    found = estimate(samples)
    error = found.nll - nll
    noise = error.std().item() / math.sqrt(len(error))
    assert variance / (2 * samples) > 10 * noise
    assert error.mean().item() == pytest.approx(variance / (2 * samples), abs=4 * noise, rel=0.05)
    assert found.bias.mean().item() == pytest.approx(variance / (2 * samples), rel=0.1)


def test_the_estimate_falls_with_k_and_stays_above_the_truth(wrong_posterior):
    estimate, nll, _ = wrong_posterior
    means = [(estimate(samples).nll - nll).mean().item() for samples in (1, 2, 5, 20, 80)]
    assert means == sorted(means, reverse=True)
    assert means[-1] > 0


def test_where_one_sample_carries_the_sum_the_estimated_bias_is_a_half_and_says_no_more(digits):
    """A posterior a hundred times too narrow: true errors of many nats, of which weights that saw none cannot tell."""
    program, params, x, sigma, likelihood = digits
    params = params | {"encoder.log_variance": params["encoder.log_variance"] - 2 * math.log(100)}
    params |= {"encoder.bias": params["encoder.bias"] + 0.5}
    found = metrics.importance_nll(program, params, x, sigma, 100, draws(len(x), 8, torch.float64))
    assert (found.nll + torch.tensor(likelihood) > 5).all()
    assert (found.bias <= 0.5).all()


@pytest.mark.parametrize("samples", [10, 37, 100])
def test_the_drop_is_from_the_mean_over_ten_disjoint_tenths_of_the_samples(samples):
    """As if each tenth had been an estimate of its own, from its own draws."""
    program, params, x = random_mlp("gaussian")
    noise, tenth, sigma = draws(len(x), 3), samples // 10, at(torch.tensor(0.7))
    whole = metrics.importance_nll(program, params, x, sigma, samples, noise)
    parts = [
        metrics.importance_nll(program, params, x, sigma, tenth, lambda k, at=block * tenth: noise(at + k)).nll
        for block in range(10)
    ]
    torch.testing.assert_close(whole.drop, torch.stack(parts).mean(0) - whole.nll, rtol=1e-6, atol=1e-9)


def test_the_drop_is_the_difference_of_the_expected_biases(wrong_posterior):
    """Var(w)/2K: nine times the bias that is left."""
    estimate, _, variance = wrong_posterior
    found = estimate(400)
    assert found.drop.mean().item() == pytest.approx(9 * variance / 800, rel=0.1)


def test_the_drop_tells_of_a_bias_that_the_weights_do_not_see(digits):
    program, params, x, sigma, likelihood = digits
    params = params | {"encoder.log_variance": params["encoder.log_variance"] - 2 * math.log(100)}
    params |= {"encoder.bias": params["encoder.bias"] + 0.5}
    found = metrics.importance_nll(program, params, x, sigma, 100, draws(len(x), 8, torch.float64))
    assert found.drop.mean() > 1.5 * found.bias.mean()
    assert (found.drop < found.nll + torch.tensor(likelihood)).all()


def random_mlp(likelihood, n=23, n_elements=12, latent_dim=3):
    model = MlpVae(n_elements, latent_dim, (5,), "tanh")
    x = torch.rand(n, n_elements, generator=torch.Generator().manual_seed(0)).round()
    return program(model, likelihood), model.init(0, torch.device("cpu")), x


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_one_sample_is_the_elbo_with_its_kl_estimated_by_the_draw(likelihood):
    program, params, x = random_mlp(likelihood)
    noise = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(0))
    found = metrics.importance_nll(program, params, x, at(torch.tensor(0.7)), 1, lambda k: noise)
    mean, log_variance = program.model.encode(params, x)
    q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    z = mean + q.scale * noise
    kl = (q.log_prob(z) - torch.distributions.Normal(0.0, 1.0).log_prob(z)).sum(1)
    recon_nll, _ = program.likelihood.terms(x, program.model.decode(params, z), params, at(torch.tensor(0.7)))
    torch.testing.assert_close(found.nll.float(), recon_nll + kl)
    assert found.bias.isnan().all()


@pytest.mark.parametrize("elements", [1, 12, 50, 12 * 23, 12 * 23 * 3 + 5, 2**20])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_size_of_a_chunk_does_not_show(elements, likelihood, monkeypatch):
    """One row at once, ragged examples, all examples, ragged samples, everything."""
    program, params, x = random_mlp(likelihood)
    arguments = program, params, x, at(torch.tensor(0.7)), 10, draws(len(x), 3)
    whole = metrics.importance_nll(*arguments)
    monkeypatch.setattr(importance, "DECODED_ELEMENTS", elements)
    parts = metrics.importance_nll(*arguments)
    torch.testing.assert_close(parts.nll, whole.nll, rtol=1e-6, atol=0)
    torch.testing.assert_close(parts.bias, whole.bias, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("samples", [3, 300])
@pytest.mark.parametrize("n", [5, 600])
@pytest.mark.parametrize(("n_elements", "latent_dim"), [(12, 3), (3, 12)])
def test_memory_does_not_grow_with_samples_or_examples(samples, n, n_elements, latent_dim, monkeypatch):
    program, params, x = random_mlp("bernoulli", n, n_elements, latent_dim)
    decode, rows = MlpVae.decode, []

    def spy(model, params, z):
        rows.append(len(z))
        return decode(model, params, z)

    monkeypatch.setattr(MlpVae, "decode", spy)
    monkeypatch.setattr(importance, "DECODED_ELEMENTS", 4_096)
    metrics.importance_nll(program, params, x, at(torch.tensor(0.7)), samples, draws(n, latent_dim))
    assert max(rows) * max(n_elements, latent_dim) <= 4_096
    assert sum(rows) == samples * n


def test_a_decoder_that_knows_nothing_needs_exactly_8_bits_for_a_byte():
    """Every pixel as its 8 bits, all logits 0, q the prior."""
    pixels = torch.from_numpy(load_digits().data[:50].astype(np.uint8))
    bits = torch.stack([(pixels >> i) & 1 for i in range(8)], -1).flatten(1).float()
    model = LinearVaeModel(bits.shape[1], 2)
    params = {name: torch.zeros_like(value) for name, value in model.init(0, torch.device("cpu")).items()}
    found = metrics.importance_nll(program(model, "bernoulli"), params, bits, {}, 7, draws(50, 2))
    bits_per_pixel = found.nll / pixels.shape[1] / math.log(2)
    torch.testing.assert_close(bits_per_pixel, torch.full_like(bits_per_pixel, 8), rtol=1e-6, atol=0)


def test_a_trial_reports_the_nll_with_the_aggregate_metrics_and_where_it_is_asked_for(in_memory, trial, gaussian):
    data = in_memory(gaussian(np.ones(6), 40))
    tree = {"model": {"latent_dim": 2, "hidden": [4]}, "epochs": 3}
    reports, silent = (
        [trainer.train_epoch().metrics for _ in range(3)] + [trainer.test_metrics()]
        for trainer in (trial(data, **tree, metrics={"every": 2, "nll_samples": k}) for k in (50, "none"))
    )
    assert ["val/nll" in report for report in reports] == [False, True, True, False]
    assert ["test/nll" in report for report in reports] == [False, False, False, True]
    assert not any("/nll" in name for report in silent for name in report)
    assert reports[2]["val/nll_drop"] > 0
    assert 0 < reports[2]["val/nll_bias"] < 0.5
    assert reports[2]["val/nll"] < -reports[2]["val/elbo"]
    assert reports[3]["test/nll"] == pytest.approx(reports[2]["val/nll"], abs=0.1)


@pytest.mark.parametrize(
    ("samples", "reported"), [(1, set()), (9, {"nll_bias"}), (10, {"nll_bias", "nll_drop"})], ids=["one", "few", "ten"]
)
def test_too_few_samples_have_no_bias_or_drop_to_report(samples, reported, in_memory, trial, finish, gaussian):
    trainer = trial(in_memory(gaussian(np.ones(6), 40)), epochs=1, metrics={"nll_samples": samples})
    found = finish(trainer).metrics | trainer.test_metrics()
    assert {"val/nll", "test/nll"} < found.keys()
    of_nll = {name for name in found if "/nll_" in name}
    assert of_nll == {f"{part}/{name}" for part in ("val", "test") for name in reported}


def test_the_nll_is_of_the_first_1000_examples_with_noise_of_the_split_seed(in_memory, trial, gaussian):
    x = gaussian(np.ones(6), 1_200)
    longer = torch.cat([x[:1_000], 100 + x[1_000:]])
    model = {"kind": "linear-vae", "latent_dim": 2, "sigma": 1.0}

    def nll(x, seed=0, split_seed=0, part="val"):
        trainer = trial(in_memory(x), model=model, seed=seed, data={"split_seed": split_seed})
        trainer.flat = trial(in_memory(x), model=model).flat
        return trainer.importance_nll(part, 5).nll

    found = nll(x)
    assert len(found) == 1_000
    assert nll(longer).equal(found)
    assert nll(x, seed=1).equal(found)
    assert not nll(x, split_seed=1).equal(found)
    assert not nll(x, part="test").equal(found)


KINDS = [{family: {"kind": kind}} for family in ("objective", "beta") for kind in variants(family)]


@pytest.mark.parametrize("tree", [*KINDS, {"beta": {"end": 0.1}}], ids=str)
def test_the_nll_is_that_of_the_model_whatever_its_loss(tree, in_memory, trial, gaussian):
    """β = 1 and the final σ, also where training is under another."""
    data = in_memory(gaussian(np.ones(6), 40))
    model = {"kind": "linear-vae", "latent_dim": 2, "sigma": 0.5}
    first, second = (trial(data, model=model, **some).importance_nll("val", 5).nll for some in ({}, tree))
    assert second.equal(first)


def test_the_nll_takes_sigma_as_learned(in_memory, trial, gaussian):
    data = in_memory(gaussian(np.ones(6), 40))
    model = {"kind": "linear-vae", "latent_dim": 2}
    learned = trial(data, model={**model, "sigma": 0.9, "learn_sigma": True})
    fixed = (trial(data, model={**model, "sigma": sigma}).importance_nll("val", 5).nll for sigma in (0.9, 0.5))
    torch.testing.assert_close(learned.importance_nll("val", 5).nll, next(fixed))
    for name, value in LearnedSigma(0.5, "identity").init(learned.device).items():
        learned.params[name].copy_(value)
    torch.testing.assert_close(learned.importance_nll("val", 5).nll, next(fixed))


def test_gray_values_have_no_likelihood_of_bits():
    tree = {"data": {"name": "mnist", "binarize": "soft"}, "metrics": {"nll_samples": 100}}
    with pytest.raises(ConfigError, match=r"nll_samples: 100 .*data\.binarize soft\) have no .*dynamic or fixed"):
        parse_config(tree)
