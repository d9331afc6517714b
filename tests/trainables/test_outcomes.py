"""How a trial ends, in a word: never `ok` with an error that the mean image beats."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.files import checkpoint as checkpoints
from trainables.likelihoods import Bernoulli, Gaussian
from trainables.resolve import resolve
from trainables.training.outcomes import mean_image_distortion, worse_than_mean
from trainables.training.trainer import Trainer


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.fixture
def images():
    """640 smooth images of 16 values that vary along two directions, in [0, 1]."""
    draw = np.random.default_rng(0)
    codes, directions = draw.normal(size=(640, 2)), draw.normal(size=(2, 16))
    return torch.tensor(1 / (1 + np.exp(-codes @ directions)), dtype=torch.float32)


OBJECTIVES = {
    "elbo": {"objective": {"kind": "elbo"}},
    "beta": {"objective": {"kind": "elbo"}, "beta": {"end": 4.0}},
    "free-bits": {"objective": {"kind": "free-bits"}},
    "iwae": {"objective": {"kind": "iwae"}},
    "geco": {"objective": {"kind": "geco"}},
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("unit", [1.0, 1e-2, 1e-4])
def test_data_in_a_small_unit_end_worse_than_the_mean_image(objective, unit, images, in_memory, trial, finish):
    """Whatever is minimised: an error far above the mean image's is never `ok`; on data of order 1 it is no such."""
    report = finish(trial(in_memory(images * unit), **OBJECTIVES[objective], epochs=6, batch_size=32, lr=SMALL_LR))
    of_mean = (images * unit).var(0, correction=0).mean().item()
    assert (report.outcome == "worse-than-mean") == (report.metrics["val/mse"] > 1.02 * of_mean)
    assert (report.outcome == "worse-than-mean") == (unit < 1)


SMALL_LR = {"base": 3e-3, "scaling": "none"}


@pytest.mark.parametrize(("unit", "outcome"), [(1.0, "ok"), (1e-2, "worse-than-mean"), (1e-4, "worse-than-mean")])
def test_the_digits_in_a_smaller_unit_are_not_ok(unit, outcome, tmp_path, finish):
    """As a user saw it: ten epochs of a linear warm-up, `ok` at 175 times the mean image's error."""
    np.save(tmp_path / "x.npy", (load_digits().images / 16 * unit).astype(np.float32))
    lr = {"base": 3e-3, "base_batch_size": 32}
    tree = {"data": {"name": str(tmp_path / "x.npy")}, "beta": {"kind": "linear"}, "batch_size": 32, "lr": lr}
    config = parse_config({**tree, "epochs": 10, "device": "cpu"})
    facts = data_facts(config.data, tmp_path)
    report = finish(Trainer(resolve(config, facts), load(config.data, tmp_path, torch.device("cpu"))))
    assert report.outcome == outcome
    assert (report.metrics["val/mse"] > 1.5 * facts.kappa_max["re"] ** 2) == (outcome != "ok")


@pytest.mark.parametrize("data", [{}, {"binarize": "dynamic"}, {"binarize": "fixed"}, {"binarize": "soft"}], ids=str)
def test_a_collapsed_posterior_is_at_the_mean_image_and_not_worse(data, images, in_memory, trial, finish):
    bits = data.get("binarize") in ("dynamic", "fixed")
    x = (images > 0.5).float() if bits else images
    options = {"data": data, "beta": {"end": 1e3}, "batch_size": 32, "epochs": 30, "lr": SMALL_LR}
    report = finish(trial(in_memory(x), **options))
    assert report.metrics["val/kl"] < 1e-3
    assert report.outcome == "ok"


@pytest.mark.parametrize("share", [1.2, 3.0])
def test_an_error_that_geco_was_told_to_accept_is_not_worse_than_the_mean(share, images, in_memory, trial, finish):
    kappa = share * images.var(0, correction=0).mean().sqrt().item()
    geco = {"kind": "geco", "kappa": kappa}
    report = finish(trial(in_memory(images), objective=geco, batch_size=32, epochs=30, lr=SMALL_LR))
    assert report.outcome in ("slack", "unsettled")


@pytest.mark.parametrize(
    ("excess", "spread", "worse"),
    [(0.019, 0.0, False), (0.021, 0.0, True), (0.05, 0.49, True), (0.05, 0.51, False), (-0.5, 0.0, False)],
)
def test_an_error_is_worse_beyond_2_percent_and_twice_the_standard_error_of_the_means(excess, spread, worse):
    wave = tensor([1.0, -1.0] * 200)
    assert worse_than_mean(tensor([1 + excess] * 400), 1 + spread * wave) == worse
    assert worse_than_mean(1 + excess + 9 * wave, 1 + spread * wave) == worse, "however its own errors scatter"


def test_what_was_accepted_is_not_worse():
    error, of_mean = tensor([2.0, 2.0]), tensor([1.0, 1.0])
    assert worse_than_mean(error, of_mean)
    assert not worse_than_mean(error, of_mean, accepted=2.0)
    assert worse_than_mean(error, of_mean, accepted=1.9)


def test_the_mean_image_leaves_the_variance_of_its_own_examples(images, in_memory):
    dataset = in_memory(images)
    found = mean_image_distortion(Gaussian(1.0, "identity"), dataset, images, "re")
    assert found.mean().item() / 16 == pytest.approx(images.var(0, correction=0).mean().item(), rel=1e-5)


def test_the_mean_of_bits_leaves_their_entropy_and_a_bit_never_seen_a_finite_number(in_memory):
    bits = torch.zeros(98, 2)
    bits[:49, 0] = 1
    dataset = in_memory(bits)
    half, never = np.log(2), -np.log(99 / 100)
    assert mean_image_distortion(Bernoulli(), dataset, bits, "nll").numpy() == pytest.approx(
        np.full(98, half + never), rel=1e-5
    )
    unseen = mean_image_distortion(Bernoulli(), dataset, torch.ones(1, 2), "nll")
    assert unseen.item() == pytest.approx(half + np.log(100), rel=1e-5)


def test_a_trial_restored_from_a_checkpoint_without_the_sums_ends_with_an_outcome(
    images, in_memory, trial, finish, tmp_path
):
    """As checkpoints were written before they were kept; all but the sums goes on as if never interrupted."""

    def start():
        return trial(in_memory(images), objective={"kind": "geco"}, batch_size=32, epochs=40, lr=SMALL_LR)

    undisturbed, interrupted, restored = start(), start(), start()
    expected = finish(undisturbed)
    for _ in range(20):
        interrupted.train_epoch()
    whole = interrupted.checkpoint()
    for name in ("late_sum", "late_squares", "late_count"):
        del whole.groups["state"][name]
    checkpoints.write(tmp_path / "checkpoint", whole)
    restored.restore(checkpoints.read(tmp_path / "checkpoint"))
    assert finish(restored).outcome == expected.outcome
    assert expected.outcome in ("ok", "unsettled", "unmet")
