import pytest
import torch

from trainables import checkpoint as checkpoints
from trainables.errors import DataError
from trainables.metrics import active_units
from trainables.vae import Vae

SHAPE = (2, 3)


@pytest.fixture
def trained(in_memory, trial, finish):
    def train(kind="mlp", **tree):
        x = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(0))
        trainer = trial(in_memory(x), model={"kind": kind, "latent_dim": 4}, epochs=2, **tree)
        finish(trainer)
        return trainer, x

    return train


@pytest.mark.parametrize("tree", [{}, {"data": {"binarize": "soft"}}], ids=["gaussian", "bernoulli"])
@pytest.mark.parametrize("kind", ["mlp", "linear-vae"])
def test_a_model_from_its_file_is_the_trainers(kind, tree, trained, tmp_path):
    trainer, x = trained(kind, **tree)
    checkpoints.write(tmp_path / "checkpoint", trainer.checkpoint())
    vae = Vae.from_file(tmp_path / "checkpoint")
    assert vae.config == trainer.config
    evaluation = trainer.evaluation("val")
    mean, log_variance = vae.encode(x)
    torch.testing.assert_close(mean, evaluation.mean, rtol=0, atol=0)
    torch.testing.assert_close(log_variance, evaluation.log_variance.expand_as(mean), rtol=0, atol=0)
    errors = (vae.decode(evaluation.z) - x).square().sum((1, 2))
    torch.testing.assert_close(errors, evaluation.sse)
    errors = (vae.reconstruct(x) - x).square().sum((1, 2))
    torch.testing.assert_close(errors, evaluation.sse_mean_z)


def test_shapes(trained):
    trainer, x = trained()
    vae = Vae(trainer.checkpoint())
    assert vae.shape == SHAPE
    assert vae.encode(x)[0].shape == vae.encode(x)[1].shape == (20, 4)
    assert vae.decode(torch.zeros(5, 4)).shape == (5, *SHAPE)
    assert vae.sample(7).shape == (7, *SHAPE)
    assert vae.reconstruct(x).shape == vae.reconstruct(x, seed=1).shape == x.shape
    assert not vae.sample(1).requires_grad


def test_bytes_and_doubles_are_examples_too(trained):
    trainer, x = trained()
    vae = Vae(trainer.checkpoint())
    assert vae.reconstruct(x.double()).equal(vae.reconstruct(x))
    assert vae.reconstruct(torch.ones(1, *SHAPE, dtype=torch.uint8)).equal(vae.reconstruct(torch.ones(1, *SHAPE)))


def test_draws_are_functions_of_their_seed(trained):
    trainer, x = trained()
    vae = Vae(trainer.checkpoint())
    assert vae.sample(3).equal(vae.sample(3, seed=0))
    assert not vae.sample(3).equal(vae.sample(3, seed=1))
    assert vae.reconstruct(x, seed=1).equal(vae.reconstruct(x, seed=1))
    assert not vae.reconstruct(x, seed=1).equal(vae.reconstruct(x, seed=2))


def test_samples_are_decoded_draws_from_the_prior(trained):
    """A decoder whose output is its latents shows them: mean 0, variance 1."""
    trainer, _ = trained("linear-vae")
    trainer.params["decoder.weight"].data.copy_(torch.eye(6, 4))
    trainer.params["decoder.bias"].data.zero_()
    samples = Vae(trainer.checkpoint()).sample(20_000).flatten(1)
    torch.testing.assert_close(samples.T.cov(), torch.diag(torch.tensor([1.0, 1, 1, 1, 0, 0])), rtol=0, atol=0.04)
    assert active_units(samples) == 4


def test_any_other_file_is_refused(tmp_path):
    (tmp_path / "checkpoint").write_text("words")
    with pytest.raises(DataError):
        Vae.from_file(tmp_path / "checkpoint")
