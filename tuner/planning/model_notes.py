"""What a plan says of a user's own models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.space import Space, assemble
from trainables.config import TrialConfig
from trainables.config.paths import unflatten
from trainables.data.dataset import DataFacts
from trainables.models.inspection import check_user_model

__all__ = ["model_notes"]


def model_notes(
    space: Space,
    base: Mapping[str, Any],
    default: TrialConfig,
    facts: DataFacts,
    resolved: Callable[[Mapping[str, Any]], TrialConfig],
) -> list[str]:
    """On the user's own models that the sweep can draw; an error where one cannot be trained."""
    domain = space.dimensions.get("model.kind")
    found = []
    for kind in domain.levels() if domain else (default.model.kind,):
        tree = unflatten({**base, "model.kind": kind})
        found += check_user_model(resolved(assemble(tree, space, space.default(tree))).model, facts.shape)
    return found
