"""Whether anything is left to do of a sweep, as its journal has it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from trainables.errors import UserError
from tuner.sweeps.journal import check_begun
from tuner.sweeps.state import Sweep


def named(model: str | Sequence[str] | None) -> tuple[str, ...]:
    """The user's own models that a caller lets run: one, several or none."""
    return (model,) if isinstance(model, str) else tuple(model or ())


def check_named(needed: Iterable[str], models: Collection[str]) -> None:
    """Raises UserError where a sweep needs a user's own model that is not named."""
    kinds = sorted(set(needed))
    if not set(kinds) <= set(models):
        options = " ".join(f"--model {kind}" for kind in kinds)
        raise UserError(f"this sweep runs the code of {' and '.join(kinds)}; if you trust it, name it: {options}")


def check_resumable(sweep: Sweep, more_trials: int) -> None:
    """Raises UserError for a sweep that cannot go on, or cannot have more trials, whatever its data are."""
    check_begun(sweep)
    name = sweep.header["name"]
    if sweep.spent:
        raise UserError(
            f"the budget of sweep {name} is spent; start another sweep that learns from it: "
            f"vae-tuner sweep --warm-start {name}"
        )
    if sweep.exhausted and not sweep.resumable:
        raise UserError(
            f"sweep {name} is finished, and every configuration that was drawn has been tried; see it with "
            f"`vae-tuner best --sweep {name}`, or start another over a wider space"
        )
    if not sweep.resumable and not more_trials:
        raise UserError(
            f"sweep {name} is finished; see it with `vae-tuner best --sweep {name}`, or add trials: "
            f"vae-tuner resume {name} --trials +10"
        )
    if more_trials and sweep.header["spec"]["search"].get("points"):
        raise UserError(
            f"--trials: the {sweep.planned} trials of sweep {name} are all that search.points lists; start "
            "another sweep with other search.points"
        )
    if more_trials and sweep.header["scheduler"]["kind"] == "hyperband":
        raise UserError(
            f"--trials: the brackets of sweep {name} are made for {sweep.planned} trials; start another sweep that "
            f"knows what it found: vae-tuner sweep --warm-start {name}"
        )
