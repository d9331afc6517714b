"""A trained VAE to work with: encode, decode, sample, reconstruct."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.models import UserModel
from trainables.data.dataset import memory_bytes
from trainables.distributions import reparameterise
from trainables.errors import UserError
from trainables.files import checkpoint as checkpoints
from trainables.files.checkpoint import Checkpoint
from trainables.global_settings import fresh
from trainables.identity import Identity, versions
from trainables.models import code_of
from trainables.out_of_memory import is_out_of_memory
from trainables.program import Program, build_program
from trainables.random_streams import generator
from trainables.user_warnings import warn_user

Values = Tensor | ArrayLike
RANGE_MARGIN = 0.1
"""The part of the range of its data by which a value may be outside it without a warning."""


class Vae:
    """The model of a checkpoint. Examples have their own shape, [N, *shape], in the units that it was trained on.

    Parameters
    ----------
    checkpoint
        As `trainables.files.checkpoint.read` returns it.
    program
        The parts of the trainer that made the checkpoint; by default they are built anew.
    model
        For a user's own model: the `package.module:factory` that may be imported. A checkpoint alone imports nothing.

    Attributes
    ----------
    config
        The configuration that it was trained with.
    shape
        Of one example.
    identity
        The data, the code and the versions that it was trained with.

    Raises
    ------
    UserError
        The checkpoint needs a factory that `model` does not name, or that now makes other parameters.

    Examples
    --------
    >>> from trainables.config.paths import parse_config
    >>> tree = {"model": {"kind": "linear-vae", "latent_dim": 2, "sigma": 1.0}, "data": {"likelihood": "gaussian"}}
    >>> config = parse_config(tree)
    >>> params = build_program(config, (4, 4), total_steps=1).model.init(0, torch.device("cpu"))
    >>> vae = Vae(Checkpoint(config, 1, (4, 4), {"params": params}))
    >>> mean, log_variance = vae.encode(torch.zeros(5, 4, 4))
    >>> list(mean.shape), list(vae.decode(mean).shape), list(vae.sample(3, seed=0).shape)
    ([5, 2], [5, 4, 4], [3, 4, 4])
    """

    def __init__(self, checkpoint: Checkpoint, program: Program | None = None, model: str | None = None) -> None:
        self.config: TrialConfig = checkpoint.config
        self.shape = checkpoint.shape
        self.identity = checkpoint.identity
        self._params = {**checkpoint.groups["params"], **checkpoint.groups.get("buffers", {})}
        self._range = checkpoint.value_range
        self._program = program or self._built(model)

    @classmethod
    def from_file(cls, path: str | Path, device: str = "cpu", model: str | None = None) -> Vae:
        """The model in a checkpoint file.

        Parameters
        ----------
        path
            The file.
        device
            `cpu` or `cuda`.
        model
            As of the class.

        Returns
        -------
        Vae
            On this device.

        Raises
        ------
        DataError
            The file is not a checkpoint, or is damaged.
        UserError
            As of the class.
        """
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
        """Raise UserError where the factory has changed since: new parameters would keep their initial values."""
        cpu = torch.device("cpu")
        fresh = program.model.init(0, cpu) | program.model.buffers(cpu) | program.likelihood.init(cpu)
        made, kept = ({name: value.shape for name, value in values.items()} for values in (fresh, self._params))
        differing = [name for name in {**made, **kept} if made.get(name) != kept.get(name)]
        if differing:
            raise UserError(
                f"{self.config.model.kind} now makes a different {differing[0]} from the one that was trained; load "
                "the model with the code it was trained with"
            )

    @property
    def identity_here(self) -> Identity:
        """The code and the versions that it runs with here; it needs no data."""
        return Identity(code=code_of(self._program.model), versions=versions())

    @torch.no_grad()
    def encode(self, x: Values) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x). Warns where values lie outside the range of the training data.

        Parameters
        ----------
        x
            Examples, [N, *shape] or [N, D]: a tensor, an array or nested lists.

        Returns
        -------
        tuple of Tensor
            Mean and log-variance, [N, M] each.

        Raises
        ------
        UserError
            The examples have another shape, or are not numbers.
        """
        return self._program.model.encode(self._params, self._examples(x))

    @torch.no_grad()
    def decode(self, z: Values) -> Tensor:
        """The mean of p(x|z).

        Parameters
        ----------
        z
            Latents, [N, M]: a tensor, an array or nested lists.

        Returns
        -------
        Tensor
            [N, *shape].

        Raises
        ------
        UserError
            z has another width, or is not of numbers.
        """
        latents = _tensor("z", z).to(self._device)
        if latents.ndim != 2 or latents.shape[1] != self._latent_dim:
            raise UserError(f"z has shape {tuple(latents.shape)}; this model takes N×{self._latent_dim}")
        mean = self._program.likelihood.mean(self._program.model.decode(self._params, latents))
        return mean.reshape(len(latents), *self.shape)

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """Means of p(x|z), with z drawn from the prior.

        Parameters
        ----------
        n
            How many.
        seed
            Gives the same images each time; without one each call draws anew, from torch's global generator.

        Returns
        -------
        Tensor
            [n, *shape].

        Raises
        ------
        UserError
            n or the seed is not a whole number in its range, or so many samples do not fit in memory.
        """
        _check_whole("n", n, 1)
        draw = self._generator(seed, "sample")
        with self._fitting(n):
            return self.decode(self._program.prior.sample((n, self._latent_dim), draw, self._device))

    @contextmanager
    def _fitting(self, n: int) -> Iterator[None]:
        """Raise UserError where so many samples do not fit in memory, if possible before it is allocated."""
        too_many = UserError(f"n is {n}, and so many samples do not fit in memory; ask for fewer at a time")
        if n * (math.prod(self.shape) + self._latent_dim) * torch.float32.itemsize > memory_bytes(self._device):
            raise too_many
        try:
            yield
        except Exception as error:
            if is_out_of_memory(error):
                raise too_many from None
            raise

    def reconstruct(self, x: Values, seed: int | None = None) -> Tensor:
        """The mean of p(x|z) at z = E q(z|x), or at a draw from q(z|x).

        Parameters
        ----------
        x
            Examples, as for `encode`.
        seed
            Of the draw; None for the mean.

        Returns
        -------
        Tensor
            [N, *shape].

        Raises
        ------
        UserError
            As `encode`.
        """
        mean, log_variance = self.encode(x)
        if seed is None:
            return self.decode(mean)
        noise = torch.randn(mean.shape, generator=self._generator(seed, "reconstruct"), device=mean.device)
        return self.decode(reparameterise(mean, log_variance, noise))

    @property
    def _device(self) -> torch.device:
        return next(iter(self._params.values())).device

    @property
    def _latent_dim(self) -> int:
        return self._program.model.latent_dim

    def _generator(self, seed: int | None, purpose: str) -> torch.Generator | None:
        if seed is None:
            return None
        _check_whole("seed", seed, 0)
        return generator(self._device, seed, purpose)

    def _examples(self, x: Values) -> Tensor:
        """[N, *shape], or flat already, as [N, D]."""
        found = _tensor("x", x)
        if found.shape[1:] not in (self.shape, (math.prod(self.shape),)) or not len(found.shape):
            one = "; of one example give x[None]" if found.shape == self.shape else ""
            raise UserError(
                f"x has shape {tuple(found.shape)}; this model takes N×{'×'.join(map(str, self.shape))}{one}"
            )
        self._warn_of_range(found)
        return found.reshape(len(found), -1 if len(found) else math.prod(self.shape)).to(self._device)

    def _warn_of_range(self, x: Tensor) -> None:
        if n_nan := int(x.isnan().sum()):
            warn_user(f"x has {n_nan} NaN values, and the results of their examples are NaN too; remove or impute them")
            return
        if self._range is None or not x.numel():
            return
        (low, high), found = self._range, (float(x.min()), float(x.max()))
        margin = RANGE_MARGIN * (high - low)
        if not (found[0] >= low - margin and found[1] <= high + margin):
            warn_user(
                f"x has values in [{found[0]:g}, {found[1]:g}] and the model was trained on values in [{low:g}, "
                f"{high:g}]; scale them to that range first"
            )


def _tensor(name: str, value: Values) -> Tensor:
    """Numbers as float32."""
    if isinstance(value, Tensor):
        return _dense(name, value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} is not an array: {error}; give rows of numbers of equal length") from None
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} holds {array.dtype}; allowed: numbers")
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(np.float32))


def _dense(name: str, value: Tensor) -> Tensor:
    if value.is_meta:
        raise UserError(f"{name} is on the device `meta` and has no values; make it on the CPU")
    if value.layout != torch.strided or value.is_nested:
        kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        raise UserError(f"{name} is a {kind} tensor; allowed: a dense one, as .to_dense() or .to_padded_tensor() gives")
    if value.is_complex() or value.is_quantized:
        raise UserError(f"{name} holds {str(value.dtype).removeprefix('torch.')}; allowed: numbers")
    return value.detach().float()


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} is {value!r}; allowed: a whole number from {least} on")
