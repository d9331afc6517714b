"""Gradients within bounds, those of each member by themselves."""

from __future__ import annotations

import torch
from torch import Tensor


def global_norm(gradients: Tensor) -> Tensor:
    """√Σ|g|² over all parameters.

    Parameters
    ----------
    gradients
        [..., P].

    Returns
    -------
    Tensor
        [...].

    Examples
    --------
    >>> global_norm(torch.tensor([[3.0, 0.0, 4.0]]))
    tensor([5.])
    """
    norm: Tensor = torch.linalg.vector_norm(gradients, dim=-1)
    return norm


def clip_by_norm(gradients: Tensor, bound: float) -> None:
    """Scale gradients in place so that their global norm is at most `bound`; those within it stay as they are.

    Parameters
    ----------
    gradients
        [..., P].
    bound
        Above 0.
    """
    gradients.mul_((bound / (global_norm(gradients) + 1e-6)).clamp(max=1.0)[..., None])
