"""Schedules for β, and free bits: the hand-tuned ways to keep the KL term from collapsing the code."""

from search_spaces.domains import Choice, Float
from search_spaces.space import Space, one_of

BETA_END = Float(0.1, 4, log=True)

LINEAR = Space(
    "linear",
    {"objective.kind": "elbo", "beta.kind": "linear"},
    {"beta.end": BETA_END, "beta.warmup": Float(0.0, 0.5)},
)

# Periods divide the budget: a run that ended in mid-ramp would be judged at a β below its own.
CYCLICAL = Space(
    "cyclical",
    {"objective.kind": "elbo", "beta.kind": "cyclical"},
    {"beta.end": BETA_END, "beta.period": Choice((0.5, 0.25, 0.2, 0.125, 0.1)), "beta.ratio": Float(0.3, 0.8)},
)

FREE_BITS = Space("free-bits", {"objective.kind": "free-bits"}, {"objective.free_bits": Float(0.02, 1, log=True)})

HAND_ANNEALED = one_of("", "beta.kind", LINEAR, CYCLICAL)

ANNEALING = one_of("annealing", "objective.kind", HAND_ANNEALED, FREE_BITS)
