"""Several trials trained together, an epoch at a time."""

from __future__ import annotations

from collections.abc import Sequence

from trainables.training.trainer import Report, Trainer


def train_together(trainers: Sequence[Trainer]) -> list[Report]:
    """Train one epoch of trials of one group.

    Parameters
    ----------
    trainers
        Of equal `group`, at any epochs.

    Returns
    -------
    list of Report
        One each, in their order. Where it raises, none of several trainers has changed.
    """
    return [trainer.train_epoch() for trainer in trainers]
