"""What a sweep's events amount to: the state that is a fold of its journal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from trainables.config.paths import parse_config
from trainables.grouping import grouped
from trainables.identity import Identity
from trainables.phases import Phases, phases_of
from trainables.ranking import BEST, BY_LAST, LAST, MEAN, Best, Eligible, Ranking, mean, tolerance_of
from trainables.values import steps_per_epoch
from tuner.sweeps.events import (
    Asked,
    BudgetSpent,
    Decided,
    EarlierTrial,
    Ended,
    Event,
    Exhausted,
    Failed,
    Finished,
    Header,
    Line,
    Reported,
    Resumed,
    check_order,
    line_of,
    parse_event,
    unusable,
)
from tuner.sweeps.means import common_outcome, means, standard_errors
from tuner.sweeps.origins import DATA

NODES_IN_A_ROW = 10

# What befalls a trial from outside: it says nothing about its configuration.
FROM_OUTSIDE = ("worker", "node")
REFUSED = "refused"
"""The kind of a trial whose configuration is not valid; it says what was drawn, and cannot be read."""


@dataclass
class Trial:
    """A configuration and what became of it. stop_reason: None while it runs.

    pauses: how often it paused to wait for others; releases: how often it was decided on after that.
    in_step: whether it holds the place it was handed out to, neither paused nor lost since its last epoch.
    lost: how often it was lost with its worker or node, or its model raised. failures: how often that counted.
    width: of how many trials a lane with it may consist, None for any number: of half as many as were lost with it.
    alone: whether it ran out of memory and runs with nothing beside it since. nodes_lost: how often its node was lost
    since its last epoch. kind: of its latest failure, as in the journal. why: a sentence, where it was stopped for not
    becoming better. data, code: the digests it was asked for and reported under, one each where nothing changed;
    versions: of packages, in its last session.

    number: of the configuration, in the order of asks. repeat: which of its seeds. runs: where this stands for a
    configuration of several seeds, the trial of each; its own metrics are their means then, and its id and seed the
    first one's.

    begun: when it was asked for. heard: when it was last reported or ended. Both in seconds since 1970.
    """

    id: str
    number: int
    assignment: dict[str, Any]
    config: dict[str, Any]
    method: str
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: list[Reported] = field(default_factory=list)
    stop_reason: str | None = None
    outcome: str | None = None
    error: str | None = None
    pauses: int = 0
    releases: int = 0
    in_step: bool = True
    lost: int = 0
    failures: int = 0
    width: int | None = None
    alone: bool = False
    nodes_lost: int = 0
    kind: str = "raised"
    data: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    ranking: Ranking = BY_LAST
    why: str | None = None
    repeat: int = 0
    runs: tuple[Trial, ...] = ()
    begun: float = field(default=0.0, compare=False)
    heard: float = field(default=0.0, compare=False)

    @property
    def identity(self) -> Identity:
        """What it was trained on and with; of several digests all."""
        kind = str(self.config.get("model", {}).get("kind"))
        code = {kind: ", ".join(self.code)} if self.code else {}
        return Identity(", ".join(self.data) or None, code, self.versions)

    @cached_property
    def phases(self) -> Phases:
        """At which epochs its schedules let it be compared."""
        config = parse_config(self.config)
        n_train = config.data.n_train
        return phases_of(config, steps_per_epoch(n_train, config.batch_size) if n_train else 1)

    @cached_property
    def eligible(self) -> Eligible:
        """Which of its epochs may be its best."""
        return Eligible(self.phases, tolerance_of(parse_config(self.config)))

    @property
    def paused(self) -> bool:
        """Whether it waits to be decided on."""
        return self.unfinished and self.pauses > self.releases

    @property
    def unfinished(self) -> bool:
        """Whether it runs, or may go on in a later session."""
        return self.stop_reason in (None, "interrupted")

    @property
    def failed(self) -> bool:
        """Whether it ended without a result because of its configuration: it diverged, its model raised, or its memory
        did not suffice."""
        return self.stop_reason == "diverged" or (self.stop_reason == "error" and self.kind not in FROM_OUTSIDE)

    def counts(self, kind: str) -> bool:
        """Whether a failure of this kind is the trial's own: not that of memory that it shared, nor of a node, unless
        NODES_IN_A_ROW were lost before with no epoch between; then it may be the trial that ends its nodes."""
        return {"node": self.nodes_lost >= NODES_IN_A_ROW, "memory": self.alone}.get(kind, True)

    @property
    def epochs(self) -> int:
        """The last epoch reported."""
        return self.reports[-1].epoch if self.reports else 0

    def value_at(self, epoch: int | None, metric: str) -> float | None:
        """A metric as reported at an epoch; None where it was not."""
        return next((report.metrics.get(metric) for report in self.reports if report.epoch == epoch), None)

    @property
    def last(self) -> dict[str, float]:
        """The metrics of the last epoch."""
        return self.reports[-1].metrics if self.reports else {}

    @property
    def best(self) -> Best | None:
        """Its best epoch so far; None while there was none that may be."""
        found: Best | None = None
        for report in self.reports:
            found = self.ranking.better(found, report.epoch, report.metrics, self.eligible)
        return found

    @property
    def ranked_epoch(self) -> int:
        """The epoch that it is ranked by, whose model counts: the last but under `best`, and also there while none may
        be the best."""
        if self.runs:
            return self.runs[0].ranked_epoch
        best = self.best if self.ranking.kind == BEST else None
        return best.epoch if best else self.epochs

    @property
    def ranked(self) -> dict[str, float]:
        """A trial's metrics: those of the epoch that it is ranked by, or the means over the last ones; of several seeds
        the means of theirs."""
        if self.runs:
            return means([run.ranked for run in self.runs])
        if self.ranking.kind.startswith(MEAN) and self.reports:
            return self.ranking.mean([report.metrics for report in self.reports])
        epoch = self.ranked_epoch
        return next((report.metrics for report in reversed(self.reports) if report.epoch == epoch), {})

    def by(self, ranking: Ranking) -> Trial:
        """The same, ranked otherwise."""
        return replace(self, ranking=ranking, runs=tuple(run.by(ranking) for run in self.runs))

    @property
    def stderr(self) -> dict[str, float] | None:
        """Of several seeds the standard errors of their means, by metric; None of one."""
        return standard_errors([run.ranked for run in self.runs])

    @property
    def seeds(self) -> list[int]:
        """The seeds that it was trained with."""
        return [run.config["seed"] for run in self.runs or (self,)]


@dataclass
class Sweep:
    """What the events so far amount to. rungs: by rung, the value each trial was filed with, None where its schedules
    let it pass.

    priors: what the sampler was told beforehand; they are no trials of this sweep. more: trials beyond those planned.
    spent: whether the budget has stopped something. exhausted: whether nothing was left to ask for.
    seconds: in all sessions, each from its first event to its last. latest: session and time of the last event.
    places: where its sessions kept it, in their order; empty in old journals. digests: of its data (`data`) and of each
    model of the user's own (its kind), those that were ever said, the present one last. versions: of packages, in the
    last session that said so. changed: what of it was let pass although it was not the same.
    """

    header: dict[str, Any] = field(default_factory=dict)
    priors: list[EarlierTrial] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)
    rungs: dict[int, dict[str, float | None]] = field(default_factory=dict)
    finished: str | None = None
    more: int = 0
    spent: bool = False
    exhausted: bool = False
    seconds: float = 0.0
    latest: tuple[str, float] = ("", 0.0)
    places: list[str] = field(default_factory=list)
    digests: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    _ended: dict[int, Trial] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def identity(self) -> Identity:
        """What its last session trained on and with."""
        present = {name: known[-1] for name, known in self.digests.items()}
        return Identity(present.pop(DATA, None), present, self.versions)

    @property
    def origins(self) -> dict[str, str]:
        """Of its data and models, all their digests as text."""
        return {name: ", ".join(known) for name, known in self.digests.items()}

    @property
    def repeats(self) -> int:
        """How many seeds a configuration is trained with."""
        return len(self.header.get("seeds", ())) or 1

    @property
    def configurations(self) -> dict[str, Trial]:
        """The trials, those of one configuration as one, by the id of its first seed."""
        if self.repeats == 1:
            return self.trials
        groups = grouped((trial.number, trial) for trial in self.trials.values())
        return {runs[0].id: self._as_one(runs) for runs in groups.values()}

    def _as_one(self, runs: Sequence[Trial]) -> Trial:
        number = runs[0].number
        if number in self._ended:
            return self._ended[number]
        found = _merged(runs, self.repeats)
        if not any(run.unfinished for run in runs) and not found.unfinished:
            self._ended[number] = found
        return found

    def siblings(self, trial: Trial) -> list[Trial]:
        """The other seeds of its configuration that were asked for."""
        ids = [trial_id(trial.number, repeat, self.repeats) for repeat in range(self.repeats)]
        return [self.trials[other] for other in ids if other in self.trials and other != trial.id]

    def by_configuration(self) -> Sweep:
        """The sweep as if each configuration were one trial, filed at a rung when the last of its seeds was."""
        if self.repeats == 1:
            return self
        header = {name: value for name, value in self.header.items() if name != "seeds"}
        rungs = {rung: self._filed(values) for rung, values in self.rungs.items()}
        return replace(self, header=header, trials=self.configurations, rungs=rungs)

    def _filed(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        arrived: dict[int, list[float | None]] = {}
        found: dict[str, float | None] = {}
        for trial, value in values.items():
            number = self.trials[trial].number
            arrived.setdefault(number, []).append(value)
            if len(arrived[number]) == self.repeats:
                known = [value for value in arrived[number] if value is not None]
                found[trial_id(number, 0, self.repeats)] = mean(known) if len(known) == self.repeats else None
        return found

    @property
    def epochs(self) -> int:
        """How many epochs all trials have reported."""
        return sum(len(trial.reports) for trial in self.trials.values())

    @property
    def metrics(self) -> dict[str, str]:
        """What is searched by: metric → direction, the first first."""
        return dict(self.header.get("metrics") or {self.header["metric"]: self.header["direction"]})

    @property
    def ranking(self) -> Ranking:
        """By which epoch its trials are ranked; older sweeps by the last."""
        kind = self.header.get("spec", {}).get("search", {}).get("ranking", LAST)
        return Ranking(kind, self.header.get("metric", ""), self.header.get("direction", "max"))

    def apply(self, event: Event) -> None:
        """Fold one event; a report of a known epoch changes nothing, nor does an end of what has ended."""
        self.finished = None
        self._clock(event.session, event.t)
        match event:
            case Header(document=document):
                self.header = document
                self._begin(document.get("place"), document)
            case EarlierTrial():
                self.priors.append(event)
            case Asked():
                self._ask(event)
            case Reported():
                self._report(self.trials[event.trial], event)
            case Decided():
                self._release(self.trials[event.trial], event)
            case Failed():
                self._failure(self.trials[event.trial], event)
            case Resumed():
                self._resume(event.more)
                self._begin(event.place, line_of(event))
            case Ended():
                self._end(self.trials[event.trial], event)
            case BudgetSpent():
                self.spent = True
            case Exhausted():
                self.exhausted = True
            case Finished():
                self.finished = event.reason

    @property
    def planned(self) -> int:
        """How many configurations there shall be, as far as there are any to be had."""
        if self.exhausted:
            return len(self.configurations)
        return int(self.header["spec"]["search"]["trials"]) + self.more

    @property
    def planned_trials(self) -> int:
        """How many trials there shall be: one for each seed of each configuration."""
        return self.planned * self.repeats

    @property
    def resumable(self) -> bool:
        """Whether it was cut short, by a signal or with its process."""
        return self.finished not in ("completed", "budget")

    def _resume(self, more: int) -> None:
        self.more += more
        for trial in self.trials.values():
            if trial.stop_reason == "interrupted":
                trial.stop_reason = None

    def _begin(self, place: str | None, known: Mapping[str, Any]) -> None:
        """What a session begins with; what it does not say stays as it was."""
        if place and place not in self.places:
            self.places.append(place)
        for name, digest in {DATA: known.get("data"), **known.get("code", {})}.items():
            if digest:
                before = [other for other in self.digests.get(name, []) if other != digest]
                self.digests[name] = [*before, digest]
        self.versions = dict(known.get("versions", self.versions))
        self.changed += known.get("changed", [])

    def _ask(self, event: Asked) -> None:
        _check_id(event.trial)
        own = {name: getattr(event, name) for name in ("number", "assignment", "memory", "config", "method")}
        own |= {"ranking": self.ranking, "repeat": event.repeat or 0, "begun": event.t, "heard": event.t}
        asked = Trial(event.trial, **own)
        self._note_digests(self.trials.setdefault(event.trial, asked))

    def _note_digests(self, trial: Trial) -> None:
        kind = trial.config.get("model", {}).get("kind")
        for name, known in ((DATA, trial.data), (kind, trial.code)):
            digest = self.digests.get(name, [""])[-1]
            if digest and digest not in known:
                known.append(digest)
        if trial.data:  # else it is of a journal that says nothing of it
            trial.versions = self.versions

    def _clock(self, session: str, time: float) -> None:
        before, then = self.latest
        self.seconds += max(0.0, time - then) if session == before else 0.0
        self.latest = session, time

    def _report(self, trial: Trial, event: Reported) -> None:
        if event.epoch <= trial.epochs:
            return
        trial.reports.append(event)
        trial.heard = event.t
        self._note_digests(trial)
        trial.stop_reason, trial.outcome, trial.error, trial.why = event.reason, event.outcome, None, event.why
        trial.pauses += event.decision == "pause"
        trial.in_step = event.decision != "pause"
        trial.nodes_lost = 0
        self.spent |= event.reason == "budget"
        if event.rung is not None:
            self.rungs.setdefault(event.rung, {})[trial.id] = trial.value_at(event.compared, self.header["metric"])

    @staticmethod
    def _failure(trial: Trial, event: Failed) -> None:
        kind, trial.kind = event.kind, event.kind
        trial.lost += 1
        trial.in_step = False
        if event.members is not None:
            trial.width = max(1, event.members // 2)
            return
        trial.failures += trial.counts(kind)
        trial.alone |= kind == "memory"
        trial.nodes_lost += kind == "node"

    @staticmethod
    def _release(trial: Trial, event: Decided) -> None:
        if trial.paused:
            trial.stop_reason, trial.heard = event.reason, event.t
            trial.releases += 1

    @staticmethod
    def _end(trial: Trial, event: Ended) -> None:
        if trial.unfinished:
            trial.stop_reason, trial.error, trial.kind = event.reason, event.error, event.kind or trial.kind
            trial.heard = event.t


def _check_id(trial: object) -> None:
    """A trial's id names its folder."""
    if not (isinstance(trial, str) and re.fullmatch(r"[0-9]{4,}(-[0-9]+)?", trial)):
        raise ValueError(f"{trial!r} is not the id of a trial")


def trial_id(number: int, repeat: int, repeats: int) -> str:
    """`0007`, or where a configuration has several seeds `0007-2`."""
    return f"{number:04}" if repeats == 1 else f"{number:04}-{repeat}"


# --- a configuration of several seeds ---------------------------------------------------------------------------------


def _merged(runs: Sequence[Trial], n_seeds: int) -> Trial:
    """What the seeds of one configuration amount to, as far as all of them have come.

    One that failed is a failure of the configuration, and one that was pruned means that all are.
    """
    whole = len(runs) == n_seeds
    ended = next((run for run in runs if run.stop_reason in ("diverged", "error")), runs[0])
    return replace(
        runs[0],
        reports=[_mean_report(reports) for reports in zip(*(run.reports for run in runs), strict=False)]
        if whole
        else [],
        stop_reason=_common_reason([run.stop_reason for run in runs], whole),
        outcome=common_outcome([run.outcome for run in runs]),
        error=ended.error,
        kind=ended.kind,
        pauses=int(whole and all(run.paused for run in runs)),
        releases=0,
        data=list(dict.fromkeys(digest for run in runs for digest in run.data)),
        code=list(dict.fromkeys(digest for run in runs for digest in run.code)),
        runs=tuple(runs),
        heard=max(run.heard for run in runs),
    )


def _common_reason(reasons: Sequence[str | None], whole: bool) -> str | None:
    """The first that holds for all; a configuration ends when all its seeds have, or one is lost to it."""
    for reason in ("diverged", "error", "pruned"):
        if reason in reasons:
            return reason
    if not whole or None in reasons:
        return None
    return next((reason for reason in ("interrupted", "budget") if reason in reasons), "completed")


def _mean_report(reports: Sequence[Reported]) -> Reported:
    return replace(reports[0], metrics=means([report.metrics for report in reports]))


def fold(lines: Iterable[Line], place: str = "the journal") -> Sweep:
    """The state after these lines; raises JournalError that names line and event where they cannot be folded.

    place: what the error calls the journal.
    """
    return folded(lines, place)[1]


def folded(lines: Iterable[Line], place: str) -> tuple[list[Event], Sweep]:
    """The events that the lines say, and the state after them; raises JournalError as `fold` does."""
    events, sweep = [], Sweep()
    for number, line in enumerate(lines, 1):
        try:
            event = parse_event(line)
            check_order(event, bool(sweep.header), sweep.trials)
            sweep.apply(event)
        except Exception as error:  # what has a checksum may still say anything
            raise unusable(place, number, line["event"], error) from None
        events.append(event)
    return events, sweep
