"""What a plan says of schedules under which trials are not compared at every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.space import Space
from trainables.config import TrialConfig
from trainables.config.paths import parse_config
from trainables.phases import phases_of


def phase_notes(space: Space, base: Mapping[str, Any], default: TrialConfig) -> list[str]:
    """One sentence on cycles and one on one-cycle rates, where the space can draw them."""
    drawn = list(_drawn(space, base, default))
    cycles = ", ".join(f"{path} {kind}" for path, kind in drawn if _has_cycles(path, kind))
    found = []
    if cycles:
        found.append(
            f"under {cycles} trials are compared at the end of their last complete cycle; without one they go on"
        )
    if ("lr.kind", "one-cycle") in drawn:
        found.append("under lr.kind one-cycle trials go on until their learning rate has passed its peak")
    return found


def _drawn(space: Space, base: Mapping[str, Any], default: TrialConfig) -> Iterator[tuple[str, str]]:
    """(path, kind) of every schedule that a trial can have."""
    for path, section in (("beta.kind", default.beta), ("lr.kind", default.lr)):
        domain = space.dimensions.get(path)
        fixed = space.fixed.get(path, base.get(path, section and section.kind))
        yield from ((path, str(kind)) for kind in (domain.levels() if domain else (fixed,)) if kind is not None)


def _has_cycles(path: str, kind: str) -> bool:
    section = path.partition(".")[0]
    return bool(phases_of(parse_config({section: {"kind": kind}}), steps_per_epoch=1_000).periods)
