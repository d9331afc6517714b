"""Which configuration is best? Answered from MLflow alone."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.paths import suggest
from tuner.metrics_info import direction_of, is_usable, rank_key
from tuner.mlflow_store import MlflowClient, MlflowException, Run, Tag, find_runs, has_tags, open_client
from tuner.params import from_params
from tuner.tracking_uri import check_reachable, sqlite_path

__all__ = ["BestTrial", "artifact", "best", "groups_by_method"]

_PAGE = 200


@dataclass(frozen=True)
class BestTrial:
    """A trial as MLflow knows it. metrics: those of its last epoch. metric: the one it was ranked by."""

    sweep: str
    run_id: str
    trial: str
    method: str
    stop_reason: str
    outcome: str | None
    dataset: str
    metric: str
    metrics: dict[str, float]
    config: TrialConfig


@dataclass(frozen=True)
class _SweepRun:
    name: str
    sweep_id: str
    metric: str
    dataset: str
    methods: tuple[str, ...]


def best(
    uri: str,
    *,
    sweep: Sequence[str] = (),
    experiment: str = "vae-tuner",
    method: str | None = None,
    dataset: str | None = None,
    metric: str | None = None,
    top: int | None = 1,
    include_pruned: bool = False,
) -> list[BestTrial]:
    """The best completed trials by `metric`, best first, ties by trial id; empty where none has completed.

    uri: absolute, as from `resolve_uri`. sweep: names; all of the experiment if empty. metric: by default what the
    sweeps searched by. top: how many, None for the best of each method. include_pruned: rank pruned trials too, by
    their last epoch; diverged and failed ones never.
    Raises UserError for a store, experiment, sweep, method, data set or metric that is not there, and where trials
    would be ranked together that cannot be: over several data sets, or several default metrics. Creates nothing.
    """
    if metric is not None:
        direction_of(metric)
    client = _open_existing(uri)
    experiment_id = _experiment_id(client, experiment, uri)
    sweeps = _selected(_sweep_runs(client, experiment_id), experiment, sweep, method, dataset)
    reasons = ("completed", "pruned") if include_pruned else ("completed",)
    ranking = _Ranking(client, experiment_id, sweeps, metric or _common_metric(sweeps), reasons)
    if top is not None:
        return ranking.rows(method, top)
    methods = {method} if method else {name for sweep in sweeps for name in sweep.methods}
    return groups_by_method(row for name in methods for row in ranking.rows(name, 1))


def groups_by_method(rows: Iterable[BestTrial]) -> list[BestTrial]:
    """The best row of each method, best first."""
    groups: dict[str, BestTrial] = {}
    for row in sorted(rows, key=_key_of):
        groups.setdefault(row.method, row)
    return list(groups.values())


def artifact(uri: str, run_id: str, name: str, folder: Path) -> Path:
    """Download a run's file into `folder`; raises UserError for a run, or a file of it, that is not there."""
    client = _open_existing(uri)
    try:
        names = [file.path for file in client.list_artifacts(run_id)]
    except MlflowException:
        raise UserError(f"run {run_id!r} is not in {uri}; `vae-tuner best` prints the ids of runs") from None
    if name not in names:
        raise UserError(f"run {run_id!r} has no {name}; only trials that completed keep theirs")
    return Path(client.download_artifacts(run_id, name, str(folder)))


def _key_of(row: BestTrial) -> tuple[float, str]:
    return rank_key(row.metrics[row.metric], direction_of(row.metric), row.trial)


# --- what is there ----------------------------------------------------------------------------------------------------


def _open_existing(uri: str) -> MlflowClient:
    path = sqlite_path(uri)
    if path is not None and not Path(path).is_file():
        raise UserError(
            f"no MLflow database at {path}; run this in the folder of the sweep, or pass its store as --tracking-uri"
        )
    check_reachable(uri)
    return open_client(uri)


def _experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        known = [experiment.name for experiment in client.search_experiments()]
        raise UserError(f"experiment {name!r} is not in {uri}{suggest(name, known)}")
    return str(found.experiment_id)


def _sweep_runs(client: MlflowClient, experiment_id: str) -> list[_SweepRun]:
    """The sweeps that have trials."""
    found = [run.data.tags for run in find_runs(client, experiment_id, has_tags({Tag.KIND: "sweep"}))]
    return [
        _SweepRun(
            tags[Tag.SWEEP],
            tags[Tag.SWEEP_ID],
            tags[Tag.METRIC],
            tags[Tag.DATASET],
            tuple(tags[Tag.METHODS].split(", ")),
        )
        for tags in found
        if Tag.DATASET in tags
    ]


def _selected(
    sweeps: list[_SweepRun], experiment: str, names: Sequence[str], method: str | None, dataset: str | None
) -> list[_SweepRun]:
    """The sweeps asked for; an error where a filter leaves none, or where those left cannot be ranked together."""
    if not sweeps:
        raise UserError(f"experiment {experiment!r} holds no sweep with trials; run `vae-tuner sweep` first")
    for name in names:
        _require("sweep", name, [sweep.name for sweep in sweeps])
    sweeps = [sweep for sweep in sweeps if not names or sweep.name in names]
    if dataset is not None:
        _require("dataset", dataset, [sweep.dataset for sweep in sweeps])
        sweeps = [sweep for sweep in sweeps if sweep.dataset == dataset]
    if method is not None:
        _require("method", method, [name for sweep in sweeps for name in sweep.methods])
        sweeps = [sweep for sweep in sweeps if method in sweep.methods]
    datasets = sorted({sweep.dataset for sweep in sweeps})
    if len(datasets) > 1:
        raise UserError(f"trials on {_listed(datasets)} cannot be ranked together; choose one with --dataset")
    return sweeps


def _require(what: str, value: str, known: Iterable[str]) -> None:
    known = sorted(set(known))
    if value not in known:
        raise UserError(f"{what} {value!r} has no trials here{suggest(value, known)}")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _common_metric(sweeps: list[_SweepRun]) -> str:
    metrics = sorted({sweep.metric for sweep in sweeps})
    if len(metrics) > 1:
        raise UserError(
            f"these sweeps searched by {_listed(metrics)}; choose one with --metric, or a sweep with --sweep"
        )
    return metrics[0]


# --- the ranking ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ranking:
    """The best trials of some sweeps by one metric.

    The first page gives a bound, and then only what reaches it is read: letting MLflow sort 20,000 runs in SQLite takes
    10 s a page, and puts diverged ones first.
    """

    client: MlflowClient
    experiment_id: str
    sweeps: Sequence[_SweepRun]
    metric: str
    reasons: Sequence[str]

    def rows(self, method: str | None, top: int) -> list[BestTrial]:
        """The `top` best trials of a method, or of all."""
        where = self._filter(method)
        page = max(_PAGE, 2 * top)
        runs = list(islice(find_runs(self.client, self.experiment_id, where, page), page))
        best_so_far = self._ranked(runs)[:top]
        if len(runs) == page:
            if len(best_so_far) == top:
                where += f" and {self._at_least(best_so_far[-1])}"
            runs = list(find_runs(self.client, self.experiment_id, where))
        return [_best_trial(run, self.metric) for run in self._ranked(runs)[:top]]

    def _filter(self, method: str | None) -> str:
        tags = {Tag.KIND: "trial"}
        if method is not None:
            tags[Tag.METHOD] = method
        if len(self.reasons) == 1:
            tags[Tag.STOP_REASON] = self.reasons[0]
        if len(self.sweeps) == 1:
            tags[Tag.SWEEP_ID] = self.sweeps[0].sweep_id
        return has_tags(tags)

    def _at_least(self, run: Run) -> str:
        value = run.data.metrics[self.metric]
        text = f"{value:.0f}" if "e+" in repr(value) else repr(value)  # MLflow's filters do not know 1e+22
        return f"metrics.`{self.metric}` {'>=' if direction_of(self.metric) == 'max' else '<='} {text}"

    def _ranked(self, runs: Iterable[Run]) -> list[Run]:
        """Runs that may win, best first; an error where there are such and none has the metric."""
        ids = {sweep.sweep_id for sweep in self.sweeps}
        asked = [
            run for run in runs if run.data.tags[Tag.SWEEP_ID] in ids and run.data.tags[Tag.STOP_REASON] in self.reasons
        ]
        recorded = {name for run in asked for name in run.data.metrics}
        if recorded and self.metric not in recorded:
            raise UserError(
                f"metric {self.metric!r} was not recorded by these trials; recorded: {_listed(sorted(recorded))}"
            )
        return sorted(filter(self._is_result, asked), key=self._key)

    def _is_result(self, run: Run) -> bool:
        """Finite, and no estimate at its own bound."""
        bounded = self.metric in ("val/mutual_info", "val/marginal_kl")
        saturated = bounded and run.data.metrics.get("val/mi_saturated") == 1
        return not saturated and is_usable(run.data.metrics.get(self.metric, math.nan))

    def _key(self, run: Run) -> tuple[float, str]:
        return rank_key(run.data.metrics[self.metric], direction_of(self.metric), run.data.tags[Tag.TRIAL])


def _best_trial(run: Run, metric: str) -> BestTrial:
    tags = run.data.tags
    return BestTrial(
        sweep=tags[Tag.SWEEP],
        run_id=run.info.run_id,
        trial=tags[Tag.TRIAL],
        method=tags[Tag.METHOD],
        stop_reason=tags[Tag.STOP_REASON],
        outcome=tags.get(Tag.OUTCOME),
        dataset=tags[Tag.DATASET],
        metric=metric,
        metrics=dict(run.data.metrics),
        config=from_params(run.data.params),
    )
