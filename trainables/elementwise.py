"""Functions of single numbers whose bits do not depend on where in a tensor a number stands.

torch computes the last elements of a tensor, those that do not fill two vector registers, by other code: its sigmoid
and softplus of a number differ there in the last bit, so that a trial would depend on how many others share its step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value = (0.5 * x).tanh_().mul_(0.5).add_(0.5)
        ctx.save_for_backward(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        return gradient * torch.addcmul(value, value, value, value=-1)


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sharpness: float) -> Tensor:
        ctx.sharpness = sharpness
        ctx.save_for_backward(x)
        return x.abs().mul_(-sharpness).exp_().log1p_().div_(sharpness).add_(x.clamp(min=0))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * sigmoid(ctx.sharpness * x), None


def sigmoid(x: Tensor) -> Tensor:
    """1/(1 + e⁻ˣ) = ½ + ½·tanh(x/2).

    Parameters
    ----------
    x
        Of any shape.

    Returns
    -------
    Tensor
        Of the same shape, in [0, 1].

    Examples
    --------
    >>> sigmoid(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    value: Tensor = _Sigmoid.apply(x)
    return value


def softplus(x: Tensor, sharpness: float = 1.0) -> Tensor:
    """(1/s)·ln(1 + eˢˣ) = max(x, 0) + (1/s)·ln(1 + e^−|sx|).

    Parameters
    ----------
    x
        Of any shape.
    sharpness
        s.

    Returns
    -------
    Tensor
        Of the same shape.

    Examples
    --------
    >>> softplus(torch.tensor([-1000.0, 0.0, 9.0]))
    tensor([0.0000, 0.6931, 9.0001])
    """
    value: Tensor = _Softplus.apply(x, sharpness)
    return value
