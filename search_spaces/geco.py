"""GECO's reconstruction constraint, alone and as one choice beside hand-annealing."""

from search_spaces.annealing import FREE_BITS, HAND_ANNEALED
from search_spaces.domains import Float
from search_spaces.space import Space, one_of

__all__ = ["GECO", "GECO_VS_ANNEALING"]

# Below .45 κ_max the constraint is out of a small model's reach, above κ_max it is slack.
GECO = Space(
    "geco",
    {"objective.kind": "geco"},
    {"objective.kappa": Float(0.45, 0.8, log=True, relative_to="kappa_max")},
)

GECO_VS_ANNEALING = one_of("geco-vs-annealing", "objective.kind", HAND_ANNEALED, FREE_BITS, GECO)
