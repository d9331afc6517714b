"""A VAE's networks as pure functions of their parameters, so that several trials can share one step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from trainables.config.models import ModelConfig
from trainables.random_streams import generator

T = TypeVar("T")
Params = dict[str, Tensor]
Buffers = dict[str, Tensor]


class Model(ABC):
    """Encoder and decoder of a VAE with a diagonal Gaussian posterior.

    Data are flat, [B, D]; an architecture that needs another shape folds them itself. Parameters are named `encoder.…`
    and `decoder.…`, since learning rates can differ between the two.

    Attributes
    ----------
    latent_dim
        M, the number of latents.
    batched
        Whether `encode` and `decode` also take the parameters of N members at once, each with a leading member axis;
        x and z are [N, B, …] then, or [B, …] for all. Where they do not, members are taken one after the other.
    """

    batched: ClassVar[bool] = False
    latent_dim: int

    @classmethod
    @abstractmethod
    def of(cls, config: ModelConfig, shape: tuple[int, ...]) -> Model:
        """The model of a configuration.

        Parameters
        ----------
        config
            Its fields, those of its kind in `trainables/config/models.py`.
        shape
            Of one example, without the batch.

        Returns
        -------
        Model
            Without parameters; `init` draws them.

        Raises
        ------
        ConfigError
            It cannot take examples of this shape.
        """

    @abstractmethod
    def init(self, seed: int, device: torch.device) -> Params:
        """Draw the initial parameters, each as a function of the seed, its name and its shape.

        Parameters
        ----------
        seed
            The configuration's `seed`.
        device
            Where they are kept.

        Returns
        -------
        dict of str to Tensor
            By name.
        """

    def buffers(self, device: torch.device) -> Buffers:
        """The tensors that it keeps between steps without training them, such as running statistics; none by default.

        `encode` and `decode` get the buffers among the parameters. In a train step that is a dictionary in which they
        may replace a buffer by its next value.

        Parameters
        ----------
        device
            Where they are kept.

        Returns
        -------
        dict of str to Tensor
            By name, as they are before the first step.
        """
        return {}

    @abstractmethod
    def encode(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior q(z|x) = N(mean, diag exp(log_variance)).

        Parameters
        ----------
        params
            The parameters by name, with the buffers among them.
        x
            Examples, [B, D].

        Returns
        -------
        tuple of Tensor
            Mean and log-variance, [B, M] each.
        """

    @abstractmethod
    def decode(self, params: Mapping[str, Tensor], z: Tensor) -> Tensor:
        """The last layer's output: logits where `model.output` applies a sigmoid to it.

        Parameters
        ----------
        params
            The parameters by name, with the buffers among them.
        z
            Latents, [B, M].

        Returns
        -------
        Tensor
            [B, D].
        """

    def encode_members(self, params: MutableMapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """`encode` of N members.

        Parameters
        ----------
        params
            By name, [N, …].
        x
            Examples of each, [N, B, D], or of all, [B, D].

        Returns
        -------
        tuple of Tensor
            Mean and log-variance, [N, B, M] each.
        """
        if self.batched:
            return self.encode(params, x)
        mean, log_variance = zip(*_one_by_one(self.encode, params, x), strict=True)
        return torch.stack(mean), torch.stack(log_variance)

    def decode_members(self, params: MutableMapping[str, Tensor], z: Tensor) -> Tensor:
        """`decode` of N members.

        Parameters
        ----------
        params
            By name, [N, …].
        z
            Latents of each, [N, B, M], or of all, [B, M].

        Returns
        -------
        Tensor
            [N, B, D].
        """
        return self.decode(params, z) if self.batched else torch.stack(_one_by_one(self.decode, params, z))


def _one_by_one(
    side: Callable[[Mapping[str, Tensor], Tensor], T], params: MutableMapping[str, Tensor], x: Tensor
) -> list[T]:
    """What a side gives for each member. A buffer that it replaces among the parameters is replaced there too."""
    columns = zip(*(value.unbind() for value in params.values()), strict=True)
    members = [dict(zip(params, column, strict=True)) for column in columns]
    given = [dict(member) for member in members]
    found = [side(member, x if x.ndim == 2 else x[i].clone()) for i, member in enumerate(members)]
    for name in params:
        if any(member[name] is not before[name] for member, before in zip(members, given, strict=True)):
            params[name] = torch.stack([member[name] for member in members])
    return found


def initial_uniform(name: str, shape: tuple[int, ...], fan_in: int, seed: int, device: torch.device) -> Tensor:
    """Draw a parameter from U(−1/√fan_in, 1/√fan_in), torch's default for linear layers.

    It is drawn on the CPU, so that all devices begin with the same values.

    Parameters
    ----------
    name, shape
        Of the parameter.
    fan_in
        The inputs of a unit.
    seed
        The configuration's `seed`.
    device
        Where it is kept.

    Returns
    -------
    Tensor
        A function of seed, name and shape.

    Examples
    --------
    >>> initial_uniform("encoder.weight", (2, 4), 4, seed=0, device=torch.device("cpu")).abs().max() <= 0.5
    tensor(True)
    """
    bound = 1 / math.sqrt(fan_in)
    values = torch.rand(shape, generator=generator("cpu", seed, f"init/{name}"))
    return ((2 * values - 1) * bound).to(device)


def linear_params(name: str, n_in: int, n_out: int, seed: int, device: torch.device) -> Params:
    """Draw the initial parameters of a `linear` layer, as `initial_uniform` does.

    Parameters
    ----------
    name
        Of the layer.
    n_in, n_out
        Its inputs and outputs.
    seed, device
        As for `initial_uniform`.

    Returns
    -------
    dict of str to Tensor
        `name.weight` [n_out, n_in] and `name.bias` [n_out].
    """
    return {
        f"{name}.weight": initial_uniform(f"{name}.weight", (n_out, n_in), n_in, seed, device),
        f"{name}.bias": initial_uniform(f"{name}.bias", (n_out,), n_in, seed, device),
    }
