"""What a plan says of the updates that GECO's trials get."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.space import Space
from trainables.config import TrialConfig
from trainables.config.objectives import Geco
from trainables.config.paths import parse_config
from trainables.data.dataset import DataFacts
from trainables.objectives import geco_notes, updates_to_settle
from tuner.planning.rungs import largest_batch


def budget_notes(space: Space, default: TrialConfig, given: Sequence[TrialConfig], facts: DataFacts) -> list[str]:
    """On the shortest budget of a GECO trial: of the given ones, or without them of those that the space can draw."""
    found = [config for config in given if isinstance(config.objective, Geco)] if given else _drawn(space, default)
    if not found:
        return []
    return geco_notes(max(found, key=lambda config: updates_to_settle(config) * config.batch_size), facts)


def _drawn(space: Space, default: TrialConfig) -> list[TrialConfig]:
    """The slowest to settle that the space can draw under GECO: of the largest batch, under the slowest optimiser."""
    kinds, optimizers = space.dimensions.get("objective.kind"), space.dimensions.get("optimizer.kind")
    if "geco" not in (kinds.levels() if kinds else (default.objective.kind,)):
        return []
    drawn = (
        [parse_config({"optimizer": {"kind": kind}}).optimizer for kind in optimizers.levels()] if optimizers else []
    )
    slowest = max(drawn or [default.optimizer], key=lambda optimizer: optimizer.settling)
    return [default.model_copy(update={"batch_size": largest_batch(space, default), "optimizer": slowest})]
