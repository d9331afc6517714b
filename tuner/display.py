"""What a user sees: tables on stdout, progress on stderr, or one JSON document."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from trainables.config import TrialConfig
    from trainables.trainer import Report
    from tuner.driver import SweepResult
    from tuner.planning import Plan
    from tuner.queries import BestTrial
    from tuner.range_test import LrRange
    from tuner.registry import ModelVersion
    from tuner.retraining import Retrained
    from tuner.spec import Budget
    from tuner.sweep_status import SweepStatus

__all__ = [
    "SweepProgress",
    "complain",
    "epoch_progress",
    "exported",
    "show_best",
    "show_lr_range",
    "show_plan",
    "show_result",
    "show_retrained",
    "show_spaces",
    "show_status",
    "working",
]

MAIN_METRICS = ("val/elbo_cal", "val/elbo", "val/mse", "val/kl", "val/active_units")
LINE_SECONDS = 10.0


def _out() -> Console:
    """Results; wide enough for a table where stdout is no terminal."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


def _err() -> Console:
    return Console(stderr=True, highlight=False, markup=False)


def _json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def command() -> str:
    """`vae-tuner` as it can be typed here: by its path where it is not on PATH."""
    if shutil.which("vae-tuner"):
        return "vae-tuner"
    beside = Path(sys.executable).with_name("vae-tuner")
    return os.path.relpath(beside) if beside.exists() else "vae-tuner"


def complain(message: str) -> int:
    """A failure in one line on stderr; returns exit code 1."""
    _err().print(message)
    return 1


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life where something takes seconds."""
    console = _err()
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} …"):
        yield


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


# --- plan -------------------------------------------------------------------------------------------------------------


def show_plan(plan: Plan, output: str) -> None:
    """Trials, rungs, epochs and cost of a sweep that has not started."""
    from tuner.cost import seconds_per_epoch

    with working("Timing a few steps"):
        seconds = seconds_per_epoch(plan)
    trials = plan.spec.search.trials
    estimate = plan.expected_epochs * seconds / plan.concurrency
    document = {
        "space": [row._asdict() for row in plan.space.describe()],
        "trials": trials,
        "epochs_per_trial": plan.epochs,
        "rungs": list(plan.rungs),
        "pruning": plan.rule and plan.rule.summary,
        "budget": plan.spec.budget.model_dump(),
        "expected_epochs": plan.expected_epochs,
        "most_epochs": plan.most_epochs,
        "metric": plan.metric,
        "direction": plan.direction,
        "metrics": dict(zip(plan.metrics, plan.directions, strict=True)),
        "sampler": plan.spec.search.sampler,
        "priors": len(plan.priors),
        "concurrency": plan.concurrency,
        "seconds_per_epoch": seconds,
        "estimated_seconds": estimate,
        "notes": list(plan.notes),
    }
    if output == "json":
        _json(document)
        return
    console = _out()
    console.print(_space_table(plan.space))
    console.print()
    table = _table("", "")
    table.add_row("trials", f"{trials}, {plan.concurrency} at a time on {plan.default.device}")
    table.add_row("epochs", f"{plan.epochs} a trial; about {plan.expected_epochs} in all, at most {plan.most_epochs}")
    table.add_row("pruning", plan.rule.summary if plan.rule else "none")
    searched_by = [f"{name} ({direction})" for name, direction in zip(plan.metrics, plan.directions, strict=True)]
    table.add_row("sampler", plan.spec.search.sampler)
    table.add_row("metric" if len(searched_by) == 1 else "metrics", ", ".join(searched_by))
    table.add_row("cost", f"about {_duration(estimate)} at {seconds:.2g} s an epoch, measured here just now")
    if limits := _limits(plan.spec.budget):
        table.add_row("budget", f"the sweep stops in order after {' or '.join(limits)}")
    console.print(table)
    _print_notes(console, plan.notes)
    console.print("Nothing was started; leave out --plan to run it.")


def _limits(budget: Budget) -> list[str]:
    """What a budget allows, in words."""
    time = [] if budget.time is None else [_duration(budget.time)]
    return time if budget.epochs is None else [*time, f"{budget.epochs} epochs in all"]


def _spent(budget: Budget, spent: str) -> str:
    """The budget that ran out, with its size."""
    return f"time budget of {_duration(budget.time or 0.0)}" if spent == "time" else f"epoch budget of {budget.epochs}"


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(f"· {note}", soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _space_table(space: Any) -> Table:
    table = _table("path", "varies", "where")
    for row in space.describe():
        table.add_row(*row)
    return table


def show_spaces(name: str | None, output: str) -> None:
    """All spaces by what they vary, or one in full."""
    from search_spaces.catalogue import parse_space, space_named, space_names

    if name is not None:
        space = parse_space(name)
        _json([row._asdict() for row in space.describe()]) if output == "json" else _out().print(_space_table(space))
        return
    spaces = {known: list(space_named(known).dimensions) for known in space_names()}
    if output == "json":
        _json(spaces)
        return
    table = _table("space", "varies")
    for known, paths in spaces.items():
        table.add_row(known, ", ".join(paths))
    _out().print(table)
    _out().print("\nJoin spaces with +, as in geco+clr; `vae-tuner spaces NAME` shows bounds and conditions.")


# --- a sweep ----------------------------------------------------------------------------------------------------------


class SweepProgress:
    """What a running sweep shows on stderr: a bar in a terminal, a line every ten seconds elsewhere."""

    def __init__(self, plan: Plan, name: str, tracking_uri: str) -> None:
        self._plan = plan
        self._console = _err()
        self._ended: dict[str, int] = {}
        self._epochs = self._paused = 0
        self._best: tuple[float, str] | None = None
        self._last_line = self._started = time.monotonic()
        where = f"{plan.spec.storage}/{name}"
        self._console.print(f"Sweep {name}: {plan.spec.search.trials} trials, state in {where}", soft_wrap=True)
        self._console.print(
            f"Look at it with: mlflow ui --backend-store-uri {tracking_uri}" if ":///" in tracking_uri else ""
        )
        _print_notes(self._console, plan.notes)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials · {task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting Ray", total=plan.spec.search.trials, detail="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def event(self, event: Mapping[str, Any]) -> None:
        """Take note of a journal event."""
        match event["event"]:
            case "report":
                self._epochs += 1
                self._paused += event["decision"] == "pause"
            case "decision":
                self._paused -= 1
        if event.get("reason") is not None:
            self._end(event["reason"])
        if event.get("reason") == "completed":
            self._consider(event)
        self._show()

    def sending(self, unsent: int, error: Exception | None) -> None:
        """Say what is waited for."""
        cause = f"; the last try failed: {str(error).partition(chr(10))[0]}" if error else ""
        self._console.print(f"Sending {unsent} records to MLflow{cause}", soft_wrap=True)

    def _end(self, reason: str) -> None:
        self._ended[reason] = self._ended.get(reason, 0) + 1

    def _consider(self, event: Mapping[str, Any]) -> None:
        value = event["metrics"].get(self._plan.metric)
        sign = 1 if self._plan.direction == "max" else -1
        if value is not None and (self._best is None or sign * value > sign * self._best[0]):
            self._best = (value, event["trial"])

    def _detail(self) -> str:
        stood = {**self._ended, "paused": self._paused}
        counts = " ".join(f"{count} {state}" for state, count in stood.items() if count)
        rate = self._epochs / (time.monotonic() - self._started)
        best = f" · best {self._plan.metric} {self._best[0]:.4g} (trial {self._best[1]})" if self._best else ""
        return f"{counts} · {rate:.1f} epochs/s{best}"

    def _show(self) -> None:
        done = sum(self._ended.values())
        self._bar.update(self._task, description="searching", completed=done, detail=self._detail())
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(f"{done}/{self._plan.spec.search.trials} trials · {self._detail()}", soft_wrap=True)


def show_result(result: SweepResult, output: str) -> None:
    """The end of a sweep: how trials ended, and the best configuration."""
    if result.unsent:
        _err().print(f"{result.unsent} records did not reach MLflow: {result.tracker_error}")
    if output == "json":
        _json(result.document())
        return
    console = _out()
    counts = ", ".join(f"{count} {reason}" for reason, count in result.stop_reasons.items())
    console.print(
        f"{result.name}: {result.n_trials} trials ({counts}), {result.epochs} epochs, {_duration(result.wall_s)}"
    )
    if result.spent:
        n_done = result.n_trials - result.stop_reasons.get("budget", 0)
        console.print(
            f"Stopped by the {_spent(result.budget, result.spent)} after {n_done} of {result.planned} trials."
        )
    if result.best is None:
        console.print("No trial completed, so there is no best configuration.")
        return
    console.print()
    if result.pareto:
        title = f"Pareto set of {', '.join(result.metrics)}: {len(result.pareto)} of {len(result.ranked)} completed"
        console.print(_best_table(result.pareto, result.metrics, title))
        console.print()
    console.print(_best_table(result.ranked[:5], [result.metric], f"best by {result.metric}"))
    console.print()
    console.print(_config_table(result.best.config, result.searched))
    verb = command()
    console.print(
        f"\nNext: {verb} best --sweep {result.name} --export best.yaml && {verb} train best.yaml", soft_wrap=True
    )


# --- best -------------------------------------------------------------------------------------------------------------


def _best_table(rows: Sequence[Any], metrics: Sequence[str], title: str, sweeps: Sequence[str] = ()) -> Table:
    """sweeps: of each row, where they differ."""
    shown = list(
        dict.fromkeys([*metrics, *(name for name in MAIN_METRICS if any(name in row.metrics for row in rows))])
    )
    table = _table(*(["sweep"] if sweeps else []), "trial", "method", "outcome", *shown, title=title)
    for i, row in enumerate(rows):
        values = [_number(row.metrics[name]) if name in row.metrics else "" for name in shown]
        table.add_row(*sweeps[i : i + 1], row.trial, row.method, row.outcome or row.stop_reason, *values)
    return table


def _config_table(config: TrialConfig, paths: Sequence[str] | None = None) -> Table:
    from trainables.paths import flatten, plain

    table = _table("configuration", "")
    for path, value in flatten(plain(config)).items():
        if paths is None or path in paths:
            table.add_row(path, _number(value))
    return table


def best_document(row: BestTrial) -> dict[str, Any]:
    """A trial as JSON knows it."""
    from trainables.paths import plain

    return {
        "sweep": row.sweep,
        "run_id": row.run_id,
        "trial": row.trial,
        "method": row.method,
        "stop_reason": row.stop_reason,
        "outcome": row.outcome,
        "metrics": row.metrics,
        "config": plain(row.config),
    }


def show_best(
    rows: Sequence[BestTrial],
    output: str,
    pareto: Sequence[str] = (),
    *,
    export: Path | None = None,
    plot: Path | None = None,
    registered: ModelVersion | None = None,
) -> None:
    """The best trials, what their metric rewards, and the winner's configuration."""
    from tuner.metrics_info import METRICS

    _print_written(rows, export, plot, registered)
    if output == "json":
        _json([best_document(row) for row in rows])
        return
    metrics = pareto or [rows[0].metric]
    sweeps = [row.sweep for row in rows]
    one_sweep = len(set(sweeps)) == 1
    where = f"sweep {sweeps[0]}" if one_sweep else f"{len(set(sweeps))} sweeps"
    console = _out()
    title = f"{_order_of(rows, pareto)} ({where})"
    console.print(_best_table(rows, metrics, title, () if one_sweep else sweeps))
    console.print("".join(f"\n{metric} {METRICS[metric].rewards}." for metric in metrics), end="\n\n")
    if len(rows) > 1:
        console.print(f"trial {rows[0].trial}{'' if one_sweep else f' of {sweeps[0]}'}:")
    console.print(_config_table(rows[0].config))


def _order_of(rows: Sequence[BestTrial], pareto: Sequence[str]) -> str:
    if pareto:
        return f"Pareto set of {', '.join(pareto)}"
    grouped = len({row.method for row in rows}) == len(rows) > 1
    return f"best by {rows[0].metric}{', one a method' if grouped else ''}"


def _print_written(
    rows: Sequence[BestTrial], export: Path | None, plot: Path | None, registered: ModelVersion | None
) -> None:
    """What was left behind beside the answer, on stderr."""
    console = _err()
    trial = f"trial {rows[0].trial}" if len(rows) == 1 else f"trial {rows[0].trial}, the first of {len(rows)},"
    if export:
        console.print(
            f"Wrote the configuration of {trial} to {export}; train it with: vae-tuner train {export}", soft_wrap=True
        )
    if plot:
        console.print(f"Wrote the picture of the Pareto set to {plot}", soft_wrap=True)
    if registered:
        done = "Registered" if registered.is_new else "Already registered:"
        console.print(
            f"{done} {trial} as {registered.name} version {registered.version}, alias {registered.alias}; "
            f'load it with: tuner.load("{registered.uri}")',
            soft_wrap=True,
        )


def exported(row: BestTrial) -> str:
    """A configuration as the YAML file that `vae-tuner train` takes, headed by where it comes from."""
    from trainables.results import config_yaml

    origin = f"# sweep {row.sweep}, trial {row.trial}, MLflow run {row.run_id}\n"
    return f"{origin}# {row.metric}: {row.metrics[row.metric]!r}\n{config_yaml(row.config)}"


# --- train ------------------------------------------------------------------------------------------------------------


@contextmanager
def epoch_progress(epochs: int) -> Iterator[Callable[[Report], None]]:
    """A bar over epochs on stderr; yields what to call with each report."""
    console = _err()
    with Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs · {task.fields[detail]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("training", total=epochs, detail="")

        def on_report(report: Report) -> None:
            bar.update(
                task, completed=report.epoch, detail=f"val/elbo {report.metrics.get('val/elbo', float('nan')):.5g}"
            )

        yield on_report


def show_retrained(result: Retrained, output: str) -> None:
    """The last epoch's metrics, test included."""
    from trainables.paths import plain

    if output == "json":
        _json({"run_id": result.run_id, "metrics": result.metrics, "config": plain(result.config)})
        return
    console = _out()
    table = _table("metric", "last epoch")
    for name in sorted(result.metrics):
        if name.startswith(("val/", "test/", "train_eval/")):
            table.add_row(name, repr(result.metrics[name]))
    console.print(table)
    console.print(f"\n{result.stop_reason} ({result.outcome}); MLflow run {result.run_id}")


# --- lr-range ---------------------------------------------------------------------------------------------------------


def show_lr_range(result: LrRange, files: Mapping[str, Path], output: str) -> None:
    """The suggested bounds, and how to take them over."""
    _print_notes(_err(), result.test.notes)
    if output == "json":
        _json({**result.document(), "files": files})
        return
    console = _out()
    rates, losses = result.test.rates, result.test.smoothed
    if len(rates):
        console.print(
            f"{len(rates)} steps from {rates[0]:.2g} to {rates[-1]:.2g}: loss {losses[0]:.4g}, "
            f"at the lowest {losses.min():.4g} (at {rates[losses.argmin()]:.2g})"
        )
    console.print(f"Curve: {files['figure']}, {files['json']}", soft_wrap=True)
    if not result.settings:
        return
    table = _table(f"for lr.base_batch_size {result.config.lr.base_batch_size}", "suggested")
    for path, value in result.settings.items():
        table.add_row(path, _number(value))
    console.print()
    console.print(table)
    settings = " ".join(f"--set {path}={value}" for path, value in result.settings.items())
    console.print(f"\nSearch between them: {command()} sweep {files['sweep']} --plan", soft_wrap=True)
    console.print(f"Train with them:     {command()} train {files['config']}", soft_wrap=True)
    console.print(f"Anywhere else add:   {settings}", soft_wrap=True)


# --- status -----------------------------------------------------------------------------------------------------------


def show_status(statuses: Sequence[SweepStatus], name: str | None, output: str) -> None:
    """One line a sweep; for a named one its trials too."""
    if output == "json":
        _json([status.document() for status in statuses])
        return
    console = _out()
    table = _table("sweep", "state", "trials", "epochs", "metric", "best", "trial")
    for status in statuses:
        counts = ", ".join(f"{count} {reason}" for reason, count in status.stop_reasons.items())
        best = (_number(status.best_value), status.best_trial) if status.best_trial else ("", "")
        trials = (
            f"{status.n_trials} of {status.planned}: {counts}" if counts else f"{status.n_trials} of {status.planned}"
        )
        table.add_row(status.name, status.state, trials, str(status.epochs), status.metric, *map(str, best))
    console.print(table if statuses else "No sweeps here yet; `vae-tuner sweep` starts one.")
    if name is None:
        return
    for status in statuses:
        listed = _table("trial", "method", "state", "epochs", status.metric)
        for row in status.trials:
            value = "" if row.value is None else _number(row.value)
            listed.add_row(row.trial, row.method, row.state, str(row.epochs), value)
        console.print()
        console.print(listed)
