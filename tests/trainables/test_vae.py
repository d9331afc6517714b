import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.config.paths import variants
from trainables.errors import DataError, UserError
from trainables.files import checkpoint as checkpoints
from trainables.metrics import active_units
from trainables.vae import Vae

SHAPE = (2, 3)


@pytest.fixture
def trained(in_memory, trial, finish):
    def train(kind="mlp", shape=SHAPE, **tree):
        x = torch.rand(20, *shape, generator=torch.Generator().manual_seed(0))
        model = {"kind": kind, "latent_dim": 4, **({"channels": [8]} if kind == "conv" else {})}
        trainer = trial(in_memory(x), model=model, epochs=2, **tree)
        finish(trainer)
        return trainer, x

    return train


@pytest.mark.parametrize("tree", [{}, {"data": {"binarize": "soft"}}], ids=["gaussian", "bernoulli"])
@pytest.mark.parametrize("kind", variants("model"))
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
    torch.testing.assert_close(errors, trainer.errors_at_mean("val", evaluation.mean))


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
    assert vae.sample(3, seed=0).equal(vae.sample(3, seed=0))
    assert not vae.sample(3, seed=0).equal(vae.sample(3, seed=1))
    assert vae.reconstruct(x, seed=1).equal(vae.reconstruct(x, seed=1))
    assert not vae.reconstruct(x, seed=1).equal(vae.reconstruct(x, seed=2))


def test_samples_are_new_ones_each_time_and_follow_torchs_seed(trained):
    vae = Vae(trained()[0].checkpoint())
    torch.manual_seed(3)
    first, second = vae.sample(3), vae.sample(3)
    assert not first.equal(second)
    torch.manual_seed(3)
    assert vae.sample(3).equal(first)


@pytest.mark.parametrize("of", [torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist, lambda x: x.flatten(1)])
def test_arrays_lists_and_flat_examples_are_taken(of, trained):
    trainer, x = trained()
    vae = Vae(trainer.checkpoint())
    assert vae.reconstruct(of(x)).equal(vae.reconstruct(x))
    mean = vae.encode(of(x))[0]
    assert vae.decode(mean.numpy()).equal(vae.decode(mean))


MISTAKES = {
    "x of another shape": (
        lambda vae: vae.encode(np.zeros((5, 3, 2))),
        "x has shape (5, 3, 2); this model takes N×2×3",
    ),
    "x of one example": (
        lambda vae: vae.reconstruct(np.zeros((2, 3))),
        "x has shape (2, 3); this model takes N×2×3; of one example give x[None]",
    ),
    "a number": (lambda vae: vae.encode(1.0), "x has shape (); this model takes N×2×3"),
    "rows of two lengths": (lambda vae: vae.encode([[1, 2], [3]]), "x is not an array: "),
    "words": (lambda vae: vae.encode([["a"]]), "x holds <U1; allowed: numbers"),
    "z of another width": (lambda vae: vae.decode(torch.zeros(5, 3)), "z has shape (5, 3); this model takes N×4"),
    "z of one example": (lambda vae: vae.decode(torch.zeros(4)), "z has shape (4,); this model takes N×4"),
    "no samples": (lambda vae: vae.sample(0), "n is 0; allowed: a whole number from 1 on"),
    "fewer than none": (lambda vae: vae.sample(-1), "n is -1; allowed: a whole number from 1 on"),
    "a switch": (lambda vae: vae.sample(True), "n is True; allowed: a whole number from 1 on"),
    "half a sample": (lambda vae: vae.sample(3.5), "n is 3.5; allowed: a whole number from 1 on"),
    "more samples than there are numbers": (
        lambda vae: vae.sample(10**30),
        "n is 1000000000000000000000000000000, and so many samples do not fit in memory; ask for fewer at a time",
    ),
    "more samples than memory": (lambda vae: vae.sample(10**12), "n is 1000000000000, and so many samples do not fit"),
    "a sparse tensor": (lambda vae: vae.encode(torch.zeros(5, 6).to_sparse()), "x is a sparse_coo tensor; allowed: a "),
    "a nested tensor": (
        lambda vae: vae.encode(torch.nested.nested_tensor([torch.zeros(6)], layout=torch.jagged)),
        "x is a nested tensor; allowed: a dense one",
    ),
    "a tensor without values": (
        lambda vae: vae.decode(torch.zeros(5, 4, device="meta")),
        "z is on the device `meta` and has no values; make it on the CPU",
    ),
    "complex numbers": (
        lambda vae: vae.encode(torch.zeros(5, 6, dtype=torch.complex64, requires_grad=True)),
        "x holds complex64; allowed: numbers",
    ),
    "a list of such": (lambda vae: vae.encode([torch.zeros(6, device="meta")]), "x is not an array: "),
    "a seed that is none": (lambda vae: vae.sample(3, seed="a"), "seed is 'a'; allowed: a whole number from 0 on"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_what_the_model_takes(mistake, trained):
    act, expected = MISTAKES[mistake]
    with pytest.raises(UserError) as error:
        act(Vae(trained()[0].checkpoint()))
    assert str(error.value).startswith(expected)


def test_values_outside_the_range_of_the_data_are_warned_about(trained, tmp_path):
    trainer, x = trained()
    checkpoints.write(tmp_path / "checkpoint", trainer.checkpoint())
    vae = Vae.from_file(tmp_path / "checkpoint")
    low, high = float(x.min()), float(x.max())
    vae.encode(x + 0.09 * (high - low))
    said = rf"the model was trained on values in \[{low:g}, {high:g}\]; scale them to that range first"
    for values in (x * 255, x - 0.2, x / 0):
        with pytest.warns(UserWarning, match=said):
            vae.reconstruct(values)


def test_values_that_are_nan_are_counted_whatever_the_range(trained):
    trainer, x = trained()
    x[0, 0, :2] = float("nan")
    said = "^x has 2 NaN values, and the results of their examples are NaN too; remove or impute them$"
    for known in (trainer.checkpoint(), replace(trainer.checkpoint(), value_range=None)):
        with pytest.warns(UserWarning, match=said):
            found = Vae(known).reconstruct(x)
        assert found.flatten(1).isnan().all(1).tolist() == [True] + 19 * [False]


@pytest.mark.parametrize("act", [lambda vae, x: vae.encode(x), lambda vae, x: vae.reconstruct(x, seed=1)])
def test_a_warning_points_at_the_users_line(act, trained):
    trainer, x = trained()
    with pytest.warns(UserWarning, match="scale them to that range first") as warned:
        act(Vae(trainer.checkpoint()), x * 255)
    (found,) = warned
    assert (found.filename, found.lineno) == (__file__, act.__code__.co_firstlineno)


def test_memory_that_runs_out_within_is_the_same_sentence(trained, monkeypatch):
    """As on a GPU that others use too."""
    vae = Vae(trained()[0].checkpoint())
    monkeypatch.setattr(vae, "decode", lambda z: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(UserError, match=r"^n is 3, and so many samples do not fit in memory; ask for fewer at a time$"):
        vae.sample(3)


def test_a_checkpoint_of_an_earlier_version_knows_no_range_and_says_nothing(trained):
    trainer, x = trained()
    Vae(replace(trainer.checkpoint(), value_range=None)).encode(x * 255)


def test_samples_are_decoded_draws_from_the_prior(trained):
    """A decoder whose output is its latents shows them: mean 0, variance 1."""
    trainer, _ = trained("linear-vae")
    trainer.params["decoder.weight"].data.copy_(torch.eye(6, 4))
    trainer.params["decoder.bias"].data.zero_()
    samples = Vae(trainer.checkpoint()).sample(20_000, seed=0).flatten(1)
    torch.testing.assert_close(samples.T.cov(), torch.diag(torch.tensor([1.0, 1, 1, 1, 0, 0])), rtol=0, atol=0.04)
    assert active_units(samples) == 4


def test_any_other_file_is_refused(tmp_path):
    (tmp_path / "checkpoint").write_text("words")
    with pytest.raises(DataError):
        Vae.from_file(tmp_path / "checkpoint")


# --- models of a user's own code --------------------------------------------------------------------------------------


@pytest.fixture
def of_a_user(trained, nets, tmp_path):
    """A checkpoint file whose model is made by `nets:make`, which nothing has imported since."""
    trainer, x = trained(f"{nets}:make")
    checkpoints.write(tmp_path / "checkpoint", trainer.checkpoint())
    del sys.modules[nets]
    return tmp_path / "checkpoint", trainer, x


@pytest.mark.parametrize("wrong", [None, "another:make"])
def test_a_file_imports_nothing_by_itself(wrong, of_a_user, nets):
    path, trainer, _ = of_a_user
    for load in (lambda: Vae.from_file(path, model=wrong), lambda: Vae(trainer.checkpoint(), model=wrong)):
        with pytest.raises(UserError) as error:
            load()
        assert f'model="{nets}:make"' in str(error.value)
    assert nets not in sys.modules


def test_the_refusal_says_which_factory_and_how_to_allow_it(of_a_user, nets):
    with pytest.raises(UserError) as error:
        Vae.from_file(of_a_user[0])
    assert str(error.value) == (
        f"the model was made by {nets}:make, which a checkpoint may not import by itself; if you trust that code, "
        f'allow it with load(…, model="{nets}:make")'
    )


def test_a_file_whose_factory_is_named_again_is_the_trainers_model(of_a_user, nets):
    path, trainer, x = of_a_user
    vae = Vae.from_file(path, model=f"{nets}:make")
    evaluation = trainer.evaluation("val")
    torch.testing.assert_close(vae.encode(x)[0], evaluation.mean, rtol=0, atol=0)
    torch.testing.assert_close((vae.decode(evaluation.z) - x).square().sum((1, 2)), evaluation.sse)


def test_a_running_trainers_model_needs_no_second_look_at_the_code(of_a_user, nets, tmp_path):
    _, trainer, x = of_a_user
    (tmp_path / f"{nets}.py").unlink()
    torch.testing.assert_close(Vae(trainer.checkpoint(), trainer.program).encode(x)[0], trainer.evaluation("val").mean)
    assert nets not in sys.modules


@pytest.mark.parametrize(
    ("was", "now"), [("nn.Tanh(), *(", "nn.Linear(16, 16), *("), ("width=16, after", "width=9, after")]
)
def test_code_that_has_changed_since_is_refused(was, now, of_a_user, nets, tmp_path):
    source = (tmp_path / f"{nets}.py").read_text()
    changed = source.replace(was, now).replace("return Net(shape, latent_dim, width)", "return Net(shape, latent_dim)")
    assert changed != source
    (tmp_path / f"{nets}.py").write_text(changed)
    with pytest.raises(
        UserError, match=r"now makes a different (encoder|decoder)\.\d\.\w+ from the one that was trained"
    ):
        Vae.from_file(of_a_user[0], model=f"{nets}:make")


def test_a_built_in_model_is_loaded_as_what_it_is(trained):
    trainer, _ = trained("mlp")
    assert Vae(trainer.checkpoint(), model="mlp").config == trainer.config
    with pytest.raises(UserError) as error:
        Vae(trainer.checkpoint(), model="nets:make")
    assert str(error.value) == 'the model is of kind mlp, not nets:make; load it with model="mlp"'
