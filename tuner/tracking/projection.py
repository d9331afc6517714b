"""A sweep's journal as MLflow runs: one parent run, one child a trial."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.paths import flatten
from trainables.results import RESULT_FILES
from trainables.trial_files import TrialFiles, trial_files
from tuner.queries.metrics_info import is_usable
from tuner.running.sweep_status import ranked_trials
from tuner.storage.sweep_state import Sweep, Trial
from tuner.tracking.mlflow_store import (
    Metric,
    MlflowClient,
    Tag,
    ensure_experiment,
    find_runs,
    has_tags,
    log_batches,
    status_of,
)
from tuner.tracking.params import to_params

__all__ = ["Projection", "points_of", "upload"]

Event = Mapping[str, Any]
_PARENT = ""


class Projection:
    """The events of one sweep, sent to MLflow in batches.

    Idempotent: runs are found again by their tags, and MLflow drops an exact repeat of a metric point, so any part of
    a journal may be projected again. After a failure take a new one and `resume`.

    trials: the path or the URI below which the trials' files lie, which become artifacts; None for no artifacts.
    tags: the user's own, set on every run.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment: str,
        trials: Path | str | None = None,
        tags: Mapping[str, str] | None = None,
    ):
        self._client = client
        self._experiment_id = ensure_experiment(client, experiment)
        self._trials = trials
        self._tags = dict(tags or {})
        self._sweep = Sweep()
        self._header: Event = {}
        self._finished: str | None = None
        self._synced = ""
        self._runs: dict[str, str] = {}
        self._statuses: dict[str, str] = {}
        self._reopened: set[str] = set()
        self._times: dict[tuple[str, str], dict[int, int]] = {}

    @property
    def parent_run_id(self) -> str | None:
        """The sweep's own run, None until it exists."""
        return self._runs.get(_PARENT)

    def run_ids(self) -> dict[str, str]:
        """Trial → run."""
        return {trial: run_id for trial, run_id in self._runs.items() if trial != _PARENT}

    def resume(self, events: Sequence[Event]) -> int:
        """Fold the events that MLflow has already, without sending any; returns their number."""
        if events:
            self._find_runs(events[0])
        known = _number_synced(events, self._synced)
        for event in events[:known]:
            self._fold(event)
        return known

    def project(self, events: Iterable[Event]) -> None:
        """Send a sweep's next events."""
        by_trial: dict[str, list[Event]] = {}
        parent_points: list[Metric] = []
        last: Event | None = None
        for last in events:
            if self._fold(last) and "trial" in last:
                by_trial.setdefault(last["trial"], []).append(last)
            if last["event"] == "finish":
                parent_points += self._final_points(last)
        if last is None:
            return
        self._ensure_parent()
        for trial, own in by_trial.items():
            self._project_trial(self._sweep.trials[trial], own)
        self._project_parent(last, parent_points)

    # --- the fold -----------------------------------------------------------------------------------------------------

    def _fold(self, event: Event) -> bool:
        """Whether the event was news."""
        if not self._header:
            self._find_runs(event)
        before = self._n_reports(event)
        self._sweep.apply(event)
        self._finished = event["reason"] if event["event"] == "finish" else None
        return event["event"] != "report" or self._n_reports(event) > before

    def _n_reports(self, event: Event) -> int:
        trial = self._sweep.trials.get(event.get("trial", ""))
        return len(trial.reports) if trial else 0

    def _best(self) -> Trial | None:
        return next(iter(ranked_trials(self._sweep)), None)

    def _counts(self) -> Counter[str]:
        return Counter(trial.stop_reason for trial in self._sweep.trials.values() if trial.stop_reason)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _find_runs(self, header: Event) -> None:
        self._header = header
        for run in find_runs(self._client, self._experiment_id, has_tags({Tag.SWEEP_ID: header["sweep_id"]})):
            tags = run.data.tags
            if tags[Tag.KIND] in ("sweep", "trial"):
                self._runs[tags.get(Tag.TRIAL, _PARENT)] = run.info.run_id
                self._reopened.add(run.info.run_id)
                self._statuses[run.info.run_id] = run.info.status
                self._synced = tags.get(Tag.SYNCED, self._synced)

    def _ensure_run(self, trial: str, name: str, tags: Mapping[str, str], event: Event) -> str:
        if trial not in self._runs:
            identity = {Tag.SWEEP: self._header["name"], Tag.SWEEP_ID: self._header["sweep_id"]}
            run = self._client.create_run(
                self._experiment_id, _milliseconds(event), {**self._tags, **identity, **tags}, name
            )
            self._runs[trial] = run.info.run_id
            self._statuses[run.info.run_id] = run.info.status
        return self._runs[trial]

    def _set_status(self, run_id: str, status: str, event: Event) -> None:
        if self._statuses[run_id] == status:
            return
        if status == "RUNNING":
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, _milliseconds(event))
        self._statuses[run_id] = status

    # --- one trial ----------------------------------------------------------------------------------------------------

    def _project_trial(self, trial: Trial, events: Sequence[Event]) -> None:
        run_id = self._ensure_run(trial.id, f"{self._header['name']}-{trial.id}", self._identity_of(trial), events[0])
        asked = any(event["event"] == "ask" for event in events)
        log_batches(
            self._client,
            run_id,
            metrics=[point for event in events if event["event"] == "report" for point in self._news(run_id, event)],
            params=to_params(trial.config) if asked else {},
            tags=_state_of(trial),
        )
        if trial.stop_reason == "completed" and self._trials is not None:
            upload(self._client, run_id, trial_files(self._trials, trial.id))
        if trial.error:
            self._client.log_text(run_id, trial.error, "error.txt")
        self._set_status(run_id, status_of(trial.stop_reason), events[-1])

    def _news(self, run_id: str, report: Event) -> list[Metric]:
        """A report's points, but for those of an epoch that MLflow has from another line: a journal that lost its tail
        in a power failure has the epoch again, at another time and with other seconds."""
        points = points_of(report)
        if not points or self._time_there(run_id, points[0]) in (None, points[0].timestamp):
            return points
        return [point for point in points if self._time_there(run_id, point) is None]

    def _time_there(self, run_id: str, point: Metric) -> int | None:
        """The time of a metric's step in a run that was there before."""
        if (run_id, point.key) not in self._times:
            history = self._client.get_metric_history(run_id, point.key) if run_id in self._reopened else []
            self._times[run_id, point.key] = {known.step: known.timestamp for known in history}
        return self._times[run_id, point.key].get(point.step)

    def _identity_of(self, trial: Trial) -> dict[str, str]:
        return {
            Tag.KIND: "trial",
            Tag.PARENT: self._runs[_PARENT],
            Tag.TRIAL: trial.id,
            Tag.METHOD: trial.method,
            Tag.DATASET: _dataset_of(trial),
        }

    # --- the parent ---------------------------------------------------------------------------------------------------

    def _ensure_parent(self) -> None:
        metric = self._header["metric"]
        tags = {
            Tag.KIND: "sweep",
            Tag.METRIC: metric,
            Tag.DIRECTION: self._header["direction"],
            Tag.METRICS: ", ".join(self._header.get("metrics", [metric])),
        }
        self._ensure_run(_PARENT, self._header["name"], tags, self._header)

    def _project_parent(self, last: Event, points: Sequence[Metric]) -> None:
        run_id = self._runs[_PARENT]
        # The mark comes last: what is before it is not sent again.
        self._set_status(run_id, status_of(self._finished), last)
        log_batches(self._client, run_id, points, tags={**self._summary(), Tag.SYNCED: _mark(last)})

    def _summary(self) -> dict[str, str]:
        trials = list(self._sweep.trials.values())
        summary = {
            Tag.STOP_REASON: self._finished or "running",
            Tag.STOP_REASONS: json.dumps(self._counts(), sort_keys=True),
        }
        if trials:
            methods = sorted({trial.method for trial in trials})
            summary |= {
                Tag.DATASET: _dataset_of(trials[0]),
                Tag.MEASURED: json.dumps(flatten({name: trials[0].config[name] for name in ("data", "metrics")})),
                Tag.METHODS: ", ".join(methods),
            }
        best = self._best()
        if best:
            summary |= {
                Tag.BEST_RUN_ID: self._runs[best.id],
                Tag.BEST_TRIAL: best.id,
                Tag.BEST_VALUE: repr(best.last[self._header["metric"]]),
                Tag.BEST_PARAMS: json.dumps(to_params(best.assignment)),
            }
        return summary

    def _final_points(self, finish: Event) -> list[Metric]:
        """The best metric, and how many trials ended how, at the number of trials so far."""
        step, metric, best = len(self._sweep.trials), self._header["metric"], self._best()
        values = {f"trials/{reason}": float(count) for reason, count in self._counts().items()}
        if best:
            values[metric] = best.last[metric]
        return [Metric(key, value, _milliseconds(finish), step) for key, value in values.items()]


def _number_synced(events: Sequence[Event], mark: str) -> int:
    """How many events precede and include the marked one; 0 where the journal does not hold it."""
    number = int(mark.split()[0]) + 1 if mark else 0
    return number if 0 < number <= len(events) and _mark(events[number - 1]) == mark else 0


def _mark(event: Event) -> str:
    """Place and time: a journal that lost its tail in a power failure has another event in the same place."""
    return f"{event['seq']} {event['t']!r}"


def _state_of(trial: Trial) -> dict[str, str]:
    outcome = {Tag.OUTCOME: trial.outcome} if trial.outcome else {}
    return {Tag.STOP_REASON: trial.stop_reason or "running", **outcome}


def _dataset_of(trial: Trial) -> str:
    return str(trial.config["data"]["name"])


def _milliseconds(event: Event) -> int:
    """MLflow's time of an event."""
    return round(float(event["t"]) * 1000)


def points_of(report: Event) -> list[Metric]:
    """A report's finite metrics; MLflow would store ±inf as numbers that win rankings."""
    time = _milliseconds(report)
    return [
        Metric(name, float(value), time, report["epoch"])
        for name, value in report["metrics"].items()
        if is_usable(value)
    ]


def upload(client: MlflowClient, run_id: str, files: TrialFiles) -> None:
    """What a finished trial leaves, as artifacts; a folder that is a link may hold what is none of ours."""
    if isinstance(files.place, Path) and files.place.is_symlink():
        return
    for name in files.names():
        if name in RESULT_FILES:
            with files.reading(name) as path:
                client.log_artifact(run_id, str(path))
