"""Where the parameters of a model lie in one flat tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

ALIGNED = 16
"""The values, of 64 bytes, at whose multiples matrices begin: the last bits of a product on a CPU depend on that."""


def aligned(size: int) -> int:
    """The next multiple of 16.

    Parameters
    ----------
    size
        At least 0.

    Returns
    -------
    int
        At least as large.

    Examples
    --------
    >>> aligned(16), aligned(17)
    (16, 32)
    """
    return -(-size // ALIGNED) * ALIGNED


def aligned_matrices(like: Tensor) -> Tensor:
    """Matrices without values, each from a multiple of 16 values on.

    Parameters
    ----------
    like
        [N, …], of that shape and kind.

    Returns
    -------
    Tensor
        [N, …].
    """
    size = math.prod(like.shape[1:])
    return like.new_empty(len(like), aligned(size))[:, :size].view(like.shape)


@dataclass(frozen=True)
class Layout:
    """Names and shapes of parameters that lie one after the other, each from a multiple of 16 values on: P in all.

    Attributes
    ----------
    names
        Of the parameters.
    shapes
        Of each.

    Examples
    --------
    >>> layout = Layout.of({"a": torch.zeros(2, 2), "b": torch.ones(1)})
    >>> flat = layout.flat({"a": torch.zeros(2, 2), "b": torch.ones(1)})
    >>> list(flat.shape), flat[16]
    ([32], tensor(1.))
    >>> layout.views(torch.arange(64.0).view(2, 32))["b"]  # of two members
    tensor([[16.],
            [48.]])
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, params: Mapping[str, Tensor]) -> Layout:
        """The layout of some parameters, in their order."""
        return cls(tuple(params), tuple(tuple(value.shape) for value in params.values()))

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """Where each parameter begins, and P."""
        return tuple(accumulate((aligned(math.prod(shape)) for shape in self.shapes), initial=0))

    def flat(self, params: Mapping[str, Tensor]) -> Tensor:
        """All values one after the other, with zeros between them.

        Parameters
        ----------
        params
            By name.

        Returns
        -------
        Tensor
            [P].
        """
        first = params[self.names[0]]
        flat = torch.zeros(self.edges[-1], dtype=first.dtype, device=first.device)
        for name, view in self.views(flat).items():
            view.copy_(params[name].detach())
        return flat

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Each parameter as a view.

        Parameters
        ----------
        flat
            [P], or [N, P] of N members.

        Returns
        -------
        dict of str to Tensor
            By name, of its own shape, behind a member axis where there is one.
        """
        lead = flat.shape[:-1]
        return {
            name: flat[..., start : start + math.prod(shape)].view((*lead, *shape))
            for name, shape, start in zip(self.names, self.shapes, self.edges, strict=False)
        }
