import math

import numpy as np
import pytest
import torch
import yaml

from trainables.config import DEFAULT_KIND
from trainables.config.paths import parse_config, variants
from trainables.data.dataset import data_facts, load
from trainables.files import checkpoint as checkpoints
from trainables.metrics import evaluation
from trainables.random_streams import generator
from trainables.resolve import resolve
from trainables.training.members import batches_of, noise_of
from trainables.training.step import Members
from trainables.training.trainer import Trainer
from trainables.worker.results import config_yaml

EPOCHS = 4
SMALL = {"conv": {"channels": [4]}}
KINDS = [{family: {"kind": kind, **SMALL.get(kind, {})}} for family in DEFAULT_KIND for kind in variants(family)]
BITS = [{"data": {"binarize": how}} for how in ("dynamic", "fixed", "soft")]
OTHERS = [
    {"objective": {"kind": "geco"}, "data": {"binarize": "dynamic"}},
    {"objective": {"kind": "geco", "kappa": 0.2}, "optimizer": {"clip_norm": 1.0}},
    {"objective": {"kind": "iwae"}, "model": {"learn_sigma": True}, "lr": {"encoder": 0.5}},
    {"objective": {"kind": "free-bits", "free_bits": [0.1, 0, 2]}, "optimizer": {"clip_value": 0.01}},
    {"objective": {"samples": 30}, "optimizer": {"kind": "sgd", "momentum": 0}},
]


@pytest.fixture
def start(tmp_path):
    """A fresh trainer of a configuration, from a file of 70 gray images of 3×4, 48 of them for training."""
    path = tmp_path / "images.npz"
    np.savez(path, x=np.random.default_rng(0).random((70, 3, 4), dtype=np.float32))

    def build(tree):
        tree = {"batch_size": 10, "epochs": EPOCHS, "metrics": {"every": 2}, "device": "cpu", "threads": 1, **tree}
        tree["model"] = {"latent_dim": 3, **tree.get("model", {})}
        tree["data"] = {"name": str(path), **tree.get("data", {})}
        config = parse_config(tree)
        config = resolve(config, data_facts(config.data, tmp_path))
        return Trainer(config, load(config.data, tmp_path, torch.device(config.device)))

    return build


def train(trainer, epochs):
    return [trainer.train_epoch() for _ in range(epochs)]


def numbers(report):
    """What a report says, but for the clock."""
    found = {name: value for name, value in report.metrics.items() if not name.startswith("time/")}
    return report.epoch, found, report.diverged, report.outcome


def tensors(trainer):
    groups = trainer.checkpoint().groups.items()
    return {f"{group}/{name}": value.tolist() for group, values in groups for name, value in values.items()}


@pytest.mark.parametrize("tree", KINDS + BITS + OTHERS, ids=str)
def test_a_trial_restored_from_a_file_goes_on_bit_for_bit(tree, start, tmp_path):
    undisturbed, interrupted = start(tree), start(tree)
    expected = train(undisturbed, EPOCHS)
    train(interrupted, 2)
    checkpoints.write(tmp_path / "checkpoint", interrupted.checkpoint())
    restored = start(tree)
    restored.restore(checkpoints.read(tmp_path / "checkpoint"))
    found = train(restored, EPOCHS - 2)
    assert [numbers(report) for report in found] == [numbers(report) for report in expected[2:]]
    assert tensors(restored) == tensors(undisturbed)


def test_a_trial_of_one_draw_is_the_loop_that_anyone_would_write(start):
    """With the random numbers of (seed, purpose, position); 80 steps, that is into the second block of noise."""
    trainer = start({"beta": {"kind": "linear"}, "epochs": 20, "seed": 3})
    params = {name: value.detach().clone().requires_grad_() for name, value in trainer.params.items()}
    optimizer = torch.optim.Adam(params.values(), lr=trainer.config.lr.base * math.sqrt(10 / 128))
    for step in range(80):
        if step % 4 == 0:
            order = torch.randperm(48, generator=generator("cpu", 3, "order", step // 4))
        if step % 64 == 0:
            noise = torch.randn(64, 10, 3, generator=generator("cpu", 3, "noise", step // 64))
        x = trainer.dataset.train.take(order[step % 4 * 10 :][:10].numpy())
        mean, log_variance = trainer.program.model.encode(params, x)
        q = torch.distributions.Normal(mean, (log_variance / 2).exp())
        output = trainer.program.model.decode(params, mean + q.scale * noise[step % 64]).sigmoid()
        recon_nll = -torch.distributions.Normal(output, trainer.config.model.sigma).log_prob(x).sum(1).mean()
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
        optimizer.zero_grad()
        (recon_nll + min(1, step / 20) * kl).backward()
        optimizer.step()
    train(trainer, 20)
    torch.testing.assert_close(trainer.params, params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("still", ["encoder", "decoder"])
def test_each_half_of_the_model_learns_at_its_own_rate(still, start):
    trainer = start({"lr": {still: 1e-12}})
    before = {name: value.detach().clone() for name, value in trainer.params.items()}
    train(trainer, 1)
    moved = {name.partition(".")[0] for name, value in trainer.params.items() if not value.allclose(before[name])}
    assert moved == {"encoder", "decoder"} - {still}


@pytest.mark.parametrize("samples", [1, 7, 64, 200])
def test_the_noise_held_at_once_is_64_draws_or_one_steps(samples, start, monkeypatch):
    sizes = []

    def spy(size, **options):
        sizes.append(math.prod(size))
        return randn(size, **options)

    trainer = start({"objective": {"kind": "iwae", "samples": samples}})
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", spy)
    noises = [noise.clone() for _, noise in batches_of(trainer)]
    assert len(noises) == trainer.steps_per_epoch
    assert all(noise.shape == (samples, 10, 3) for noise in noises)
    assert max(sizes) <= max(64, samples) * 10 * 3
    monkeypatch.undo()
    later = next(noise_of(trainer.program, trainer.config, 2, trainer.device))
    torch.testing.assert_close(later, noises[2], rtol=0, atol=0)


@pytest.mark.parametrize("tree", [{}, *OTHERS], ids=str)
def test_a_trial_is_a_function_of_its_configuration_and_seed(tree, start):
    first, second, other = (train(start(tree | {"seed": seed}), EPOCHS)[-1] for seed in (1, 1, 2))
    assert numbers(first) == numbers(second)
    assert numbers(first) != numbers(other)


def test_the_split_does_not_depend_on_the_seed(start):
    first, other = (start({"seed": seed}).dataset for seed in (0, 1))
    assert all(getattr(first, part).equal(getattr(other, part)) for part in ("val", "test"))
    assert np.array_equal(first.train.rows, other.train.rows)


def test_an_exported_configuration_trains_again_to_the_same_numbers(start):
    trainer = start({"objective": {"kind": "geco"}})
    again = start(yaml.safe_load(config_yaml(trainer.config)))
    assert again.config == trainer.config
    for first, second in zip(train(trainer, EPOCHS), train(again, EPOCHS), strict=True):
        assert numbers(second)[1] == pytest.approx(numbers(first)[1], rel=1e-6)


def test_all_trials_of_a_seed_share_their_order_and_noise(start):
    first, other = (
        list(batches_of(start(tree)))
        for tree in ({"lr": {"kind": "clr"}, "objective": {"kind": "geco"}}, {"model": {"kind": "linear-vae"}})
    )
    torch.testing.assert_close(first, other, rtol=0, atol=0)
    assert not first[0][0].equal(first[1][0])
    assert not first[0][1].equal(first[1][1])


def test_an_epoch_sees_no_example_twice_and_leaves_out_only_the_ragged_rest(start):
    trainer = start({})
    seen = [tuple(row) for batch, _ in batches_of(trainer) for row in batch.tolist()]
    n_train = len(trainer.dataset.train)
    assert len(seen) == len(set(seen)) == 40 < n_train
    assert set(seen) <= set(map(tuple, trainer.dataset.train.tensor(trainer.device).tolist()))


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_the_size_of_an_evaluation_chunk_does_not_show(chunk, start, monkeypatch):
    """11 validation and 11 test images: the last chunk of 3 or 4 is ragged."""
    trainer, chunked = start({"epochs": 1}), start({"epochs": 1})
    expected = numbers(trainer.train_epoch())[1] | trainer.test_metrics()
    monkeypatch.setattr(evaluation, "CHUNK", chunk)
    found = numbers(chunked.train_epoch())[1] | chunked.test_metrics()
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("tree", [{}, {"objective": {"kind": "geco"}}, {"data": {"binarize": "dynamic"}}], ids=str)
def test_an_absurd_learning_rate_is_a_diverged_trial_with_finite_metrics(tree, start):
    report = train(start(tree | {"lr": {"base": 1e30}}), EPOCHS)[-1]
    assert report.diverged
    assert report.outcome is None
    assert all(math.isfinite(value) for value in report.metrics.values())


def test_a_trial_that_learns_has_not_diverged(start):
    assert not train(start({}), 1)[0].diverged


EVERY_EPOCH = {
    *("val/elbo", "val/recon_nll", "val/kl", "val/mse", "val/mse_mean_z", "val/active_units"),
    *("train/loss", "train/recon_nll", "train/kl", "train/grad_norm", "train_eval/mse"),
    *("schedule/lr", "schedule/beta", "time/epoch_s", "time/samples_per_s", "epoch"),
}
NOW_AND_THEN = {
    *("val/agg_kl_gauss", "val/mutual_info", "val/mi_cap", "val/mi_saturated", "val/marginal_kl", "train_eval/elbo")
}
GAUSSIAN = {"val/elbo_cal", "schedule/sigma_eq"}
GECO = {"geco/lambda", "geco/lambda_median", "geco/constraint", "geco/val_violation"}
AT_THE_END = {"geco/violation", "geco/violation_se"}


@pytest.mark.parametrize(
    ("tree", "more"),
    [
        ({}, GAUSSIAN),
        ({"data": {"binarize": "fixed"}}, set()),
        ({"objective": {"kind": "geco"}}, GAUSSIAN | GECO),
        ({"objective": {"kind": "geco"}, "data": {"binarize": "fixed"}}, GECO),
    ],
    ids=lambda part: str(sorted(part)),
)
def test_what_is_reported_and_when(tree, more, start):
    reports = train(start(tree | {"epochs": 3, "metrics": {"every": 2}}), 3)
    costly = EVERY_EPOCH | NOW_AND_THEN | more
    last = costly | (AT_THE_END if more >= GECO else set())
    assert [set(report.metrics) for report in reports] == [EVERY_EPOCH | more, costly, last]
    assert [report.outcome is None for report in reports] == [True, True, False]


def test_the_reported_terms_add_up(start):
    trainer = start({"beta": {"end": 0.5}, "data": {"binarize": "none"}})
    found = train(trainer, EPOCHS)[-1].metrics
    assert found["val/elbo"] == pytest.approx(-found["val/recon_nll"] - found["val/kl"])
    assert found["train/loss"] == pytest.approx(found["train/recon_nll"] + 0.5 * found["train/kl"])
    assert found["schedule/sigma_eq"] == pytest.approx(math.sqrt(0.5) * trainer.config.model.sigma)
    assert found["val/marginal_kl"] == pytest.approx(found["val/kl"] - found["val/mutual_info"])
    n_val = len(trainer.dataset.val)
    assert found["val/mi_cap"] == pytest.approx(math.log(n_val))
    sigma = trainer.config.model.sigma
    nll = 12 * (found["val/mse"] / (2 * sigma**2) + math.log(sigma) + math.log(2 * math.pi) / 2)
    assert found["val/recon_nll"] == pytest.approx(nll)


@pytest.mark.parametrize(("binarize", "distortion"), [("none", "val/mse"), ("fixed", "val/recon_nll")])
def test_gecos_validation_violation_is_relative_to_its_target(binarize, distortion, start):
    trainer = start({"objective": {"kind": "geco"}, "data": {"binarize": binarize}})
    found = train(trainer, 1)[0].metrics
    kappa = trainer.config.objective.kappa
    relative = found["val/mse"] / kappa**2 if binarize == "none" else found["val/recon_nll"] / 12 / kappa
    assert found["geco/val_violation"] == pytest.approx(relative - 1)


def test_gecos_multiplier_is_also_told_as_beta_and_sigma(start):
    gaussian = start({"objective": {"kind": "geco"}})
    found = train(gaussian, 1)[0].metrics
    assert found["schedule/sigma_eq"] == pytest.approx(math.sqrt(1 / (2 * found["geco/lambda"])))
    assert found["schedule/beta"] == pytest.approx((found["schedule/sigma_eq"] / gaussian.config.model.sigma) ** 2)
    bits = train(start({"objective": {"kind": "geco"}, "data": {"binarize": "fixed"}}), 1)[0].metrics
    assert bits["schedule/beta"] == pytest.approx(1 / bits["geco/lambda"])


def test_training_leaves_the_data_as_they_were(vae_data_root):
    config = parse_config({"data": {"binarize": "fixed"}, "epochs": 1, "device": "cpu", "threads": 1})
    config = resolve(config, data_facts(config.data, vae_data_root))
    dataset = load(config.data, vae_data_root, torch.device("cpu"))
    first, second = (Trainer(config, dataset) for _ in range(2))
    assert numbers(first.train_epoch()) == numbers(second.train_epoch())
    assert first.test_metrics() == first.test_metrics()


def spied_hyper(monkeypatch):
    """β and σ of each step's loss, as they are taken."""
    seen = []

    def spy(members, inputs):
        seen.append((float(inputs.hypers[0]["beta"]), float(inputs.scales["sigma"])))
        return step(members, inputs)

    step = Members.step
    monkeypatch.setattr(Members, "step", spy)
    return seen


def test_gqn_anneals_the_sigma_of_the_loss_and_tells_the_beta_it_amounts_to(start, monkeypatch):
    seen = spied_hyper(monkeypatch)
    trainer = start({"beta": {"kind": "gqn", "start": 3.0, "warmup": "10 steps"}, "model": {"sigma": 0.2}})
    reports = train(trainer, EPOCHS)
    betas, sigmas = map(list, zip(*seen, strict=True))
    assert betas == [1.0] * 16
    assert sigmas == pytest.approx([0.2 * (3 - 0.2 * min(step, 10)) for step in range(16)])
    for epoch, report in enumerate(reports, 1):
        assert report.metrics["schedule/sigma_eq"] == pytest.approx(sigmas[4 * epoch - 1])
        assert report.metrics["schedule/beta"] == pytest.approx((sigmas[4 * epoch - 1] / 0.2) ** 2)


@pytest.mark.parametrize("kind", [kind for kind in variants("beta") if kind != "gqn"])
def test_every_other_schedule_leaves_sigma_alone(kind, start, monkeypatch):
    seen = spied_hyper(monkeypatch)
    report = train(start({"beta": {"kind": kind, "end": 0.5}, "model": {"sigma": 0.2}, "epochs": 2}), 2)[-1]
    assert [sigma for _, sigma in seen] == pytest.approx([0.2] * 8)
    assert seen[-1][0] == pytest.approx(report.metrics["schedule/beta"])


def test_an_evaluation_does_not_depend_on_the_schedule(start):
    trained = start({"model": {"sigma": 0.2}})
    train(trained, 1)
    annealed = start({"beta": {"kind": "gqn", "warmup": 1.0}, "model": {"sigma": 0.2}})
    annealed.restore(trained.checkpoint())
    assert annealed.evaluation("val").elbo() == trained.evaluation("val").elbo()
    assert annealed.test_metrics() == trained.test_metrics()
