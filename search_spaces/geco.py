"""GECO's reconstruction constraint, alone and as one choice beside hand-annealing."""

from dataclasses import replace

from search_spaces.annealing import FREE_BITS, HAND_ANNEALED
from search_spaces.domains import Float
from search_spaces.space import Space, one_of

__all__ = ["GECO", "GECO_VS_ANNEALING", "within_reach"]

# By constraint. Below the range it is out of a small model's reach, above κ_max it is slack: an RMS error has no floor
# but 0, bits keep the nats of their pixel noise, which are most of κ_max.
KAPPA = {
    "re": Float(0.45, 0.8, log=True, relative_to="kappa_max"),
    "nll": Float(0.58, 0.8, log=True, relative_to="kappa_max"),
}

GECO = Space("geco", {"objective.kind": "geco"}, {"objective.kappa": KAPPA["re"]})

GECO_VS_ANNEALING = one_of("geco-vs-annealing", "objective.kind", HAND_ANNEALED, FREE_BITS, GECO)


def within_reach(space: Space, constraint: str) -> Space:
    """The space with the named spaces' range of κ as this constraint has it; a range of the user's own stays."""
    kappa = space.dimensions.get("objective.kappa")
    if kappa is None or replace(kappa, when={}) != KAPPA["re"]:
        return space
    reachable = replace(KAPPA[constraint], when=kappa.when)
    return replace(space, dimensions={**space.dimensions, "objective.kappa": reachable})
