"""One objective per file; `OBJECTIVES` is the one place where a kind becomes an objective."""

from __future__ import annotations

from trainables.config import TrialConfig
from trainables.objectives.base import Constants, Ending, EpochEnd, Hyper, Objective, State, Terms
from trainables.objectives.elbo import ElboObjective
from trainables.objectives.free_bits import FreeBitsObjective
from trainables.objectives.geco import MET_FROM, GecoObjective, Violation, geco_notes, updates_to_settle
from trainables.objectives.iwae import IwaeObjective

__all__ = [
    "MET_FROM",
    "OBJECTIVES",
    "Constants",
    "ElboObjective",
    "Ending",
    "EpochEnd",
    "FreeBitsObjective",
    "GecoObjective",
    "Hyper",
    "IwaeObjective",
    "Objective",
    "State",
    "Terms",
    "Violation",
    "build_objective",
    "geco_notes",
    "updates_to_settle",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "elbo": ElboObjective,
    "free-bits": FreeBitsObjective,
    "geco": GecoObjective,
    "iwae": IwaeObjective,
}


def build_objective(config: TrialConfig, n_elements: int, total_steps: int) -> Objective:
    """The objective of a configuration.

    Parameters
    ----------
    config
        A resolved configuration.
    n_elements
        D, the elements of an example.
    total_steps
        The budget.

    Returns
    -------
    Objective
        Without a state; `init` gives the first.
    """
    return OBJECTIVES[config.objective.kind].of(config, n_elements, total_steps)
