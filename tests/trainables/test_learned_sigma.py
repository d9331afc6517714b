import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from trainables.files import checkpoint as checkpoints
from trainables.likelihoods.learned_sigma import LearnedSigma
from trainables.vae import Vae

S = np.array([4, 2, 1, 0.5, 0.25, 0.1])
CPU = torch.device("cpu")
(PARAMETER,) = LearnedSigma(1.0, "identity").init(CPU)


def sigma_of(trainer):
    return trainer.program.likelihood.sigma_of(trainer.params, trainer.scales).item()


def learned(params):
    return LearnedSigma(1.0, "identity").sigma_of(params, {})


@pytest.fixture
def learn(in_memory, trial, gaussian):
    """A linear VAE of three latents with a learned σ, on examples of covariance diag(S)."""

    def start(n=12_800, sigma=1.5, eigenvalues=S, **tree):
        model = {"kind": "linear-vae", "latent_dim": 3, "sigma": sigma, "learn_sigma": True}
        schedule = {"kind": "one-cycle", "max": 0.05, "scaling": "none"}
        tree = {"model": model, "lr": schedule, "batch_size": 64, "epochs": 10, **tree}
        return trial(in_memory(gaussian(eigenvalues, n)), **tree)

    return start


@pytest.mark.parametrize("sigma", [0.004, 0.3, 5.0])
def test_it_starts_where_it_is_told(sigma):
    assert learned(LearnedSigma(sigma, "identity").init(CPU)).item() == pytest.approx(sigma, rel=1e-5)


def test_it_cannot_fall_below_a_gray_level_and_rises_with_its_parameter():
    values = torch.linspace(-100, 5, 20, dtype=torch.float64)
    sigmas = torch.stack([learned({PARAMETER: value}) for value in values])
    assert sigmas[0].item() == 1 / 256
    assert (sigmas.diff() >= 0).all()
    torch.testing.assert_close(sigmas[-1].square().log(), values[-1], rtol=0, atol=1e-5)


def test_a_linear_vae_learns_probabilistic_pca(learn, finish):
    """σ² is the mean of the discarded eigenvalues and the mse, the ELBO the likelihood (Tipping & Bishop 1999)."""
    trainer = learn()
    report = finish(trainer)
    x, found = trainer.dataset.train.double().numpy(), report.metrics
    variance = S[3:].mean()
    assert sigma_of(trainer) ** 2 == pytest.approx(variance, rel=0.02)
    assert found["val/mse"] == pytest.approx(variance, rel=0.02)
    assert found["val/kl"] == pytest.approx(0.5 * np.log(S[:3] / variance).sum(), rel=0.02)
    assert found["val/elbo"] == pytest.approx(PCA(3).fit(x).score(x), abs=0.03)
    assert found["val/elbo_cal"] == pytest.approx(found["val/elbo"], abs=0.03)


@pytest.mark.parametrize("optimizer", [{"kind": "adamw", "weight_decay": 0.1}, {"kind": "radam"}], ids=str)
def test_weight_decay_does_not_pull_at_a_scale(optimizer, learn, finish):
    """σ = √.2 = .4472; decayed with the weights its log-variance ended at .468 under this decay."""
    trainer = learn(eigenvalues=[4, 2, 1, 0.2, 0.2, 0.2], optimizer=optimizer)
    finish(trainer)
    assert sigma_of(trainer) == pytest.approx(math.sqrt(0.2), rel=0.015)


def test_the_learned_sigma_is_what_is_evaluated_and_reported(learn):
    trainer = learn(n=640)
    assert sigma_of(trainer) == pytest.approx(1.5)
    found, sigma = trainer.train_epoch().metrics, sigma_of(trainer)
    assert sigma < 1.49
    assert found["schedule/sigma_eq"] == pytest.approx(sigma)
    nll = 6 * (found["val/mse"] / (2 * sigma**2) + math.log(sigma) + math.log(2 * math.pi) / 2)
    assert found["val/recon_nll"] == pytest.approx(nll)


def test_it_is_saved_and_does_not_disturb_the_model(learn, tmp_path):
    trainer = learn(n=640)
    trainer.train_epoch()
    checkpoints.write(tmp_path / "checkpoint", trainer.checkpoint())
    restored = learn(n=640)
    restored.restore(checkpoints.read(tmp_path / "checkpoint"))
    assert sigma_of(restored) == sigma_of(trainer)
    x = trainer.dataset.train[:4]
    expected = trainer.program.model.encode(trainer.params, x)
    torch.testing.assert_close(Vae.from_file(tmp_path / "checkpoint").encode(x), expected)


def test_a_users_model_is_not_disturbed_by_it_either(learn, nets, tmp_path):
    kind = f"{nets}:make"
    trainer = learn(n=640, model={"kind": kind, "latent_dim": 3, "learn_sigma": True})
    trainer.train_epoch()
    checkpoints.write(tmp_path / "checkpoint", trainer.checkpoint())
    x = trainer.dataset.train[:4]
    expected = trainer.program.model.encode(trainer.params, x)
    torch.testing.assert_close(Vae.from_file(tmp_path / "checkpoint", model=kind).encode(x), expected)
