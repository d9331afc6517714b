"""What a model keeps without training it: it travels with the parameters from step to step and through a checkpoint."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from trainables.config.paths import parse_config
from trainables.files import checkpoint as checkpoints
from trainables.models import LinearVaeModel
from trainables.program import build_program
from trainables.training.step import advance, members_step, train_step
from trainables.vae import Vae

CPU = torch.device("cpu")
D, M, B, STEPS = 6, 3, 5, 4
MOMENTUM = 0.1
OLDER = Path(__file__).parent / "older"


@dataclass(frozen=True)
class Centred(LinearVaeModel):
    """Takes from every batch the running mean of those before it."""

    def buffers(self, device):
        return {"encoder.mean": torch.zeros(self.n_elements, device=device)}

    def encode(self, params, x):
        mean = params["encoder.mean"]
        params["encoder.mean"] = mean + MOMENTUM * (x.mean(0) - mean)
        return super().encode(params, x - mean)


@pytest.fixture
def program():
    tree = {"data": {"name": "memory.npy", "likelihood": "gaussian"}, "model": {"latent_dim": M, "sigma": 0.8}}
    return replace(build_program(parse_config(tree), (D,), STEPS), model=Centred(D, M))


def begun(program, seed=0):
    params = program.model.init(seed, CPU)
    return params, program.model.buffers(CPU), program.optimizer.init(params), {}


def inputs(step):
    draw = torch.Generator().manual_seed(step)
    hyper = {"beta": 1.0, "sigma": 0.8, "lr": 1e-2, "progress": step / STEPS}
    tensors = {name: torch.tensor(value) for name, value in hyper.items()}
    return torch.rand(B, D, generator=draw), torch.randn(1, B, M, generator=draw), tensors


def running_mean():
    mean = torch.zeros(D)
    for step in range(STEPS):
        mean = mean + MOMENTUM * (inputs(step)[0].mean(0) - mean)
    return mean


def test_a_step_gives_the_next_buffers_and_leaves_those_it_was_given(program):
    state = begun(program)
    for step in range(STEPS):
        given = state[1]["encoder.mean"].clone()
        *after, _ = train_step(program, *state, *inputs(step))
        assert state[1]["encoder.mean"].equal(given)
        state = tuple(after)
    torch.testing.assert_close(state[1]["encoder.mean"], running_mean())


def test_the_step_in_place_and_that_of_several_members_give_the_same(program):
    params, buffers, moments, state = begun(program)
    params = {name: value.requires_grad_() for name, value in params.items()}
    many = [torch.utils._pytree.tree_map(lambda value: torch.stack([value] * 2), part) for part in begun(program)[:2]]
    count = {name: torch.zeros(2) for name in many[0]}
    many += [{**program.optimizer.init(many[0]), "count": count}, {}]
    for step in range(STEPS):
        batch, noise, hyper = inputs(step)
        buffers, state, _ = advance(program, params, buffers, moments, state, batch, noise, hyper, 1e-2)
        shared = [torch.stack([value] * 2) for value in (batch, noise)]
        *many, _ = members_step(program, *many, *shared, {name: torch.stack([v] * 2) for name, v in hyper.items()})
    torch.testing.assert_close(buffers["encoder.mean"], running_mean())
    torch.testing.assert_close(many[1]["encoder.mean"], torch.stack([running_mean()] * 2))


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
