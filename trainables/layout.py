"""Where the parameters of a model lie in one flat tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Names and shapes of P values in all, one parameter after the other.

    Attributes
    ----------
    names
        Of the parameters.
    shapes
        Of each.

    Examples
    --------
    >>> layout = Layout.of({"a": torch.zeros(2, 2), "b": torch.ones(1)})
    >>> layout.flat({"a": torch.zeros(2, 2), "b": torch.ones(1)})
    tensor([0., 0., 0., 0., 1.])
    >>> layout.views(torch.arange(10.0).view(2, 5))["b"]  # of two members
    tensor([[4.],
            [9.]])
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, params: Mapping[str, Tensor]) -> Layout:
        """The layout of some parameters, in their order."""
        return cls(tuple(params), tuple(tuple(value.shape) for value in params.values()))

    @property
    def sizes(self) -> list[int]:
        """The number of values of each parameter."""
        return [math.prod(shape) for shape in self.shapes]

    def flat(self, params: Mapping[str, Tensor]) -> Tensor:
        """All values one after the other.

        Parameters
        ----------
        params
            By name.

        Returns
        -------
        Tensor
            [P].
        """
        return torch.cat([params[name].detach().reshape(-1) for name in self.names])

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
        parts = torch.split(flat, self.sizes, dim=-1)
        return {
            name: part.view((*flat.shape[:-1], *shape))
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }
