"""What is shown while something runs, on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from trainables.credentials import shown
from trainables.ranking import mean, sign_of
from tuner.cli.console import err, print_notes
from tuner.cli.job_status_lines import status_lines
from tuner.sweeps.events import Asked, Decided, Ended, Event, Exhausted, Failed, Finished, Reported, Warned

if TYPE_CHECKING:
    from trainables.training.report import Report
    from tuner.planning.plans import Plan
    from tuner.sweeps.state import Sweep, Trial

LINE_SECONDS = 10.0


class SweepProgress:
    """What a running sweep shows on stderr: a bar in a terminal, a line every ten seconds elsewhere."""

    def __init__(self, plan: Plan, sweep: Sweep, tracking_uri: str) -> None:
        self._plan, self._sweep = plan, sweep
        self._console = err()
        self._ended: dict[str, int] = {}
        self._epochs = self._paused = 0
        self._asked = len(sweep.trials)
        self._best: tuple[float, str] | None = None
        self._values: dict[int, list[float]] = {}
        self._last_line = self._started = time.monotonic()
        self._n_trials = sweep.planned_trials
        name = sweep.header["name"]
        where = f"{plan.spec.storage}/{name}"
        self._console.print(f"Sweep {name}: {self._n_trials} trials, state in {where}", soft_wrap=True)
        if ":///" in tracking_uri:
            store = quote(shown(tracking_uri))
            self._console.print(f"Look at it with: mlflow ui --backend-store-uri {store}", soft_wrap=True)
        print_notes(self._console, plan.notes)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials · {task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting Ray", total=self._n_trials, detail="")
        self._lines = status_lines(plan, sweep)
        for trial in sweep.trials.values():
            self._recall(trial)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._lines:
            self._lines.tell()

    def _recall(self, trial: Trial) -> None:
        """Take up what an earlier session has done."""
        self._paused += trial.paused
        if not trial.unfinished:
            self._end(str(trial.stop_reason))
        if trial.stop_reason == "completed":
            self._consider(trial)

    def event(self, event: Event) -> None:
        """Take note of a journal event."""
        if self._lines and not isinstance(event, Finished):  # the last line is told as the sweep leaves
            self._lines.event(event)
        match event:
            case Reported():
                self._epochs += 1
                self._paused += event.decision == "pause"
            case Decided():
                self._paused -= 1
            case Asked():
                self._asked += 1
            case Exhausted():
                self._n_trials = self._asked
                self._console.print(f"Nothing is left to try after {self._asked} trials", soft_wrap=True)
            case Warned():
                self._console.print(f"Warning: trial {event.trial}: {event.text}", soft_wrap=True)
            case Ended(kind="refused"):
                self._console.print(f"Trial {event.trial} is refused: {event.error}", soft_wrap=True)
            case Failed():
                cause = event.error.strip().splitlines()[-1]
                self._console.print(f"Trial {event.trial} goes on from its last checkpoint: {cause}", soft_wrap=True)
        if isinstance(event, Reported | Decided | Ended) and event.reason is not None:
            self._end(event.reason)
            trial = self._sweep.trials.get(event.trial)
            if trial and event.reason == "completed":
                self._consider(trial)
        self._show()

    def sending(self, unsent: int, error: str | None) -> None:
        """Say what is waited for."""
        cause = f"; the last try failed: {error}" if error else ""
        self._console.print(f"Sending {unsent} records to MLflow{cause}", soft_wrap=True)

    def stopped(self, cause: str) -> None:
        """Say why the sweep stops in order."""
        self._console.print(f"Stopped: {cause}, then go on with `vae-tuner resume`", soft_wrap=True)

    def silent(self, says: str) -> None:
        """Say of which trial nothing was heard for a while."""
        self._console.print(says, soft_wrap=True)

    def _end(self, reason: str) -> None:
        self._ended[reason] = self._ended.get(reason, 0) + 1

    def _consider(self, trial: Trial) -> None:
        """A trial that completed: the best is a configuration, by the mean over its seeds."""
        configuration = self._values.setdefault(trial.number, [])
        configuration.append(trial.ranked.get(self._plan.metric, math.nan))
        if any(map(math.isnan, configuration)) or len(configuration) < len(self._plan.seeds):
            return
        value = mean(configuration)
        sign = sign_of(self._plan.direction)
        if self._best is None or sign * value > sign * self._best[0]:
            self._best = (value, trial.id)

    def _detail(self) -> str:
        stood = {**self._ended, "paused": self._paused}
        counts = " ".join(f"{count} {state}" for state, count in stood.items() if count)
        rate = self._epochs / (time.monotonic() - self._started)
        best = f"best {self._plan.metric} {self._best[0]:.4g} (trial {self._best[1]})" if self._best else ""
        return " · ".join(filter(None, (counts, f"{rate:.1f} epochs/s", best)))

    def _show(self) -> None:
        done = sum(self._ended.values())
        self._bar.update(
            self._task, total=self._n_trials, description="searching", completed=done, detail=self._detail()
        )
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(f"{done}/{self._n_trials} trials · {self._detail()}", soft_wrap=True)


@contextmanager
def epoch_progress(epochs: int) -> Iterator[tuple[Callable[[Report], None], Callable[[Sequence[str]], None]]]:
    """A bar over epochs on stderr, where what a user's code prints goes too; yields what to call with each report, and
    with notes, which are printed above it.
    """
    console = err()
    with (
        redirect_stdout(sys.stderr),
        Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs · {task.fields[detail]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as bar,
    ):
        task = bar.add_task("training", total=epochs, detail="")

        def on_report(report: Report) -> None:
            bar.update(
                task, completed=report.epoch, detail=f"val/elbo {report.metrics.get('val/elbo', float('nan')):.5g}"
            )

        yield on_report, partial(print_notes, console)


def testing(stage: str, n: int) -> AbstractContextManager[Callable[[], None]]:
    """A bar over the n models of a stage while they are tested; yields what to call after each."""
    return _counting(f"test set: {stage}", n)


def measuring(n_epochs: int) -> AbstractContextManager[Callable[[], None]]:
    """A bar over the epochs of the run that measures κ_min; yields what to call after each."""
    return _counting("κ_min: the largest model at β → 0, epochs", n_epochs)


@contextmanager
def _counting(description: str, n: int) -> Iterator[Callable[[], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err()) as bar:
        task = bar.add_task(description, total=n)
        yield partial(bar.advance, task)
