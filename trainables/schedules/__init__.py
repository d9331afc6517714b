"""β, the pixel σ and the learning rate as functions of the optimiser step.

Every schedule is a pure function of (configuration, steps, budget): `steps` is an array of step numbers 0 … T−1, the
result the value used IN that step. Durations up to 1 are fractions of the budget T.
"""

from trainables.schedules.beta import beta_at, sigma_factor_at
from trainables.schedules.curves import Curve
from trainables.schedules.lr import (
    SCALING_NAMES,
    batch_size_factor,
    lr_at,
    rate_in_use,
    scaled_by,
    scaling_factor,
    scaling_of,
)
from trainables.schedules.phases import Phases, phases_of

__all__ = [
    "SCALING_NAMES",
    "Curve",
    "Phases",
    "batch_size_factor",
    "beta_at",
    "lr_at",
    "phases_of",
    "rate_in_use",
    "scaled_by",
    "scaling_factor",
    "scaling_of",
    "sigma_factor_at",
]
