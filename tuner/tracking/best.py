"""Which configuration is best? Answered from MLflow alone."""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypedDict, Unpack

from trainables.config import TrialConfig
from trainables.config.paths import suggest
from trainables.credentials import shown
from trainables.errors import ConfigError, UserError
from trainables.grouping import grouped
from trainables.identity import Identity
from trainables.ranking import BEST, LAST
from tuner.sweeps.metrics import direction_of, is_result, pareto_front, rank_key, why_not_ranked
from tuner.sweeps.origins import DATA, other_origin
from tuner.tracking.conditions import Condition, is_metric, matches, number_of, parse_conditions
from tuner.tracking.configurations import config_of
from tuner.tracking.identity_tags import identity_of, json_of
from tuner.tracking.mlflow_store import RANKED, MlflowClient, Run, Tag, as_ranked, find_runs, has_tags, number_in_filter
from tuner.tracking.reachability import open_existing
from tuner.tracking.rows import Row, rows_of
from tuner.tracking.store_errors import in_a_sentence

PAGE = 200
_NARROWING = 16  # each is a join, of which SQLite allows 64
_WORDS = {"outcome": Tag.OUTCOME, "stop_reason": Tag.STOP_REASON, "trial": Tag.TRIAL, "method": Tag.METHOD}


class Filters(TypedDict, total=False):
    """Which trials are asked about.

    sweep: names; all of the experiment if empty. where: an expression, as in `tuner.tracking.conditions`.
    include_pruned: rank pruned trials too, by their last epoch or as their sweep ranks; diverged and failed ones never.
    allow_changed: rank sweeps together whose data, or code of one model, are not the same.
    """

    sweep: Sequence[str]
    experiment: str
    method: str | None
    dataset: str | None
    where: str | None
    include_pruned: bool
    allow_changed: bool


@dataclass(frozen=True)
class BestTrial:
    """A trial as MLflow knows it. metrics: those it is ranked by, as `ranking` has it; metric: the
    first of them; epoch: theirs, under `best` the best by `searched_by`.

    A configuration of several seeds is one: trial, run_id and config are the first one's, metrics the means over the
    seeds, stderr their standard errors, and run_ids a run for each seed.
    config: what it was trained with, from the run's own file; None where that is missing or is not what was run, which
    `fault` says. identity: what it was trained on and with.
    """

    sweep: str
    run_id: str
    trial: str
    method: str
    stop_reason: str
    outcome: str | None
    dataset: str
    metric: str
    metrics: dict[str, float]
    stderr: dict[str, float] | None
    seeds: list[int]
    run_ids: list[str]
    config: TrialConfig | None
    fault: str = ""
    sweep_id: str = ""
    identity: Identity = field(default_factory=Identity)
    ranking: str = LAST
    epoch: int = 0
    searched_by: str = ""

    def require_config(self) -> TrialConfig:
        """The configuration; raises UserError where there is none that can be trusted."""
        if self.config is None:
            raise UserError(self.fault)
        return self.config


@dataclass(frozen=True)
class Front:
    """The trials that no other beats in all of `metrics`, best first by the first of them.

    cloud: by method, the values [n, len(metrics)] of all trials asked about.
    """

    metrics: tuple[str, ...]
    rows: list[BestTrial]
    cloud: dict[str, list[tuple[float, ...]]]


@dataclass(frozen=True)
class _SweepRun:
    """measured: how its trials were measured, by configuration path; digests: of its data, and of its models by their
    kind; empty for sweeps that did not record it."""

    name: str
    sweep_id: str
    metric: str
    dataset: str
    methods: tuple[str, ...]
    ranking: str
    repeats: int
    measured: Mapping[str, Any]
    digests: Mapping[str, str]

    @property
    def ranks(self) -> str:
        """By which epoch, in words."""
        return f"{BEST} by {self.metric}" if self.ranking == BEST else self.ranking


@in_a_sentence
def best(
    uri: str,
    *,
    metric: str | None = None,
    top: int | None = 1,
    on_note: Callable[[str], None] | None = None,
    **filters: Unpack[Filters],
) -> list[BestTrial]:
    """The best completed trials by `metric`, best first, ties by trial id; empty where none has completed.

    uri: absolute, as from `resolve_uri`. metric: by default what the sweeps searched by, the first where they searched
    by several. top: how many, None for the best of each method.
    Raises UserError for a store, experiment, sweep, method, data set or metric that is not there, and where trials
    would be ranked together that cannot be: over several data sets, validation splits, likelihoods, or several default
    metrics. Creates nothing. on_note: told which trials are left out because they cannot be ranked, and why;
    by default that is a warning.
    """
    ranking = _ranking(uri, (metric,) if metric else (), **filters)
    if top is not None:
        rows = ranking.rows(ranking.method, top)
    else:
        methods = {ranking.method} if ranking.method else {name for sweep in ranking.sweeps for name in sweep.methods}
        rows = groups_by_method(row for name in methods for row in ranking.rows(name, 1))
    ranking.note(on_note)
    return rows


@in_a_sentence
def front(
    uri: str, metrics: Sequence[str], on_note: Callable[[str], None] | None = None, **filters: Unpack[Filters]
) -> Front:
    """The completed trials that none dominates in these metrics, each by its own direction; errors as of `best`."""
    if len(set(metrics)) < 2 or len(set(metrics)) < len(metrics):
        raise ConfigError(
            f"--pareto {','.join(metrics)}: give two or more different metrics, as in --pareto val/mse,val/kl; "
            "one alone is --metric"
        )
    ranking = _ranking(uri, tuple(metrics), **filters)
    found = ranking.front()
    ranking.note(on_note)
    return found


def groups_by_method(rows: Iterable[BestTrial]) -> list[BestTrial]:
    """The best row of each method, best first."""
    groups: dict[str, BestTrial] = {}
    for row in sorted(rows, key=_key_of):
        groups.setdefault(row.method, row)
    return list(groups.values())


def _key_of(row: BestTrial) -> tuple[float, str]:
    return rank_key(row.metrics[row.metric], direction_of(row.metric), row.trial)


def _ranking(
    uri: str,
    metrics: tuple[str, ...],
    *,
    sweep: Sequence[str] = (),
    experiment: str = "vae-tuner",
    method: str | None = None,
    dataset: str | None = None,
    where: str | None = None,
    include_pruned: bool = False,
    allow_changed: bool = False,
) -> "_Ranking":
    for metric in metrics:
        direction_of(metric)
    conditions = () if where is None else parse_conditions(where)
    client = open_existing(uri)
    experiment_id = _experiment_id(client, experiment, uri)
    sweeps = _selected(_sweep_runs(client, experiment_id), experiment, sweep, method, dataset)
    reasons = ("completed", "pruned") if include_pruned else ("completed",)
    metrics = metrics or (_common_metric(sweeps),)
    _require_comparable(sweeps, metrics)
    if not allow_changed:
        _require_unchanged(sweeps)
    return _Ranking(client, experiment_id, sweeps, metrics, reasons, method, conditions)


# --- what is there ----------------------------------------------------------------------------------------------------


def _experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        known = [experiment.name for experiment in client.search_experiments()]
        raise UserError(f"experiment {name!r} is not in {shown(uri)}{suggest(name, known)}")
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
            tags.get(Tag.RANKING, LAST),
            int(tags.get(Tag.REPEATS, "1")),
            json.loads(tags.get(Tag.MEASURED, "{}")),
            {**{kind: str(code) for kind, code in json_of(tags, Tag.CODE).items()}, DATA: tags.get(Tag.DATA, "")},
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


def _require_comparable(sweeps: Sequence[_SweepRun], metrics: Sequence[str]) -> None:
    """One validation set under one likelihood, one bias of the NLL, one ranking; the number of training examples is
    free."""
    rankings = {sweep.ranks: sweep.name for sweep in sweeps}
    if len(rankings) > 1:
        found = _listed(f"{ranking} in {name}" for ranking, name in sorted(rankings.items()))
        raise UserError(
            f"trials that differ in search.ranking ({found}) cannot be ranked together: a last epoch cannot "
            "be compared with a best one; choose a sweep with --sweep"
        )
    fields = ["data.split_seed", "data.image_size", "data.likelihood", "data.binarize"]
    if "val/nll" in metrics:
        fields.append("metrics.nll_samples")
    for path in fields:
        having = {_validation(sweep.measured[path]): sweep.name for sweep in sweeps if path in sweep.measured}
        if len(having) > 1:
            found = _listed(f"{value} in {name}" for value, name in sorted(having.items()))
            raise UserError(
                f"trials that differ in {path} ({found}) cannot be ranked together; choose a sweep with --sweep"
            )


def _require_unchanged(sweeps: Sequence[_SweepRun]) -> None:
    changed = other_origin({sweep.name: sweep.digests for sweep in sweeps})
    if changed:
        raise UserError(
            f"trials that differ in {changed} cannot be ranked together; choose a sweep with --sweep, or rank them "
            "anyway with --allow-changed"
        )


def _validation(value: object) -> str:
    """A value as far as validation goes, where dynamic binarisation has fixed bits too."""
    return "dynamic or fixed" if value in ("dynamic", "fixed") else "none" if value is None else str(value)


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
    """The best trials of some sweeps by the first of some metrics, among those that have all of them.

    refused: of the runs that were read, those that cannot be ranked, by name: their metrics.

    The first page gives a bound, and then only what reaches it is read: letting MLflow sort 20,000 runs in SQLite takes
    10 s a page, and puts diverged ones first.
    """

    client: MlflowClient
    experiment_id: str
    sweeps: Sequence[_SweepRun]
    metrics: tuple[str, ...]
    reasons: Sequence[str]
    method: str | None
    conditions: Sequence[Condition]
    refused: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def note(self, on_note: Callable[[str], None] | None) -> None:
        """Say which of the trials that were read cannot be ranked, and why."""
        for trials in why_not_ranked(sorted(self.refused.items()), self.metrics):
            (on_note or warnings.warn)(f"Not ranked: {trials}")

    def rows(self, method: str | None, top: int) -> list[BestTrial]:
        """The `top` best trials of a method, or of all."""
        where = self._filter(method)
        if self._repeated:  # a bound on means would leave out the seeds below it
            return self._best(find_runs(self.client, self.experiment_id, where), top)
        page = max(PAGE, 2 * top)
        runs = list(islice(find_runs(self.client, self.experiment_id, where, page), page))
        best_so_far = self._ranked(runs)[:top]
        if len(runs) == page:
            if len(best_so_far) == top:
                where += f" and {self._at_least(best_so_far[-1])}"
            runs = list(find_runs(self.client, self.experiment_id, where))
        return self._best(runs, top)

    def _best(self, runs: Iterable[Run], top: int) -> list[BestTrial]:
        return list(map(self._row, self._ranked(runs)[:top]))

    def _row(self, row: Row) -> BestTrial:
        sweep = next(sweep for sweep in self.sweeps if sweep.sweep_id == row.tags[Tag.SWEEP_ID])
        return _best_trial(self.client, row, self.metrics[0], sweep)

    @property
    def ranking(self) -> str:
        """By which epoch all these sweeps rank."""
        return self.sweeps[0].ranking

    def _in_filter(self, metric: str) -> str:
        """What MLflow has the metric of the ranked epoch under."""
        return f"metrics.`{metric if self.ranking == LAST else RANKED + metric}`"

    @property
    def _repeated(self) -> bool:
        """Whether a configuration may have several runs."""
        return any(sweep.repeats > 1 for sweep in self.sweeps)

    def front(self) -> Front:
        """The trials that no other beats in all metrics."""
        rows = self._ranked(find_runs(self.client, self.experiment_id, self._filter(self.method)))
        values = [tuple(row.metrics[metric] for metric in self.metrics) for row in rows]
        cloud = grouped((row.tags[Tag.METHOD], point) for row, point in zip(rows, values, strict=True))
        chosen = pareto_front(values, [direction_of(metric) for metric in self.metrics])
        return Front(self.metrics, [self._row(rows[i]) for i in chosen], cloud)

    def _filter(self, method: str | None) -> str:
        tags = {Tag.KIND: "trial"}
        if method is not None:
            tags[Tag.METHOD] = method
        if len(self.reasons) == 1:
            tags[Tag.STOP_REASON] = self.reasons[0]
        if len(self.sweeps) == 1:
            tags[Tag.SWEEP_ID] = self.sweeps[0].sweep_id
        return " and ".join([has_tags(tags), *self._narrowing()])

    def _narrowing(self) -> list[str]:
        """The conditions that MLflow decides as we do: those on metrics, with numbers it stores exactly."""
        found: list[str] = []
        for condition in () if self._repeated else self.conditions:
            number = number_of(condition.value)
            if is_metric(condition.name) and number is not None and float(number) == number:
                found.append(
                    f"{self._in_filter(condition.name)} {condition.operator} {number_in_filter(float(number))}"
                )
        return found[:_NARROWING]

    def _at_least(self, row: Row) -> str:
        metric = self.metrics[0]
        comparison = ">=" if direction_of(metric) == "max" else "<="
        return f"{self._in_filter(metric)} {comparison} {number_in_filter(row.metrics[metric])}"

    def _ranked(self, runs: Iterable[Run]) -> list[Row]:
        """What may win, best first; an error where there are such and none has a metric."""
        ids = {sweep.sweep_id for sweep in self.sweeps}
        asked = rows_of(
            as_ranked(run)
            for run in runs
            if run.data.tags[Tag.SWEEP_ID] in ids and run.data.tags[Tag.STOP_REASON] in self.reasons
        )
        recorded = {name for row in asked for name in row.metrics}
        for metric in self.metrics:
            if recorded and metric not in recorded:
                raise UserError(
                    f"metric {metric!r} was not recorded by these trials; recorded: {_listed(sorted(recorded))}"
                )
        wanted = [row for row in map(Row.at_last_epoch, asked) if self._is_wanted(row)]
        self.refused.update({self._named(row): row.metrics for row in wanted if not self._is_result(row)})
        return sorted(filter(self._is_result, wanted), key=self._key)

    def _named(self, row: Row) -> str:
        trial = str(row.tags[Tag.TRIAL])
        return trial if len(self.sweeps) == 1 else f"{trial} of {row.tags[Tag.SWEEP]}"

    def _is_result(self, row: Row) -> bool:
        return all(is_result(row.metrics, metric) for metric in self.metrics)

    def _is_wanted(self, row: Row) -> bool:
        words = {word: row.tags[tag] for word, tag in _WORDS.items() if tag in row.tags}
        return matches(self.conditions, row.metrics, {**row.params, **words})

    def _key(self, row: Row) -> tuple[float, str]:
        metric = self.metrics[0]
        return rank_key(row.metrics[metric], direction_of(metric), row.tags[Tag.TRIAL])


def _best_trial(client: MlflowClient, row: Row, metric: str, sweep: _SweepRun) -> BestTrial:
    tags = row.tags
    configs = [_config_or_fault(client, run) for run in row.runs]
    config, fault = configs[0]
    return BestTrial(
        sweep=tags[Tag.SWEEP],
        run_id=row.first.info.run_id,
        trial=tags[Tag.TRIAL],
        method=tags[Tag.METHOD],
        stop_reason=tags[Tag.STOP_REASON],
        outcome=tags.get(Tag.OUTCOME),
        dataset=tags[Tag.DATASET],
        metric=metric,
        metrics=row.metrics,
        stderr=row.stderr,
        seeds=[config.seed for config, _ in configs if config],
        run_ids=row.run_ids,
        config=config,
        fault=fault,
        sweep_id=tags[Tag.SWEEP_ID],
        identity=identity_of(tags, config.model.kind if config else ""),
        ranking=sweep.ranking,
        epoch=int(row.first.data.metrics.get("epoch", 0)),
        searched_by=sweep.metric,
    )


def _config_or_fault(client: MlflowClient, run: Run) -> tuple[TrialConfig | None, str]:
    try:
        return config_of(client, run), ""
    except UserError as error:
        return None, str(error)
