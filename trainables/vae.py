"""A trained VAE to work with: encode, decode, sample, reconstruct."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from trainables import checkpoint as checkpoints
from trainables import learned_sigma
from trainables.checkpoint import Checkpoint
from trainables.config import TrialConfig, UserModel
from trainables.distributions import reparameterise
from trainables.errors import UserError
from trainables.global_settings import fresh
from trainables.identity import Identity, versions
from trainables.models import code_of
from trainables.random_streams import generator
from trainables.step import Program, decoded_mean
from trainables.trainer import build_program

__all__ = ["Vae"]


class Vae:
    """The model of a checkpoint. Examples have their own shape, [N, *shape], in the units it was trained on.

    config: the configuration it was trained with. shape: of one example. identity: of the data and the code that it
    was trained with.
    """

    def __init__(self, checkpoint: Checkpoint, program: Program | None = None, model: str | None = None) -> None:
        """program: of the trainer that made the checkpoint, else built anew.

        model: the `package.module:factory` that may be imported for it. A checkpoint alone imports nothing: raises
        UserError where it names a factory that `model` does not.
        """
        self.config: TrialConfig = checkpoint.config
        self.shape = checkpoint.shape
        self.identity = checkpoint.identity
        self._params = dict(checkpoint.groups["params"])
        self._program = program or self._built(model)

    @classmethod
    def from_file(cls, path: str | Path, device: str = "cpu", model: str | None = None) -> Vae:
        """The model in a checkpoint file; raises DataError for any other file, UserError as the class does."""
        return cls(checkpoints.read(Path(path), device), model=model)

    @fresh()
    def _built(self, model: str | None) -> Program:
        kind = self.config.model.kind
        if isinstance(self.config.model, UserModel) and model is None:
            raise UserError(
                f"the model was made by {kind}, which a checkpoint may not import by itself; if you trust that code, "
                f'allow it with load(…, model="{kind}")'
            )
        if model not in (None, kind):
            raise UserError(f'the model is of kind {kind}, not {model}; load it with model="{kind}"')
        program = build_program(self.config, self.shape, total_steps=1)
        if isinstance(self.config.model, UserModel):
            self._check_same_parameters(program)
        return program

    def _check_same_parameters(self, program: Program) -> None:
        """A factory may have changed since; parameters it does not have would be left at their initial values."""
        made = {name: value.shape for name, value in program.model.init(0, torch.device("cpu")).items()}
        kept = {name: value.shape for name, value in self._params.items() if name != learned_sigma.PARAMETER}
        differing = [name for name in {**made, **kept} if made.get(name) != kept.get(name)]
        if differing:
            raise UserError(
                f"{self.config.model.kind} makes another {differing[0]} today than the one that was trained; load the "
                "model with the code it was trained with"
            )

    @property
    def identity_here(self) -> Identity:
        """The code and the versions that it works with here; of data it needs none."""
        return Identity(code=code_of(self._program.model), versions=versions())

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x). x [N, *shape] → two of [N, M]."""
        return self._program.model.encode(self._params, x.reshape(len(x), -1).float())

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z). z [N, M] → [N, *shape]."""
        mean = decoded_mean(self._program, self._program.model.decode(self._params, z))
        return mean.reshape(len(z), *self.shape)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n means of p(x|z), z drawn from the prior. → [n, *shape]."""
        device = next(iter(self._params.values())).device
        draw = generator(device, seed, "sample")
        return self.decode(torch.randn(n, self._program.model.latent_dim, generator=draw, device=device))

    def reconstruct(self, x: Tensor, seed: int | None = None) -> Tensor:
        """The mean of p(x|z) at z = E q(z|x), or at a draw from q(z|x) where a seed is given. [N, *shape] → same."""
        mean, log_variance = self.encode(x)
        if seed is None:
            return self.decode(mean)
        noise = torch.randn(mean.shape, generator=generator(mean.device, seed, "reconstruct"), device=mean.device)
        return self.decode(reparameterise(mean, log_variance, noise))
