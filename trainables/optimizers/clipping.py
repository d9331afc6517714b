"""Gradients within bounds."""

from __future__ import annotations

import torch
from torch import Tensor


def global_norm(gradients: list[Tensor]) -> Tensor:
    """√Σ|g|² over all parameters.

    Parameters
    ----------
    gradients
        Of all parameters.

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> global_norm([torch.tensor([3.0, 0.0]), torch.tensor(4.0)]).item()
    5.0
    """
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    return norm


def clip_by_norm(gradients: list[Tensor], norm: Tensor, bound: float) -> list[Tensor]:
    """Gradients scaled so that their global norm is at most `bound`.

    Parameters
    ----------
    gradients
        Of all parameters.
    norm
        Their global norm.
    bound
        Above 0.

    Returns
    -------
    list of Tensor
        Unchanged where the norm is within the bound.
    """
    scale = (bound / (norm + 1e-6)).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


def clip_by_value(gradients: list[Tensor], bound: float) -> list[Tensor]:
    """Gradients with each element within [−bound, bound].

    Parameters
    ----------
    gradients
        Of all parameters.
    bound
        Above 0.

    Returns
    -------
    list of Tensor
        In the same order.
    """
    return [gradient.clamp(-bound, bound) for gradient in gradients]
