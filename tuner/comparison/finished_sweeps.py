"""Finished sweeps beside each other: what each found and in what they differ, as description and not as a test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.config.paths import flatten
from trainables.errors import UserError
from trainables.ranking import Ranking, sign_of
from tuner.comparison.statistics import Expected, expected_best
from tuner.comparison.tuning_cost import MOST_TRIALS
from tuner.sweeps.events import Line, Reported, parse_event
from tuner.sweeps.metrics import is_result
from tuner.sweeps.origins import DATA, other_origin
from tuner.sweeps.state import Sweep, Trial
from tuner.sweeps.status import known_sweep, ranked_trials, why_none
from tuner.sweeps.storage import open_storage

FEWEST_RANDOM = 2
UNTOLD = ("name", "storage", "tracking.", "resources.", "search.points")

Progress = list[tuple[int, float]]
"""Epochs spent in all trials, and the best completed value so far: where it rose."""


@dataclass(frozen=True)
class FinishedSweeps:
    """Sweeps of one data set, split and metric, by name. progress: of each. differing: by path in a spec, its value in
    each sweep as text."""

    sweeps: Mapping[str, Sweep]
    metric: str
    direction: str
    progress: Mapping[str, Progress]
    differing: Mapping[str, Mapping[str, str]]

    @property
    def dataset(self) -> str:
        return str(_data_of(next(iter(self.sweeps.values())))["name"])

    @property
    def changed(self) -> str | None:
        """What data or code they differ in, None where they do not."""
        return other_origin({name: sweep.origins for name, sweep in self.sweeps.items()})

    @property
    def ranking(self) -> Ranking:
        """The epochs by which all their trials are ranked."""
        return next(iter(self.sweeps.values())).ranking

    def best(self, name: str) -> Trial:
        """A sweep's best completed trial.

        Parameters
        ----------
        name
            Of one of the sweeps.

        Returns
        -------
        Trial
            By the metric that all have in common.
        """
        return ranked_trials(self.sweeps[name])[0]

    @property
    def by_best(self) -> list[str]:
        """Names, the best sweep first."""
        sign = -sign_of(self.direction)
        return sorted(self.sweeps, key=lambda name: sign * self.best(name).ranked[self.metric])

    def values(self, name: str) -> list[float]:
        """The metric of each completed trial.

        Parameters
        ----------
        name
            Of one of the sweeps.

        Returns
        -------
        list of float
            Best first.
        """
        return [trial.ranked[self.metric] for trial in ranked_trials(self.sweeps[name])]

    def expected(self, name: str) -> list[Expected]:
        """The expected best of n = 1 … 20 random, unpruned trials, by the metric that selects them.

        Trials of a search that learns, or prunes, say nothing about other draws.

        Parameters
        ----------
        name
            Of one of the sweeps.

        Returns
        -------
        list of Expected
            Empty where the sweep has no such trials.
        """
        sweep, sign = self.sweeps[name], sign_of(self.direction)
        usable = [trial for trial in _random_trials(sweep) if trial.stop_reason in ("completed", "diverged")]
        values = [_score(trial, self.metric, sign) for trial in usable]
        whole = [value for value in values if math.isfinite(value)]
        if len(whole) < FEWEST_RANDOM:
            return []
        counted = [value if math.isfinite(value) else min(whole) for value in values]
        return [found.signed(sign) for found in expected_best(values, counted, MOST_TRIALS)]

    def document(self, report: Path) -> dict[str, Any]:
        """What was found as plain data.

        Parameters
        ----------
        report
            The path of its page.

        Returns
        -------
        dict
            Ready for JSON.
        """
        return {
            "report": str(report),
            "dataset": self.dataset,
            "metric": self.metric,
            "sweeps": [self._entry(name) for name in self.sweeps],
            "differing": {path: dict(values) for path, values in self.differing.items()},
        }

    def _entry(self, name: str) -> dict[str, Any]:
        sweep, best = self.sweeps[name], self.best(name)
        return {
            "name": name,
            "sweep_id": sweep.header["sweep_id"],
            "n_trials": len(sweep.trials),
            "stop_reasons": stop_reasons(sweep),
            "epochs": sweep.epochs,
            "wall_s": sweep.seconds,
            "best": {"trial": best.id, "method": best.method, "metrics": best.ranked, "config": best.config},
            "expected_best": [vars(found) for found in self.expected(name)],
        }


def stop_reasons(sweep: Sweep) -> dict[str, int]:
    """How many trials ended how.

    Parameters
    ----------
    sweep
        That has ended.

    Returns
    -------
    dict of str to int
        By stop reason, the most frequent first.
    """
    return dict(Counter(trial.stop_reason or "interrupted" for trial in sweep.trials.values()).most_common())


def read_finished_sweeps(storage: str | Path, names: Sequence[str], *, allow_changed: bool = False) -> FinishedSweeps:
    """Read finished sweeps that can stand side by side.

    Parameters
    ----------
    storage
        Folder, or URI of object storage, that holds them.
    names
        Two or more.
    allow_changed
        Read them although their data or code differ.

    Returns
    -------
    FinishedSweeps
        In the order of the names.

    Raises
    ------
    UserError
        One has not finished or has no result, or their numbers mean different things: another data set, split or
        metric, or other data or code under the same name.
    """
    if len(names) < 2 or len(set(names)) != len(names):
        raise UserError(f"sweeps: {','.join(names)} is not allowed; name two or more finished sweeps, each once")
    sweeps = {name: known_sweep(storage, name) for name in names}
    for name, sweep in sweeps.items():
        _check_ended(name, sweep)
    first, *others = sweeps.items()
    for other in others:
        _check_comparable(first, other)
    header = first[1].header
    opened = open_storage(storage)
    progress = {name: _progress(opened.lines(name), sweep) for name, sweep in sweeps.items()}
    beside = FinishedSweeps(sweeps, header["metric"], header["direction"], progress, _differing(sweeps))
    if beside.changed and not allow_changed:
        raise UserError(
            f"sweeps: they differ in {beside.changed}, so that their numbers cannot be compared; leave one out, or "
            "show them anyway with --allow-changed"
        )
    return beside


def _check_ended(name: str, sweep: Sweep) -> None:
    if sweep.resumable:
        raise UserError(f"sweeps: {name} has not ended; end it by `vae-tuner resume {name}`, or leave it out")
    if not ranked_trials(sweep):
        raise UserError(f"sweeps: no trial of {name} {why_none(sweep)}; leave it out")


def _check_comparable(one: tuple[str, Sweep], other: tuple[str, Sweep]) -> None:
    (name, sweep), (other_name, other_sweep) = one, other
    facts, others = _facts(sweep), _facts(other_sweep)
    for path in dict.fromkeys([*facts, *others]):
        if facts.get(path) != others.get(path):
            raise UserError(
                f"sweeps: {name} and {other_name} differ in {path} ({facts.get(path)} and {others.get(path)}), so that "
                "their numbers mean different things; name sweeps of one data set, split, metric and ranking"
            )


def _facts(sweep: Sweep) -> dict[str, Any]:
    data = {f"data.{field}": value for field, value in _data_of(sweep).items()}
    return {"the metric": sweep.header["metric"], "search.ranking": sweep.ranking.kind, **data}


def _data_of(sweep: Sweep) -> dict[str, Any]:
    """As resolved; all trials of a sweep share it."""
    found: dict[str, Any] = next(iter(sweep.trials.values())).config["data"]
    return found


def _progress(lines: Sequence[Line], sweep: Sweep) -> Progress:
    """In the order of the journal; a resumed trial's epochs count once."""
    metric, sign = sweep.header["metric"], sign_of(sweep.header["direction"])
    found: Progress = []
    seen: set[tuple[str, int]] = set()
    for event in map(parse_event, lines):
        if not isinstance(event, Reported) or (event.trial, event.epoch) in seen:
            continue
        seen.add((event.trial, event.epoch))
        metrics = sweep.trials[event.trial].ranked
        if event.reason == "completed" and is_result(metrics, metric):
            value = metrics[metric]
            if not found or sign * value > sign * found[-1][1]:
                found.append((len(seen), value))
    return [*found, (len(seen), found[-1][1])] if found else []


def _differing(sweeps: Mapping[str, Sweep]) -> dict[str, dict[str, str]]:
    specs = {name: _told(sweep) for name, sweep in sweeps.items()}
    paths = dict.fromkeys(path for spec in specs.values() for path in spec)
    found = {path: {name: spec.get(path, "–") for name, spec in specs.items()} for path in paths}
    return {path: values for path, values in found.items() if len(set(values.values())) > 1}


def _told(sweep: Sweep) -> dict[str, str]:
    """A spec's fields as text; given trials as their number."""
    spec = {path: value for path, value in flatten(sweep.header["spec"]).items() if not path.startswith(UNTOLD)}
    given = len(sweep.header["spec"]["search"].get("points") or ())
    versions = {f"version of {package}": found for package, found in sweep.header["versions"].items()}
    origins = {"data" if name == DATA else f"code of {name}": digests for name, digests in sweep.origins.items()}
    trials = {"search.trials": sweep.planned, "search.points": f"{given} given" if given else "none"}
    return {
        path: "none" if value is None else str(value)
        for path, value in {**spec, **trials, **versions, **origins}.items()
    }


def _random_trials(sweep: Sweep) -> list[Trial]:
    """Those drawn at random and never pruned: not the default, which is always tried first."""
    search = sweep.header["spec"]["search"]
    if search["sampler"] != "random" or search.get("points") or sweep.header["scheduler"]["kind"] != "none":
        return []
    return [trial for trial in sweep.configurations.values() if trial.number > 0]


def _score(trial: Trial, metric: str, sign: float) -> float:
    """Larger is better; −inf where a trial diverged."""
    whole = trial.stop_reason == "completed" and is_result(trial.ranked, metric)
    return sign * trial.ranked[metric] if whole else -math.inf
