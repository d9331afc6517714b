import math

import numpy as np
import pytest
import torch
from torch import distributions as td

from trainables import metrics
from trainables.config.paths import parse_config
from trainables.likelihoods.gaussian import calibrated_elbo
from trainables.metrics import evaluation
from trainables.program import build_program

S = np.array([4, 2, 1, 0.5, 0.25, 0.1])


def program(n_elements, latent_dim, likelihood="gaussian"):
    data = {"name": "memory.npy", "likelihood": likelihood}
    model = {"kind": "linear-vae", "latent_dim": latent_dim, "sigma": 1.0}
    return build_program(parse_config({"data": data, "model": model}), (n_elements,), total_steps=1)


def at(sigma):
    return {"sigma": torch.tensor(sigma)}


def optimal_posterior(gaussian, beta, n):
    """The posteriors of T1's optimum: q(z|x) = N(√((s − β)/s)·x/√s, β/s), so that q(z) is exactly N(0, 1)."""
    s = S[beta < S]
    mean = gaussian((s - beta) / s, n).double()
    return mean, torch.tensor(np.log(beta / s)).expand(n, -1), 0.5 * np.log(s / beta).sum()


@pytest.mark.parametrize("beta", [0.3, 0.7, 1.5])
def test_t5_at_the_optimum_the_aggregate_posterior_is_the_prior(beta, gaussian):
    mean, log_variance, _ = optimal_posterior(gaussian, beta, 1000)
    assert metrics.agg_kl_gauss(mean, log_variance).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("beta", [0.7, 1.5])
def test_t5_at_the_optimum_the_mutual_information_is_the_kl(beta, gaussian):
    """Own posterior included, N = 2,000: biased down by .02 at a KL of 1.57; the rest is the draw's noise."""
    mean, log_variance, kl = optimal_posterior(gaussian, beta, 2000)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = metrics.mutual_information(mean, log_variance, mean + (0.5 * log_variance).exp() * noise).item()
    assert found == pytest.approx(kl, abs=0.06)
    assert not metrics.saturated(found, 2000)


def in_sets(estimate, n, *columns):
    """The estimate from each n examples, averaged."""
    return np.mean([estimate(*some).item() for some in zip(*(column.split(n) for column in columns), strict=True)])


@pytest.fixture
def optimum():
    """20,000 independent posteriors of T5's optimum at β = .3, with a draw of each: KL 3.1011 and marginal KL 0."""
    generator = torch.Generator().manual_seed(0)
    beta, s = 0.3, torch.tensor(S[S > 0.3])
    first, second = (torch.randn(20_000, len(s), generator=generator, dtype=torch.float64) for _ in range(2))
    mean, log_variance = first * ((s - beta) / s).sqrt(), (beta / s).log().expand(20_000, -1)
    return mean, log_variance, mean + (0.5 * log_variance).exp() * second


def test_the_mutual_information_is_biased_down_and_rises_with_n_to_the_truth(optimum):
    found = [in_sets(metrics.mutual_information, n, *optimum) for n in (20, 50, 200, 1000)]
    assert found == sorted(found)
    assert all(value < min(math.log(n), 3.1011) for n, value in zip((20, 50, 200, 1000), found, strict=True))
    assert found[0] < 3.1011 - 0.5
    assert found[-1] == pytest.approx(3.1011, abs=0.08)


def test_the_gaussian_marginal_kl_is_biased_up_and_falls_with_n_to_the_truth(optimum):
    few, many = (in_sets(metrics.agg_kl_gauss, n, *optimum[:2]) for n in (100, 1000))
    assert few > many > 0
    assert few / many == pytest.approx(10, rel=0.1)


def test_t5_a_trial_at_the_optimum_reports_a_marginal_kl_of_0_and_a_mutual_information_of_its_kl(
    in_memory, trial, finish, gaussian
):
    """σ = √β; a marginal KL biased up by what 1,000 examples leave of a KL of 1.57."""
    beta, kl = 0.7, 1.5747
    s = S[beta < S]
    trainer = trial(
        in_memory(gaussian(s, 1000)),
        model={"kind": "linear-vae", "latent_dim": len(s), "sigma": math.sqrt(beta)},
        lr={"base": 1e-12},
        epochs=1,
    )
    optimum = {"encoder.weight": np.diag(np.sqrt(s - beta) / s), "decoder.weight": np.diag(np.sqrt(s - beta))}
    optimum |= {"encoder.bias": 0.0, "decoder.bias": 0.0, "encoder.log_variance": np.log(beta / s)}
    for name, value in optimum.items():
        trainer.params[name].data.copy_(torch.as_tensor(value))
    found = finish(trainer).metrics
    assert found["val/kl"] == pytest.approx(kl, abs=1e-3)
    assert found["val/mutual_info"] == pytest.approx(kl, abs=0.1)
    assert found["val/marginal_kl"] == pytest.approx(0, abs=0.1)
    assert found["val/agg_kl_gauss"] == pytest.approx(0, abs=1e-3)
    assert found["val/mi_saturated"] == 0


def test_t5b_posteriors_100_standard_deviations_apart_carry_ln_n_and_say_that_they_are_saturated():
    n, generator = 500, torch.Generator().manual_seed(0)
    mean, log_variance = 100 * torch.arange(n, dtype=torch.float64)[:, None], torch.zeros(n, 1)
    z = mean + torch.randn(n, 1, generator=generator)
    found = metrics.mutual_information(mean, log_variance, z).item()
    assert found == pytest.approx(math.log(n), abs=1e-6)
    assert metrics.saturated(found, n)


def test_t5b_a_trial_reports_the_saturation_and_a_marginal_kl_of_kl_minus_ln_n(in_memory, trial, finish):
    n = 300
    data = in_memory(torch.arange(n).float()[:, None])
    trainer = trial(data, model={"kind": "linear-vae", "latent_dim": 1}, lr={"base": 1e-12}, epochs=1)
    wanted = {"encoder.weight": 1.0, "encoder.bias": 0.0, "encoder.log_variance": 2 * math.log(0.01)}
    for name, value in wanted.items():
        trainer.params[name].data.fill_(value)
    found = finish(trainer).metrics
    kl = np.mean([0.5 * (i**2 + 1e-4 - 1 - math.log(1e-4)) for i in range(n)])
    assert found["val/kl"] == pytest.approx(kl)
    assert found["val/mutual_info"] == pytest.approx(math.log(n), abs=1e-6)
    assert found["val/mi_cap"] == pytest.approx(math.log(n))
    assert found["val/marginal_kl"] == pytest.approx(kl - math.log(n))
    assert found["val/mi_saturated"] == 1


def test_agg_kl_gauss_is_torchs_kl_of_the_matched_gaussian():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = (torch.randn(50, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    covariance = torch.from_numpy(np.cov(mean.numpy().T, bias=True)) + log_variance.exp().mean(0).diag()
    zeros, ones = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    expected = td.kl_divergence(td.MultivariateNormal(mean.mean(0), covariance), td.MultivariateNormal(zeros, ones))
    torch.testing.assert_close(metrics.agg_kl_gauss(mean, log_variance), expected)


def test_active_units_have_an_unbiased_variance_above_a_hundredth(gaussian):
    """Sample variances of exactly .0099, .0101 and 0 with N − 1 in the denominator."""
    n = 100
    mean = gaussian(np.array([0.0099, 0.0101, 1e-12]) * (n - 1) / n, n)
    assert metrics.active_units(mean) == 1


def test_active_units_look_at_the_first_1000_examples():
    mean = torch.zeros(2000, 1)
    mean[1000:] = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    assert metrics.active_units(mean) == 0
    assert metrics.active_units(mean.flip(0)) == 1
    assert metrics.active_units(mean[:1]) == 0


def evaluated(x, seed=0, likelihood="gaussian"):
    n, d = x.shape
    model = program(d, 2, likelihood)
    params = model.model.init(seed, torch.device("cpu"))
    noise = metrics.evaluation_noise(n, 2, 0, "val", torch.device("cpu"))
    return model, params, noise, metrics.evaluate(model, params, x, noise, at(0.7))


def test_the_calibrated_elbo_has_the_deviation_of_the_training_error(gaussian):
    x_train, x_val = gaussian(S, 40), gaussian(S, 30, seed=1)
    *_, train = evaluated(x_train)
    model, params, noise, val = evaluated(x_val)
    mean, log_variance = model.model.encode(params, x_val)
    output = model.model.decode(params, mean + (0.5 * log_variance).exp() * noise)
    likelihood = td.Normal(output, (train.sse.mean() / 6).sqrt()).log_prob(x_val).sum(1)
    torch.testing.assert_close(calibrated_elbo(val, train, 6), (likelihood - val.kl.sum(1)).mean())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_elbo_and_both_errors_are_what_torch_says(likelihood, gaussian):
    x = gaussian(S, 30).sigmoid().round()
    model, params, noise, found = evaluated(x, likelihood=likelihood)
    mean, log_variance = model.model.encode(params, x)
    q = td.Normal(mean, (0.5 * log_variance).exp())
    output, at_mean = (model.model.decode(params, z) for z in (mean + q.scale * noise, mean))
    gaussian_likelihood = likelihood == "gaussian"
    p = td.Normal(output, 0.7) if gaussian_likelihood else td.Bernoulli(logits=output)
    kl = td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(found.elbo(), (p.log_prob(x).sum(1) - kl).mean())
    torch.testing.assert_close(found.sse, (x - p.mean).square().sum(1))
    mean_image = at_mean if gaussian_likelihood else at_mean.sigmoid()
    one = ({name: value[None] for name, value in values.items()} for values in (params, at(0.7)))
    (errors,) = metrics.squared_errors(model, next(one), x, found.mean[None], next(one))
    torch.testing.assert_close(errors, (x - mean_image).square().sum(1))


@pytest.mark.parametrize("chunk", [1, 7, 10, 29, 1000])
def test_an_evaluation_does_not_depend_on_its_chunks(chunk, gaussian, monkeypatch):
    x = gaussian(S, 30)
    *_, whole = evaluated(x)
    monkeypatch.setattr(evaluation, "CHUNK", chunk)
    *_, parts = evaluated(x)
    torch.testing.assert_close(vars(parts), vars(whole))


def test_evaluation_noise_is_one_draw_for_each_part_and_split_seed():
    def draw(n, *where):
        return metrics.evaluation_noise(n, 3, *where, torch.device("cpu"))

    assert draw(4, 0, "val").equal(draw(4, 0, "val"))
    assert not draw(4, 0, "val").equal(draw(4, 1, "val"))
    assert not draw(4, 0, "val").equal(draw(4, 0, "test"))


def pca_optimum(rotation):
    """Probabilistic PCA of covariance diag(S) with 3 latents, W rotated; the best diagonal posterior, and its gap.

    The gap to the true posterior N(·, P⁻¹) is ½(Σ ln P_jj − ln det P).
    """
    s, sigma2 = torch.tensor(S[:3]), S[3:].mean()
    weight = torch.zeros(6, 3, dtype=torch.float64)
    weight[:3] = (s - sigma2).sqrt().diag() @ rotation
    precision = torch.eye(3, dtype=torch.float64) + weight.T @ weight / sigma2
    encoder = torch.linalg.solve(precision, weight.T) / sigma2
    params = {"decoder.weight": weight, "encoder.weight": encoder, "encoder.log_variance": -precision.diagonal().log()}
    params |= {"decoder.bias": torch.zeros(6), "encoder.bias": torch.zeros(3)}
    gap = 0.5 * (precision.diagonal().log().sum() - precision.logdet())
    return {name: value.float() for name, value in params.items()}, sigma2, gap


def test_with_probabilistic_pca_the_elbo_is_the_likelihood_and_a_rotation_opens_a_gap(gaussian):
    x = gaussian(S, 40_000)
    noise = torch.randn(40_000, 3, generator=torch.Generator().manual_seed(0))
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    model_variance = np.where(np.arange(6) < 3, S, S[3:].mean())
    likelihood = -0.5 * (np.log(2 * np.pi * model_variance) + S / model_variance).sum()
    gaps = []
    for rotation in (torch.eye(3, dtype=torch.float64), turned):
        params, sigma2, gap = pca_optimum(rotation)
        elbo = metrics.evaluate(program(6, 3), params, x, noise, at(math.sqrt(sigma2))).elbo()
        assert elbo.item() == pytest.approx(likelihood - gap.item(), abs=0.015)
        gaps.append(gap.item())
    assert gaps[0] == pytest.approx(0, abs=1e-12)
    assert gaps[1] > 0.1


def test_the_marginal_kl_is_of_the_examples_that_the_mutual_information_is_of(in_memory, trial, finish, gaussian):
    """What lies beyond the first 1,000 examples moves the KL alone."""
    x = gaussian(np.ones(6), 1_200)
    longer = torch.cat([x[:1_000], 5 + x[1_000:]])
    model = {"kind": "linear-vae", "latent_dim": 2, "sigma": 1.0}
    trainer = trial(in_memory(longer), model=model, epochs=1)
    found = finish(trainer).metrics
    first = trainer.evaluation("val").kl[:1_000].sum(-1).mean().item()
    assert found["val/kl"] > first + 0.1
    assert found["val/marginal_kl"] == pytest.approx(first - found["val/mutual_info"], rel=1e-5)
