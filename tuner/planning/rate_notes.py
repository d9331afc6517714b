"""What a plan says of the learning rates that its trials use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from search_spaces.space import Space
from trainables.config import TrialConfig
from trainables.schedules.lr import SCALING_NAMES, scaling_factor, scaling_of

RATES = ("lr.kind", "lr.base", "lr.max")
SCALED_BY = ("batch_size", "lr.base_batch_size", "lr.scaling")


def rate_notes(space: Space, base: Mapping[str, Any], trials: Iterable[TrialConfig]) -> list[str]:
    """The rates in use where they are not as written: of the given trials, or over what the space varies.

    base: the fixed part by path. trials: those that stand for the sweep.
    """
    first = next(iter(trials := list(trials)))
    if not space.dimensions.keys() & {*RATES, *SCALED_BY}:
        found = (trial.lr.rate_in_use(trial.batch_size) for trial in trials)
        return list(dict.fromkeys(note for note in found if note))

    def levels(path: str, fixed: Any) -> list[Any]:
        domain = space.dimensions.get(path)
        return list(domain.levels()) if domain else [fixed]

    written = {**base, **space.fixed}.get("lr.scaling", "auto")
    sizes, base_sizes = levels("batch_size", first.batch_size), levels("lr.base_batch_size", first.lr.base_batch_size)
    rules = dict.fromkeys(map(scaling_of, levels("lr.scaling", written)))
    factors = [scaling_factor(rule, size / of) for rule, size, of in product(rules, sizes, base_sizes)]
    if min(factors) == max(factors) == 1:
        return []
    *others, last = (SCALING_NAMES[rule] for rule in rules)
    names = f"{', '.join(others)} or {last}" if others else last
    return [
        f"learning rates are multiplied by {_span(factors)} ({names} scaling, batch {_span(sizes)} over base batch "
        f"{_span(base_sizes)})"
    ]


def _span(values: Iterable[float]) -> str:
    low, high = min(values := list(values)), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
