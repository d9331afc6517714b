"""Configurations as MLflow has them: of each a run, or one for each of its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from trainables.grouping import grouped
from tuner.sweeps.means import common_outcome, means, standard_errors
from tuner.tracking.mlflow_store import Run, Tag, at_last_epoch


@dataclass(frozen=True)
class Row:
    """The runs of one configuration, by seed; tags and parameters are those of the first."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    def at_last_epoch(self) -> Row:
        """With no metric that is of an epoch before the last."""
        return Row(tuple(map(at_last_epoch, self.runs)))

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Those of the last epoch, of several seeds their means."""
        return means([run.data.metrics for run in self.runs])

    @property
    def stderr(self) -> dict[str, float] | None:
        """The standard errors of the means; None of one seed."""
        return standard_errors([run.data.metrics for run in self.runs])

    @cached_property
    def tags(self) -> Mapping[str, str]:
        outcome = common_outcome([run.data.tags.get(Tag.OUTCOME) for run in self.runs])
        reasons = {run.data.tags[Tag.STOP_REASON] for run in self.runs}
        own = {**self.first.data.tags, Tag.STOP_REASON: "completed" if reasons == {"completed"} else "pruned"}
        return {**own, Tag.OUTCOME: outcome} if outcome else own

    @property
    def params(self) -> Mapping[str, str]:
        params: Mapping[str, str] = self.first.data.params
        return params

    @property
    def run_ids(self) -> list[str]:
        return [run.info.run_id for run in self.runs]


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """The configurations of which every seed's run is there."""
    tagged = ((run.data.tags, run) for run in _one_a_trial(runs))
    groups = grouped(((tags[Tag.SWEEP_ID], tags.get(Tag.CONFIGURATION, tags[Tag.TRIAL])), run) for tags, run in tagged)
    whole = [group for group in groups.values() if len(group) == int(group[0].data.tags.get(Tag.REPEATS, "1"))]
    return [Row(tuple(sorted(group, key=_trial_of))) for group in whole]


def _one_a_trial(runs: Iterable[Run]) -> list[Run]:
    """Of two runs of a trial, as where one that was deleted came back beside its successor, the first by its id."""
    found: dict[tuple[str, str], Run] = {}
    for run in runs:
        key = (run.data.tags[Tag.SWEEP_ID], run.data.tags[Tag.TRIAL])
        if key not in found or run.info.run_id < found[key].info.run_id:
            found[key] = run
    return list(found.values())


def _trial_of(run: Run) -> tuple[int, str]:
    """`0007-10` after `0007-2`."""
    trial = run.data.tags[Tag.TRIAL]
    return len(trial), trial
