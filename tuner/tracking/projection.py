"""A sweep's journal as MLflow runs: one parent run, one child a trial."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trainables.config.paths import flatten
from trainables.files.trial_files import RESULT_FILES, trial_files
from trainables.folder import Folder
from trainables.identity import Identity
from trainables.ranking import LAST
from tuner.sweeps.events import Asked, Event, Finished, Header, Reported
from tuner.sweeps.metrics import is_usable
from tuner.sweeps.origins import DATA
from tuner.sweeps.state import Sweep, Trial
from tuner.sweeps.status import ranked_trials
from tuner.sweeps.tracking_uri import cause_of
from tuner.tracking.configurations import CONFIG, config_digest, config_text, is_same_config
from tuner.tracking.identity_tags import identity_tags
from tuner.tracking.mlflow_store import (
    RANKED,
    MlflowClient,
    Run,
    Tag,
    ensure_experiment,
    find_runs,
    has_tags,
    status_of,
)
from tuner.tracking.params import altered, to_params
from tuner.tracking.records import Change, NewRun, Point, records_of
from tuner.tracking.run_files import RunFiles

_PARENT = ""
_ERROR = "error.txt"
_OF_TODAY = {Tag.CONFIG, Tag.DATA, Tag.CODE, Tag.VERSIONS}
"""Tags that the runs of earlier versions never had."""


class Projection:
    """The events of one sweep, sent to MLflow in batches.

    Idempotent: runs are found again by their tags, and MLflow drops an exact repeat of a metric point, so any part of
    a journal may be projected again. After a failure take a new one and `resume`. A file that cannot be sent is noted,
    and holds up nothing behind it.

    trials: the path or the URI below which the trials' files lie, which become artifacts; None for no artifacts.
    tags: the user's own, set on every run. unsent_files: by trial, why a file of its run was not sent; kept up.
    mended: how many records `resume` has sent again. notes: what it found that it cannot, or did not quietly, mend.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment: str,
        trials: Path | str | None = None,
        tags: Mapping[str, str] | None = None,
        unsent_files: dict[str, str] | None = None,
    ):
        self.unsent_files = {} if unsent_files is None else unsent_files
        self.mended = 0
        self.notes: list[str] = []
        self._client, self._records = client, records_of(client)
        self._experiment_id = ensure_experiment(client, experiment)
        self._trials = trials
        self._tags = dict(tags or {})
        self._sweep = Sweep()
        self._header: Mapping[str, Any] = {}
        self._begun = 0.0
        self._parent: Run | None = None
        self._runs: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._statuses: dict[str, str] = {}
        self._tags_there: dict[str, dict[str, str]] = {}
        self._reopened: set[str] = set()
        self._times: dict[tuple[str, str], dict[int, int]] = {}

    @property
    def parent_run_id(self) -> str | None:
        """The sweep's own run, None until it exists."""
        return self._runs.get(_PARENT)

    def run_ids(self) -> dict[str, str]:
        """Trial → run."""
        return {trial: run_id for trial, run_id in self._runs.items() if trial != _PARENT}

    def resume(self, events: Sequence[Event], *, every_epoch: bool = False) -> int:
        """Fold the events that MLflow has already, and send again what it has lost of them; returns their number.

        every_epoch: look for each epoch of each trial, a request a trial: a store that was put back to an older copy
        while it was written may lack some amid others.
        """
        if not events:
            return 0
        self._find_parent(events[0])
        known = events[: _number_synced(events, self._mark_there())]
        for event in known:
            self._fold(event)
        self._mend(known, self._find_trials(every_epoch))
        return len(known)

    def project(self, events: Iterable[Event]) -> None:
        """Send a sweep's next events."""
        by_trial: dict[str, list[Event]] = {}
        parent_points: list[Point] = []
        last: Event | None = None
        for last in events:
            if self._fold(last) and (trial := _trial_of(last)):
                by_trial.setdefault(trial, []).append(last)
            if isinstance(last, Finished):
                parent_points += self._final_points(last)
        if last is None:
            return
        self._ensure_runs(by_trial)
        changes = [self._change_of(self._sweep.trials[trial], own) for trial, own in by_trial.items()]
        self._write([*changes, *self._changes_of_parent(last, parent_points)])

    # --- the fold -----------------------------------------------------------------------------------------------------

    def _fold(self, event: Event) -> bool:
        """Whether the event was news."""
        if not self._header:
            self._find_parent(event)
            self._find_trials()
        before = self._n_reports(event)
        self._sweep.apply(event)
        return not isinstance(event, Reported) or self._n_reports(event) > before

    def _n_reports(self, event: Event) -> int:
        trial = self._sweep.trials.get(_trial_of(event))
        return len(trial.reports) if trial else 0

    def _best(self) -> Trial | None:
        return next(iter(ranked_trials(self._sweep)), None)

    def _counts(self) -> Counter[str]:
        return Counter(trial.stop_reason for trial in self._sweep.trials.values() if trial.stop_reason)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _find_parent(self, first: Event) -> None:
        assert isinstance(first, Header)
        self._header, self._begun = first.document, first.t
        for run in self._of_kind("sweep"):
            if self._take(_PARENT, run):
                self._parent = run

    def _find_trials(self, every_epoch: bool = False) -> dict[str, list[str]]:
        """Find the trials' runs; returns by trial what its run lacks of all that was folded."""
        found: dict[str, list[str]] = {}
        for run in self._of_kind("trial"):
            key = run.data.tags.get(Tag.TRIAL, "")
            if self._take(key, run) and key in self._sweep.trials:
                found[key] = self._lacks(self._sweep.trials[key], run, every_epoch)
        return found

    def _of_kind(self, kind: str) -> Iterable[Run]:
        tags = {Tag.SWEEP_ID: self._header["sweep_id"], Tag.KIND: kind}
        return find_runs(self._client, self._experiment_id, has_tags(tags))

    def _take(self, key: str, run: Run) -> bool:
        """Whether a run is the one that records go to: of two, as where one that was deleted came back, the first by
        its id."""
        run_id, known = run.info.run_id, self._runs.get(key)
        if known is not None:
            kept, other = sorted((known, run_id))
            of = f"trial {key}" if key else "the sweep itself"
            self.notes.append(f"{of} has two runs in MLflow, and records go to {kept}; delete {other} there")
            if kept == known:
                return False
        self._runs[key] = run_id
        self._reopened.add(run_id)
        self._remember(run)
        return True

    def _remember(self, run: Run) -> None:
        self._note(run.info.run_id, run.info.artifact_uri, run.info.status, run.data.tags)

    def _note(self, run_id: str, artifact_uri: str, status: str, tags: Mapping[str, str]) -> None:
        self._places[run_id], self._statuses[run_id], self._tags_there[run_id] = artifact_uri, status, dict(tags)

    def _mark_there(self) -> str:
        return str(self._parent.data.tags.get(Tag.SYNCED, "")) if self._parent else ""

    def _ensure_runs(self, by_trial: Mapping[str, Sequence[Event]]) -> None:
        """Make the runs that are missing of the sweep and of these trials; a trial's begins with its first event."""
        if _PARENT not in self._runs:
            self._make({_PARENT: NewRun(self._header["name"], milliseconds(self._begun), self._parent_tags())})
        missing = [trial for trial in by_trial if trial not in self._runs]
        if missing:
            self._make({trial: self._run_of(trial, by_trial[trial][0]) for trial in missing})

    def _run_of(self, trial: str, first: Event) -> NewRun:
        tags = self._identity_of(self._sweep.trials[trial])
        return NewRun(f"{self._header['name']}-{trial}", milliseconds(first.t), tags)

    def _make(self, runs: Mapping[str, NewRun]) -> None:
        ours = {**self._tags, Tag.SWEEP: self._header["name"], Tag.SWEEP_ID: self._header["sweep_id"]}
        new = [replace(run, tags={**ours, **run.tags}) for run in runs.values()]
        made = self._records.create(self._experiment_id, new)
        for key, run, (run_id, artifact_uri) in zip(runs, new, made, strict=True):
            self._runs[key] = run_id
            self._note(run_id, artifact_uri, "RUNNING", run.tags)

    def _write(self, changes: Sequence[Change]) -> None:
        self._records.write(changes)
        for change in changes:
            self._tags_there[change.run_id].update(change.tags)
            self._statuses[change.run_id] = change.status or self._statuses[change.run_id]

    def _new_tags(self, run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
        return {tag: text for tag, text in tags.items() if self._tags_there[run_id].get(tag) != text}

    def _new_status(self, run_id: str, status: str, last: Event) -> dict[str, Any]:
        if status == self._statuses[run_id]:
            return {}
        return {"status": status, "end": None if status == "RUNNING" else milliseconds(last.t)}

    # --- one trial ----------------------------------------------------------------------------------------------------

    def _change_of(self, trial: Trial, events: Sequence[Event]) -> Change:
        run_id = self._runs[trial.id]
        asked = any(isinstance(event, Asked) for event in events)
        self._send_files(trial, [*([CONFIG] if asked else []), *self._results_of(trial)])
        reports = [event for event in events if isinstance(event, Reported)]
        return Change(
            run_id,
            [
                *(point for report in reports for point in self._news(run_id, report)),
                *_ranked_points(trial, events[-1].t),
            ],
            self._params_lacking(run_id, trial) if asked else {},
            self._new_tags(run_id, self._tags_of(trial)),
            **self._new_status(run_id, status_of(trial.stop_reason), events[-1]),
        )

    def _params_lacking(self, run_id: str, trial: Trial) -> dict[str, str]:
        """MLflow refuses a parameter that it has with another value."""
        there = self._client.get_run(run_id).data.params if run_id in self._reopened else {}
        return {path: text for path, text in to_params(trial.config).items() if path not in there}

    def _news(self, run_id: str, report: Reported) -> list[Point]:
        """A report's points, but for those of an epoch that MLflow has from another line: a journal that lost its tail
        in a power failure has the epoch again, at another time and with other seconds."""
        points = points_of(report.metrics, report.t, report.epoch)
        if not points or self._time_there(run_id, points[0]) in (None, points[0].timestamp):
            return points
        return [point for point in points if self._time_there(run_id, point) is None]

    def _time_there(self, run_id: str, point: Point) -> int | None:
        """The time of a metric's step in a run that was there before."""
        return self._times_there(run_id, point.key).get(point.step)

    def _times_there(self, run_id: str, metric: str) -> dict[int, int]:
        """Step → time, of a metric of a run that was there before."""
        if (run_id, metric) not in self._times:
            history = self._client.get_metric_history(run_id, metric) if run_id in self._reopened else []
            self._times[run_id, metric] = {known.step: known.timestamp for known in history}
        return self._times[run_id, metric]

    def _identity_of(self, trial: Trial) -> dict[str, str]:
        return {
            Tag.KIND: "trial",
            Tag.PARENT: self._runs[_PARENT],
            Tag.TRIAL: trial.id,
            Tag.METHOD: trial.method,
            Tag.DATASET: _dataset_of(trial),
            Tag.CONFIG: config_digest(trial.config),
            **({Tag.CONFIGURATION: f"{trial.number:04}", **self._repeats()} if self._repeats() else {}),
        }

    def _repeats(self) -> dict[str, str]:
        """How many seeds a configuration has, where it has several."""
        return {Tag.REPEATS: str(self._sweep.repeats)} if self._sweep.repeats > 1 else {}

    def _tags_of(self, trial: Trial) -> dict[str, str]:
        return {**self._identity_of(trial), **_state_of(trial), **identity_tags(trial.identity)}

    # --- files --------------------------------------------------------------------------------------------------------

    def check_files(self, trials: Iterable[str] | None = None) -> int:
        """Send the files that runs lack, and a `config.yaml` that is not what was run, of these trials or of all;
        returns how many."""
        chosen = list(self._sweep.trials if trials is None else trials)
        for trial in chosen:
            self.unsent_files.pop(trial, None)
        return sum(self._send_files(self._sweep.trials[trial], None) for trial in chosen)

    def _send_files(self, trial: Trial, names: Collection[str] | None) -> int:
        """Send these files of a trial's run, or those that it lacks; returns how many. A failure is noted."""
        sent = 0
        if names is not None and not names:
            return sent
        try:
            files = RunFiles(self._client, self._places[self._runs[trial.id]])
            for name in self._lacking(trial, files) if names is None else names:
                self._sender(trial, name)(files)
                sent += 1
        except Exception as error:  # whatever a store of files raises: records go on without it
            self.unsent_files[trial.id] = cause_of(error)
        return sent

    def _lacking(self, trial: Trial, files: RunFiles) -> list[str]:
        there = files.names()
        wanted = [name for name in (CONFIG, *self._results_of(trial)) if name not in there]
        if CONFIG in there and not is_same_config(files.text(CONFIG), config_digest(trial.config)):
            wanted.append(CONFIG)
        return wanted

    def _results_of(self, trial: Trial) -> list[str]:
        """The files that a trial's end brings."""
        error = [_ERROR] if trial.error else []
        if trial.stop_reason != "completed" or self._trials is None:
            return error
        return [*error, *results_in(trial_files(self._trials, trial.id))]

    def _sender(self, trial: Trial, name: str) -> Callable[[RunFiles], None]:
        if name == CONFIG:
            return lambda files: files.send_text(CONFIG, config_text(trial.config))
        if name == _ERROR:
            return lambda files: files.send_text(_ERROR, str(trial.error))
        return partial(send_result, source=trial_files(str(self._trials), trial.id), name=name)

    # --- what is lost -------------------------------------------------------------------------------------------------

    def _lacks(self, trial: Trial, run: Run, every_epoch: bool) -> list[str]:
        """What a run lacks of the parameters, tags and status of a trial, and of the points of its last epoch, or of
        `every_epoch`; a parameter that was edited is noted, since MLflow keeps it."""
        wanted, there = to_params(trial.config), run.data.params
        if edited := altered(wanted, there):
            self.notes.append(
                f"run {run.info.run_id} of trial {trial.id} has parameters that were edited, which MLflow keeps "
                f"({', '.join(edited)}); they count for --where alone, and where the run is deleted it is made anew"
            )
        points = {
            point.key: point.value
            for report in trial.reports
            for point in points_of(report.metrics, report.t, report.epoch)
        }
        points |= {point.key: point.value for point in _ranked_points(trial, 0)}
        has_points = points.keys() <= run.data.metrics.keys() and (
            run.data.metrics.get("epoch", 0.0) >= points.get("epoch", 0.0)
        )
        if has_points and every_epoch and "epoch" in points:
            has_points = {report.epoch for report in trial.reports} <= self._times_there(
                run.info.run_id, "epoch"
            ).keys()
        return [
            *(["parameters"] if not wanted.keys() <= there.keys() else []),
            *(tag for tag, text in self._tags_of(trial).items() if run.data.tags.get(tag) != text),
            *(["its status"] if run.info.status != status_of(trial.stop_reason) else []),
            *([] if has_points else ["metrics"]),
        ]

    def _mend(self, known: Sequence[Event], lacks: Mapping[str, Sequence[str]]) -> None:
        """Send again all that is known of the trials whose runs lack something, and what the sweep's own run lacks."""
        if not known:
            return
        self.notes += _lost(self._sweep.trials, lacks)
        by_trial: dict[str, list[Event]] = {}
        for event in known:
            if (trial := _trial_of(event)) and lacks.get(trial) != []:
                by_trial.setdefault(trial, []).append(event)
        self._ensure_runs(by_trial)
        changes = [self._change_of(self._sweep.trials[trial], own) for trial, own in by_trial.items()]
        lacking = self._lacking_of_parent(known[-1])
        self._write([*changes, *lacking])
        self.mended += sum(map(len, by_trial.values())) + bool(lacking)

    def _lacking_of_parent(self, last: Event) -> list[Change]:
        assert self._parent is not None  # it bears the mark by which events are known
        points = self._final_points(last) if isinstance(last, Finished) else []
        tags, there = {**self._parent_tags(), **self._summary()}, self._parent.data
        if tags.items() <= there.tags.items() and {point.key for point in points} <= there.metrics.keys():
            return []
        return self._changes_of_parent(last, points)

    # --- the parent ---------------------------------------------------------------------------------------------------

    def _parent_tags(self) -> dict[str, str]:
        metric = self._header["metric"]
        return {
            Tag.KIND: "sweep",
            Tag.METRIC: metric,
            Tag.DIRECTION: self._header["direction"],
            Tag.METRICS: ", ".join(self._header.get("metrics", [metric])),
            **({} if self._sweep.ranking.kind == LAST else {Tag.RANKING: self._sweep.ranking.kind}),
            **self._repeats(),
        }

    def _changes_of_parent(self, last: Event, points: Sequence[Point]) -> list[Change]:
        """The mark comes last: what is before it is not sent again."""
        run_id, status = self._runs[_PARENT], status_of(self._sweep.finished)
        tags = {**self._parent_tags(), **self._summary(), Tag.SYNCED: _mark(last)}
        return [
            Change(run_id, **self._new_status(run_id, status, last)),
            Change(run_id, points, tags=self._new_tags(run_id, tags)),
        ]

    def _summary(self) -> dict[str, str]:
        trials = list(self._sweep.trials.values())
        summary = {
            Tag.STOP_REASON: self._sweep.finished or "running",
            Tag.STOP_REASONS: json.dumps(self._counts(), sort_keys=True),
        }
        if trials:
            methods = sorted({trial.method for trial in trials})
            summary |= {
                Tag.DATASET: _dataset_of(trials[0]),
                Tag.MEASURED: json.dumps(flatten({name: trials[0].config[name] for name in ("data", "metrics")})),
                Tag.METHODS: ", ".join(methods),
            }
        summary |= self._identity()
        best = self._best()
        if best:
            summary |= {
                Tag.BEST_RUN_ID: self._runs[best.id],
                Tag.BEST_TRIAL: best.id,
                Tag.BEST_VALUE: repr(best.ranked[self._header["metric"]]),
                Tag.BEST_PARAMS: json.dumps(to_params(best.assignment)),
            }
        return summary

    def _identity(self) -> dict[str, str]:
        """Of several digests all; of models by their kind, as a sweep may have some."""
        said = self._sweep.origins
        tags = identity_tags(Identity(said.pop(DATA, None), versions=self._sweep.versions))
        tags |= {Tag.CODE: json.dumps(said)} if said else {}
        return tags | ({Tag.CHANGED: "; ".join(self._sweep.changed)} if self._sweep.changed else {})

    def _final_points(self, finish: Finished) -> list[Point]:
        """The best metric, and how many trials ended how, at the number of trials so far."""
        step, metric, best = len(self._sweep.trials), self._header["metric"], self._best()
        values = {f"trials/{reason}": float(count) for reason, count in self._counts().items()}
        if best:
            values[metric] = best.ranked[metric]
        return [Point(key, value, milliseconds(finish.t), step) for key, value in values.items()]


def _lost(trials: Iterable[str], lacks: Mapping[str, Sequence[str]]) -> list[str]:
    """What became of the runs of trials. lacks: by trial, what its run lacks; none where the run is gone."""
    found = [f"the run of trial {trial} was gone and was made anew" for trial in trials if trial not in lacks]
    older = [trial for trial, parts in lacks.items() if parts and _OF_TODAY.issuperset(parts)]
    for trial, parts in lacks.items():
        if parts and trial not in older:
            found.append(f"the run of trial {trial} lacked a part of its record: {', '.join(parts)}")
    if older:
        tags = ", ".join(sorted({tag for trial in older for tag in lacks[trial]}))
        found.append(f"the runs of {len(older)} trials are of an earlier version and were given the tags {tags}")
    return found


def _number_synced(events: Sequence[Event], mark: str) -> int:
    """How many events precede and include the marked one; 0 where the journal does not hold it."""
    number = int(mark.split()[0]) + 1 if mark else 0
    return number if 0 < number <= len(events) and _mark(events[number - 1]) == mark else 0


def _mark(event: Event) -> str:
    """Place and time: a journal that lost its tail in a power failure has another event in the same place."""
    return f"{event.seq} {event.t!r}"


def _state_of(trial: Trial) -> dict[str, str]:
    outcome = {Tag.OUTCOME: trial.outcome} if trial.outcome else {}
    return {Tag.STOP_REASON: trial.stop_reason or "running", **outcome}


def _dataset_of(trial: Trial) -> str:
    return str(trial.config["data"]["name"])


def _trial_of(event: Event) -> str:
    """The trial that an event is about; empty where it is about the sweep."""
    return str(getattr(event, "trial", ""))


def milliseconds(t: float) -> int:
    """MLflow's time, of seconds since 1970."""
    return round(float(t) * 1000)


def points_of(metrics: Mapping[str, float], t: float, epoch: int) -> list[Point]:
    """The finite metrics of an epoch; MLflow would store ±inf as numbers that win rankings. t: seconds since 1970."""
    time = milliseconds(t)
    return [Point(name, float(value), time, epoch) for name, value in metrics.items() if is_usable(value)]


def _ranked_points(trial: Trial, t: float) -> list[Point]:
    """What a trial is ranked by, at the epoch that it ended with; none where that is its last epoch."""
    if trial.ranking.kind == LAST or trial.stop_reason is None:
        return []
    return points_of({f"{RANKED}{name}": value for name, value in trial.ranked.items()}, t, trial.epochs)


def results_in(source: Folder) -> list[str]:
    """The files that a finished trial leaves and that become artifacts; `config.yaml` comes from the journal. A folder
    that is a link may hold what is none of ours."""
    if source.is_link():
        return []
    return [name for name in source.names() if name in RESULT_FILES and name != CONFIG]


def send_result(files: RunFiles, source: Folder, name: str) -> None:
    """Put a file that a trial has left among those of its run."""
    with source.reading(name) as path:
        files.send(path)
