"""What a model keeps without training it: it travels with the parameters from step to step and through a checkpoint."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from stepping import initial, inputs_of, members_of

from trainables.config.paths import parse_config
from trainables.files import checkpoint as checkpoints
from trainables.models import LinearVaeModel
from trainables.program import build_program
from trainables.vae import Vae

CPU = torch.device("cpu")
D, M, B, STEPS = 6, 3, 5, 4
MOMENTUM = 0.1
OLDER = Path(__file__).parent / "older"


@dataclass(frozen=True)
class Centred(LinearVaeModel):
    """Takes from every batch the running mean of those before it."""

    batched = False

    def buffers(self, device):
        return {"encoder.mean": torch.zeros(self.n_elements, device=device)}

    def encode(self, params, x):
        mean = params["encoder.mean"]
        params["encoder.mean"] = mean + MOMENTUM * (x.mean(0) - mean)
        return super().encode(params, x - mean)


def batch_of(step, seed):
    return torch.rand(B, D, generator=torch.Generator().manual_seed(10 * seed + step), dtype=torch.float64)


def running_mean(seed):
    mean = torch.zeros(D, dtype=torch.float64)
    for step in range(STEPS):
        mean = mean + MOMENTUM * (batch_of(step, seed).mean(0) - mean)
    return mean


def test_a_step_gives_each_member_its_next_buffers_and_leaves_those_it_was_given():
    tree = {"data": {"name": "memory.npy", "likelihood": "gaussian"}, "model": {"latent_dim": M, "sigma": 0.8}}
    program = replace(build_program(parse_config(tree), (D,), STEPS), model=Centred(D, M))
    members = members_of([program] * 2, [initial(program, seed) for seed in range(2)])
    hyper = {"beta": 1.0, "sigma": 0.8, "progress": 0.0}
    for step in range(STEPS):
        given = members.buffers["encoder.mean"]
        before = given.clone()
        batches = [batch_of(step, seed) for seed in range(2)]
        members.step(inputs_of(members, batches, [torch.zeros(1, B, M).double()] * 2, [hyper] * 2, [1e-2] * 2))
        assert given.equal(before)
    torch.testing.assert_close(members.buffers["encoder.mean"], torch.stack([running_mean(0), running_mean(1)]))


@pytest.fixture
def centred(in_memory, trial, monkeypatch):
    monkeypatch.setattr("trainables.program.build_model", lambda config, shape: Centred(D, M))
    x = torch.rand(40, D, generator=torch.Generator().manual_seed(0))
    return lambda: trial(in_memory(x), model={"latent_dim": M}, batch_size=10, epochs=2)


def test_a_trial_goes_on_from_a_checkpoint_with_them_and_evaluations_leave_them(centred, tmp_path):
    undisturbed, interrupted, restored = centred(), centred(), centred()
    undisturbed.train_epoch()
    expected = undisturbed.train_epoch()
    interrupted.train_epoch()
    checkpoints.write(tmp_path / "checkpoint", interrupted.checkpoint())
    restored.restore(checkpoints.read(tmp_path / "checkpoint"))
    assert restored.buffers["encoder.mean"].equal(interrupted.buffers["encoder.mean"])
    before = restored.buffers["encoder.mean"].clone()
    restored.evaluation("val")
    assert restored.buffers["encoder.mean"].equal(before)
    assert restored.train_epoch().metrics["val/elbo"] == expected.metrics["val/elbo"]


def test_a_finished_model_works_with_them(centred, tmp_path):
    trainer = centred()
    trainer.train_epoch()
    checkpoints.write(tmp_path / "checkpoint", trainer.checkpoint())
    x = trainer.dataset.floats(trainer.dataset.val)
    mean, _ = Vae.from_file(tmp_path / "checkpoint").encode(x)
    expected = trainer.program.model.encode(trainer.values, x)[0]
    torch.testing.assert_close(mean, expected)
    assert not mean.equal(trainer.program.model.encode({**trainer.values, "encoder.mean": torch.zeros(D)}, x)[0])


def test_a_checkpoint_from_before_there_were_any_goes_on(in_memory, trial, finish):
    """Of the first epoch of two, on the first 200 digits, with a learned σ."""
    found = checkpoints.read(OLDER / "linear-vae.safetensors")
    x = torch.tensor(load_digits().images[:200] / 16, dtype=torch.float32)
    tree = checkpoints.plain(found.config)
    tree = {name: tree[name] for name in ("model", "lr", "batch_size", "epochs")}
    undisturbed, restored = (trial(in_memory(x), **tree) for _ in range(2))
    restored.restore(found)
    assert restored.epoch == 1
    assert restored.buffers == {}
    assert finish(restored).metrics["val/elbo"] == pytest.approx(finish(undisturbed).metrics["val/elbo"], rel=0.2)
