"""The linear VAE on real images against probabilistic PCA: data, scaling, objectives and metrics in one."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from trainables.config.paths import parse_config
from trainables.data import readers
from trainables.data.dataset import data_facts, load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer


@pytest.fixture
def learn(tmp_path, finish):
    """Train on a user's file of examples, which are validated on too."""

    def train(x, latent_dim, sigma, lr, learn_sigma=False, **tree):
        path = tmp_path / "x.npz"
        np.savez(path, x_train=x, x_val=x, x_test=x[:1])
        model = {"kind": "linear-vae", "latent_dim": latent_dim, "sigma": sigma, "learn_sigma": learn_sigma}
        schedule = {"kind": "one-cycle", "max": lr, "pct_start": 0.1, "scaling": "none"}
        where = {"data": {"name": str(path)}, "device": "cpu", "threads": 1}
        config = parse_config({**where, "model": model, "lr": schedule, **tree})
        config = resolve(config, data_facts(config.data, tmp_path))
        return finish(Trainer(config, load(config.data, tmp_path, torch.device("cpu"))))

    return train


@pytest.mark.parametrize(
    ("sigma", "learn_sigma", "budget"),
    [
        pytest.param(0.02733**0.5, False, {"batch_size": 32, "epochs": 200}, marks=pytest.mark.bench),
        pytest.param(0.5, True, {"batch_size": 64, "epochs": 150}, marks=pytest.mark.slow),
    ],
)
def test_on_digits_the_elbo_reaches_the_likelihood_of_pca(sigma, learn_sigma, budget, learn):
    x = load_digits().data / 16
    likelihood = PCA(8).fit(x).score(x)
    assert likelihood == pytest.approx(14.20978, abs=1e-5)
    found = learn(x, 8, sigma, 0.03, learn_sigma, **budget).metrics
    assert found["val/elbo"] == pytest.approx(likelihood, abs=0.03)
    assert found["val/elbo_cal"] == pytest.approx(likelihood, abs=0.03)
    assert found["val/kl"] == pytest.approx(10.1715, rel=0.01)
    assert found["val/mse"] == pytest.approx(0.02733, rel=0.01)
    assert found["schedule/sigma_eq"] ** 2 == pytest.approx(0.02733, rel=0.01)


@pytest.fixture(scope="session")
def centred_mnist(data_dir):
    """The first 10,000 images over 255, centred: total variance 52.752."""
    x = readers.read("mnist", data_dir).train[:10_000].reshape(10_000, -1) / 255
    return (x - x.mean(0)).astype(np.float32)


@pytest.fixture(scope="session")
def pooled_mnist(data_dir):
    """The same at 14×14, each pixel the mean of four: total variance 10.119."""
    x = readers.read("mnist", data_dir).train[:10_000].reshape(10_000, 14, 2, 14, 2).mean((2, 4)).reshape(10_000, -1)
    return ((x - x.mean(0)) / 255).astype(np.float32)


def water_filling(x, beta, latent_dim):
    """(mse, KL) of the optimum at βσ², from the eigenvalues of the covariance."""
    s = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    kept = s[:latent_dim]
    return (np.minimum(beta, kept).sum() + s[latent_dim:].sum()) / len(s), np.log(kept[kept > beta] / beta).sum() / 2


def test_the_reference_numbers_are_those_of_the_covariance(centred_mnist, pooled_mnist):
    assert centred_mnist.var(0).sum() == pytest.approx(52.752, abs=1e-3)
    assert pooled_mnist.var(0).sum() == pytest.approx(10.1187, abs=1e-3)
    assert water_filling(pooled_mnist, 0.09, 50) == pytest.approx((0.022076, 12.0461), abs=1e-4)
    assert water_filling(pooled_mnist, 0.1225, 50) == pytest.approx((0.025596, 8.7508), abs=1e-4)
    mse, kl = water_filling(centred_mnist, 1 / (2 * 1.48845), 50)
    assert (mse, kl) == pytest.approx((0.175**2, 15.5587), rel=1e-4)
    mse, kl = water_filling(centred_mnist, 1 / (2 * 2.6811), 16)
    assert (mse, kl) == pytest.approx((0.175**2, 17.518), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sigma", "beta", "mse", "kl"),
    [(0.15, 4.0, 0.022076, 12.0461), pytest.param(0.35, 1.0, 0.025596, 8.7508, marks=pytest.mark.bench)],
)
def test_on_mnist_the_elbo_ends_at_beta_sigma_squared(sigma, beta, mse, kl, pooled_mnist, learn):
    """Latents near the threshold grow slowest: they are what the KL still lacks."""
    found = learn(pooled_mnist, 50, sigma, 0.02, batch_size=100, epochs=40, beta={"end": beta}).metrics
    assert found["val/mse"] == pytest.approx(mse, rel=0.005)
    assert found["val/kl"] == pytest.approx(kl, rel=0.015)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("latent_dim", "lr", "multiplier", "kl"),
    [pytest.param(50, 0.02, 1.48845, 15.5587, marks=pytest.mark.bench), (16, 0.01, 2.6811, 17.518)],
)
def test_on_mnist_geco_meets_kappa_at_the_lowest_kl(latent_dim, lr, multiplier, kl, centred_mnist, learn):
    geco = {"kind": "geco", "kappa": 0.175}
    report = learn(centred_mnist, latent_dim, 0.7, lr, batch_size=100, epochs=80, objective=geco)
    assert report.outcome == "ok"
    assert report.metrics["val/mse"] == pytest.approx(0.175**2, rel=0.01)
    assert report.metrics["geco/lambda"] == pytest.approx(multiplier, rel=0.04)
    assert report.metrics["val/kl"] == pytest.approx(kl, rel=0.04)


def test_on_mnist_16_latents_cannot_meet_a_kappa_of_an_eighth(centred_mnist, learn):
    geco = {"kind": "geco", "kappa": 0.125}
    assert learn(centred_mnist, 16, 0.7, 0.01, batch_size=100, epochs=20, objective=geco).outcome == "infeasible"
