"""The linear layer of several members, whose bits on a CPU do not depend on how many there are.

The last bits of a matrix product depend on where its matrices begin: at a multiple of 64 bytes, or not. A member's
parameters do (`trainables/layout.py`), its rows are filled up to a multiple of 16, and its gradient is made where it
does. A single input or output has a second beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainables.layout import aligned, aligned_matrices

LEAST = 2
"""Inputs and outputs of a product: one of a single one is computed by other code."""


class _Linear(torch.autograd.Function):
    """x·Wᵀ + b. x [B, n_in] or [N, B, n_in], W [N, n_out, n_in], b [N, n_out] → [N, B, n_out]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x.expand(len(weight), -1, -1), weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_weight = aligned_matrices(weight)
        torch.bmm(gradient.mT, x.expand(len(weight), -1, -1), out=of_weight)
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        if of_x is not None and x.ndim == 2:
            of_x = of_x.sum(0)
        return of_x, of_weight, gradient.sum(1)


def linear(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """x·Wᵀ + b with the parameters `name.weight` and `name.bias`.

    Parameters
    ----------
    params
        By name.
    name
        Of the layer.
    x
        [B, n_in]; where the parameters are of N members also [N, B, n_in].

    Returns
    -------
    Tensor
        [B, n_out], or [N, B, n_out] of N members.

    Examples
    --------
    >>> linear({"a.weight": torch.tensor([[2.0, 0.0]]), "a.bias": torch.tensor([1.0])}, "a", torch.tensor([[3.0, 5.0]]))
    tensor([[7.]])
    """
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    if weight.ndim == 2:
        return linear({f"{name}.weight": weight[None], f"{name}.bias": bias[None]}, name, x)[0]
    n_rows, (n_out, n_in) = x.shape[-2], weight.shape[-2:]
    x = _filled(x, aligned(n_rows) - n_rows, LEAST - n_in)
    weight, bias = _filled(weight, LEAST - n_out, LEAST - n_in), _filled(bias, 0, LEAST - n_out)
    output: Tensor = _Linear.apply(x, weight, bias)
    return output if output.shape[1:] == (n_rows, n_out) else output[:, :n_rows, :n_out]


def _filled(matrices: Tensor, n_rows: int, n_columns: int) -> Tensor:
    """With zeros for so many more rows and columns, where that is above 0."""
    if n_rows <= 0 and n_columns <= 0:
        return matrices
    return functional.pad(matrices, (0, max(0, n_columns), 0, max(0, n_rows)))
