"""What a comparison has found, in words and as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.grouping import grouped
from tuner.comparison.design import Design, Level, Trained
from tuner.comparison.final_loss import MARGIN, PathAnswer, RivalResult, answer_path
from tuner.comparison.frontier import Placed, place_beside_curve
from tuner.comparison.hit_rate import TargetAnswer, answer_target
from tuner.comparison.likelihood import NllAnswer, answer_nll
from tuner.comparison.statistics import most_trusted
from tuner.comparison.transfer import Transferred
from tuner.comparison.tuning_cost import PoolAnswer, answer_quality
from tuner.sweeps.metrics import direction_of, on_test_data

TRIALS_SPOKEN_OF = 8
RANKED = (
    "every run counts by its last epoch, where GECO's constraint and its rivals' final weights hold; search.ranking is "
    "for sweeps"
)


@dataclass(frozen=True)
class Comparison:
    """A finished comparison. metric: what pools are selected by. exploratory: of `--quick`. trained: by stage.

    trajectory: one GECO run over its steps. kl_by_latent: of one run of each method. transfer: none unless asked for.
    """

    name: str
    dataset: str
    model: str
    metric: str
    exploratory: bool
    design: Design
    levels: list[Level]
    trained: Mapping[str, Sequence[Trained]] = field(repr=False)
    path: PathAnswer
    quality: list[PoolAnswer]
    target: TargetAnswer
    placed: list[Placed]
    nll: NllAnswer | None
    trajectory: Mapping[str, list[float]] | None = None
    kl_by_latent: Mapping[str, list[float]] = field(default_factory=dict)
    transfer: Sequence[Transferred] = ()

    @property
    def verdict(self) -> str:
        """The answer in two sentences."""
        start = "Exploratory: " if self.exploratory else ""
        return f"{start}on {self.dataset} with {self.model}, {self._path_sentence()}. {self._quality_sentence()}"

    def _path_sentence(self) -> str:
        if not any(level.kept for level in self.levels):
            outcomes = ", ".join(f"{level.kappa:.3g} {level.outcome}" for level in self.levels)
            return f"GECO settled on no level of κ ({outcomes}), so that the paths cannot be compared"
        if not self.design.rivals:
            return "no rival was there whose path could be compared with GECO's"
        if not self.path.rivals:
            return f"no path can be compared: {self._losses()}"
        by_word = grouped((result.verdict, result) for result in self.path.rivals)
        parts = [_WORDS[word].format(_listed(found)) for word, found in by_word.items()]
        diverged = f" ({losses})" if (losses := self._losses()) else ""
        return f"the loss J = KL + λ̂·distortion is, where GECO led the way, {'; '.join(parts)}{diverged}"

    def _losses(self) -> str:
        """What part of whose runs of the path diverged."""
        return ", ".join(f"{lost:.0%} of {method}'s runs diverged" for method, lost in self.path.lost.items() if lost)

    @property
    def trials_spoken_of(self) -> int:
        """The number of trials that the answer speaks of: as many as the pools can be trusted with."""
        return min(TRIALS_SPOKEN_OF, *(most_trusted(answer.n) for answer in self.quality))

    def _quality_sentence(self) -> str:
        if not self.quality:
            return "No random trial of any method trained to its end."
        n = self.trials_spoken_of
        at = {answer.method: answer.expected[n - 1] for answer in self.quality}
        largest = direction_of(self.metric) == "max"
        best = (max if largest else min)(at, key=lambda method: at[method].mean)
        name = on_test_data(self.metric)
        others = ", ".join(f"{method} {found.mean:.2f}" for method, found in at.items() if method != best)
        beside = f", beside {others}" if others else ""
        band = f"{at[best].mean:.2f} ({at[best].lo:.2f} to {at[best].hi:.2f})"
        return f"The best of {n} random trials is expected to reach a {name} of {band} with {best}{beside}."

    def document(self, report: Path) -> dict[str, Any]:
        """The answer as plain data, with null for a bound that is not known.

        Parameters
        ----------
        report
            The path of its page.

        Returns
        -------
        dict
            Ready for JSON.
        """
        found = {
            "name": self.name,
            "report": str(report),
            "dataset": self.dataset,
            "model": self.model,
            "exploratory": self.exploratory,
            "levels": [
                {"kappa": e.kappa, "lambda": e.weight, "rate": e.rate, "outcome": e.outcome} for e in self.levels
            ],
            "path": [result.document() for result in self.path.rivals],
            "path_left_out": self.path.left_out,
            "path_lost": self.path.lost,
            "null_rejections": self.path.null,
            "quality": {answer.method: [vars(found) for found in answer.expected] for answer in self.quality},
            "shares": {answer.method: answer.shares for answer in self.quality},
            "spread": {answer.method: list(answer.spread) for answer in self.quality},
            "target": {
                "kappa": self.target.kappa,
                "best_kl": self.target.best_kl,
                "hits": {method: {"hits": hits, "n": n} for method, (hits, n) in self.target.hits.items()},
                "chance": self.target.chance,
            },
            "beside_beta_curve": [{**vars(each), "above": each.above and list(each.above)} for each in self.placed],
            "nll": self.nll and self.nll.document(),
            "transfer": [each.document() for each in self.transfer],
            "verdict": self.verdict,
        }
        return {name: _known(value) for name, value in found.items()}


_WORDS = {
    "lower": "lower than with {}",
    "higher": "higher than with {}",
    "equivalent": f"equivalent within {MARGIN:g} nat at every level to {{}}",
    "undecided": "undecided against {}",
}


def _listed(results: Sequence[RivalResult]) -> str:
    return ", ".join(f"{each.rival} ({_spoken(each)})" for each in results)


def _spoken(result: RivalResult) -> str:
    if not math.isfinite(result.lo):
        return f"{result.mean:+.2f} nat with the one seed that is left"
    return f"{result.mean:+.2f} nat, {result.lo:+.2f} to {result.hi:+.2f}{_at_most(result)}"


def _at_most(result: RivalResult) -> str:
    """The level that differs most, where not all are equivalent: a mean hides levels that differ in sign."""
    if result.verdict == "equivalent":
        return f", at most {result.largest.mean:+.2f} at one level"
    return f"; {result.largest.mean:+.2f} at κ = {result.largest.kappa:.3g}"


def _known(value: Any) -> Any:
    """Plain data with None for each infinite number."""
    if isinstance(value, Mapping):
        return {name: _known(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def concluded(
    name: str,
    dataset: str,
    model: str,
    metric: str,
    exploratory: bool,
    design: Design,
    levels: list[Level],
    trained: Mapping[str, Sequence[Trained]],
) -> Comparison:
    """All three answers from what was trained.

    Parameters
    ----------
    name
        Of the comparison.
    dataset, model
        As they were asked for.
    metric
        By which trials are selected.
    exploratory
        Whether it was a quick one.
    design
        What was trained.
    levels
        What became of each κ.
    trained
        Ends of runs, by stage.

    Returns
    -------
    Comparison
        Without what is found by looking at the models.
    """
    pilots = [*trained["pilot"], *trained["rivals"]]
    return Comparison(
        name,
        dataset,
        model,
        metric,
        exploratory,
        design,
        levels,
        trained,
        answer_path(design, levels, pilots, trained["path"]),
        answer_quality(trained["pool"], metric),
        answer_target(design, trained["target"], trained["pool"]),
        place_beside_curve(design, levels, trained),
        answer_nll(levels, trained["path"]),
    )
