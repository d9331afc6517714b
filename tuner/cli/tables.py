"""What results look like: tables, or one JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tuner.cli.console import command, err, new_table, out, print_json, print_notes, working
from tuner.reports.wording import text_of
from tuner.sweeps.tracking_uri import without_secret

if TYPE_CHECKING:
    from trainables.config import TrialConfig
    from trainables.ranking import Ranking
    from tuner.planning.checks import Finding
    from tuner.planning.plans import Plan
    from tuner.running.lr_range import LrRange
    from tuner.running.single_run import Retrained
    from tuner.running.sweep_result import SweepResult
    from tuner.sweeps.spec import Budget
    from tuner.sweeps.status import SweepStatus
    from tuner.tracking.best import BestTrial
    from tuner.tracking.registry import ModelVersion

MAIN_METRICS = ("val/elbo_cal", "val/elbo", "val/mse", "val/kl", "val/active_units")


# --- plan -------------------------------------------------------------------------------------------------------------


def show_plan(plan: Plan, output: str) -> None:
    """Print the trials, rungs, epochs and cost of a sweep that has not started."""
    from tuner.planning.cost import seconds_per_epoch

    with working("Timing a few steps"):
        seconds = seconds_per_epoch(plan)
    estimate = None if seconds is None else plan.expected_epochs * seconds / plan.placement.speedup
    if output == "json":
        print_json(_plan_document(plan, seconds, estimate))
        return
    console = out()
    console.print(_space_table(plan.known_space))
    console.print()
    table = new_table("", "", rows=_plan_rows(plan))
    if estimate is not None:
        table.add_row("cost", f"about {_duration(estimate)} at {seconds:.2g} s an epoch, measured here just now")
    if limits := _limits(plan.spec.budget):
        table.add_row("budget", f"the sweep stops in order after {' or '.join(limits)}")
    console.print(table)
    print_notes(console, plan.notes)
    console.print("Nothing was started; leave out --plan to run it.")


def _plan_document(plan: Plan, seconds: float | None, estimate: float | None) -> dict[str, Any]:
    """seconds: of an epoch. estimate: the seconds of the sweep."""
    from tuner.search.duplicates import n_combinations

    return {
        "space": [row._asdict() for row in plan.known_space.describe()],
        "kappa_max": plan.facts.kappa_max,
        "kappa_min": plan.facts.kappa_min,
        "trials": plan.spec.search.trials,
        "seeds": list(plan.seeds),
        "combinations": n_combinations(plan.space),
        "epochs_per_trial": plan.epochs,
        "rungs": list(plan.rungs),
        "pruning": plan.rule and plan.rule.summary,
        "patience": plan.spec.scheduler.patience,
        "budget": plan.spec.budget.model_dump(),
        "expected_epochs": plan.expected_epochs,
        "most_epochs": plan.most_epochs,
        "metric": plan.metric,
        "direction": plan.direction,
        "metrics": dict(zip(plan.metrics, plan.directions, strict=True)),
        "ranking": plan.ranking.kind,
        "sampler": plan.spec.search.sampler,
        "priors": len(plan.priors),
        "concurrency": plan.concurrency,
        "lanes": plan.placement.lanes,
        "members": plan.placement.members,
        "seconds_per_epoch": seconds,
        "estimated_seconds": estimate,
        "notes": list(plan.notes),
    }


def _plan_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """What is trained, pruned and searched by, each under its name."""
    trials = _counted(plan.spec.search.trials, len(plan.seeds))
    lanes = f"{plan.placement.lanes} lane{'s' if plan.placement.lanes > 1 else ''}"
    yield "trials", f"{trials}, {plan.concurrency} at a time in {lanes} on {plan.default.device}"
    yield "epochs", f"{plan.epochs} a trial; about {plan.expected_epochs} in all, at most {plan.most_epochs}"
    yield "pruning", plan.rule.summary if plan.rule else "none"
    if patience := plan.spec.scheduler.patience:
        unit = "epochs after its warm-ups, or ends of its cycles"
        yield "patience", f"a trial stops after {patience} {unit} without a better value"
    yield "sampler", plan.spec.search.sampler
    searched_by = [f"{name} ({direction})" for name, direction in zip(plan.metrics, plan.directions, strict=True)]
    yield "metric" if len(searched_by) == 1 else "metrics", ", ".join(searched_by)
    if plan.ranking.kind != "last":
        yield "ranking", f"each trial by {plan.ranking.says}"


def _counted(configurations: int, seeds: int) -> str:
    """How many trials there are, and why."""
    if seeds == 1:
        return str(configurations)
    return f"{configurations} configurations × {seeds} seeds = {configurations * seeds} trials"


def _limits(budget: Budget) -> list[str]:
    """What a budget allows, in words."""
    time = [] if budget.time is None else [_duration(budget.time)]
    return time if budget.epochs is None else [*time, f"{budget.epochs} epochs in all"]


def _spent(budget: Budget, spent: str) -> str:
    """The budget that ran out, with its size."""
    return f"time budget of {_duration(budget.time or 0.0)}" if spent == "time" else f"epoch budget of {budget.epochs}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _space_table(space: Any) -> Table:
    return new_table("path", "varies", "where", rows=space.describe())


def show_spaces(name: str | None, output: str) -> None:
    """All spaces by what they vary, or one in full."""
    from search_spaces.catalogue import parse_space, space_named, space_names

    if name is not None:
        space = parse_space(name)
        print_json([row._asdict() for row in space.describe()]) if output == "json" else out().print(
            _space_table(space)
        )
        return
    spaces = {known: list(space_named(known).dimensions) for known in space_names()}
    if output == "json":
        print_json(spaces)
        return
    out().print(new_table("space", "varies", rows=((known, ", ".join(paths)) for known, paths in spaces.items())))
    out().print("\nJoin spaces with +, as in geco+clr; `vae-tuner spaces NAME` shows bounds and conditions.")


# --- a sweep ----------------------------------------------------------------------------------------------------------


def show_result(result: SweepResult, output: str) -> None:
    """Print how the trials of a sweep ended, and its best configuration."""
    from tuner.running.sweep_result import SHOWN_TRIALS

    where = () if Path(result.storage) == Path("sweeps") else ("--storage", result.storage)
    lacking = _lacking(result)
    if lacking:
        cause = f" ({result.tracker_error})" if result.tracker_error else ""
        send = command("sync", result.name, *where)
        err().print(f"MLflow lacks {lacking}{cause}; send them with: {send}", soft_wrap=True)
    if result.finished not in ("completed", "budget"):
        err().print(f"Go on with: {command('resume', result.name, *where)}", soft_wrap=True)
    for trials in result.unranked:
        err().print(f"Not ranked: {trials}", soft_wrap=True)
    if output == "json":
        print_json(result.document())
        return
    console = out()
    counts = ", ".join(f"{count} {reason}" for reason, count in result.stop_reasons.items())
    console.print(
        f"{result.name}: {result.n_trials} trials ({counts}), {result.epochs} epochs, {_duration(result.wall_s)}, "
        f"{result.disk_bytes / 1e6:.1f} MB in {result.place}"
    )
    if result.impatient:
        console.print(result.impatient, soft_wrap=True)
    if result.spent:
        n_done = result.n_trials - result.stop_reasons.get("budget", 0)
        console.print(
            f"Stopped by the {_spent(result.budget, result.spent)} after {n_done} of {result.planned} trials."
        )
    if result.exhausted:
        console.print(f"Nothing is left to try: {result.exhausted}.")
    if result.best is None:
        console.print(no_best(result.stop_reasons))
        return
    console.print()
    if result.pareto:
        title = f"Pareto set of {', '.join(result.metrics)}: {len(result.pareto)} of {len(result.ranked)} completed"
        console.print(_best_table(result.pareto, result.metrics, title))
        console.print()
    over = f", mean of {result.repeats} seeds" if result.repeats > 1 else ""
    title = f"best by {result.metric}{_epoch_of(result.ranking)}{over}"
    console.print(_best_table(result.ranked[:SHOWN_TRIALS], [*_epoch_column(result.ranking), result.metric], title))
    console.print(*_unranked_note(result.ranked[:SHOWN_TRIALS], result.metric), sep="\n")
    console.print(_config_table(result.best.config, result.searched))
    if result.past_best:
        print_notes(console, [result.past_best])
    send_first = [command("sync", result.name, *where)] if lacking else []  # `best` asks MLflow
    best_of = command("best", "--sweep", result.name, *_records_of(result), "--export", "best.yaml")
    again = command("train", "best.yaml", *_records_of(result))
    console.print(f"\nNext: {' && '.join([*send_first, best_of, again])}", soft_wrap=True)


def _records_of(result: SweepResult) -> list[str]:
    """The options that say where a sweep's records are, as far as they are not by default; without a secret."""
    chosen = {"--experiment": result.experiment, "--tracking-uri": without_secret(result.tracking_uri)}
    return [word for option, value in chosen.items() if value not in (None, "vae-tuner") for word in (option, value)]


def _epoch_of(ranking: Ranking) -> str:
    return "" if ranking.kind == "last" else f", each trial by {ranking.says}"


def _epoch_column(ranking: Ranking) -> list[str]:
    """A column for the epoch, where each trial is ranked by an epoch of its own."""
    return ["epoch"] if ranking.kind == "best" else []


def no_best(stop_reasons: Mapping[str, int]) -> str:
    """Why a sweep has no best configuration."""
    none = "No trial that completed can be ranked" if stop_reasons.get("completed") else "No trial completed"
    return f"{none}, so there is no best configuration."


def _lacking(result: SweepResult) -> str:
    """What MLflow did not get, in words; empty where it has all."""
    records = [f"{result.unsent} records"] if result.unsent else []
    files = [f"files of {result.unsent_files} trials"] if result.unsent_files else []
    return " and ".join([*records, *files])


# --- best -------------------------------------------------------------------------------------------------------------


def _best_table(rows: Sequence[Any], metrics: Sequence[str], title: str, sweeps: Sequence[str] = ()) -> Table:
    """sweeps: of each row, where they differ."""
    shown = list(
        dict.fromkeys([*metrics, *(name for name in MAIN_METRICS if any(name in row.metrics for row in rows))])
    )
    table = new_table(*(["sweep"] if sweeps else []), "trial", "method", "outcome", *shown, title=title)
    for i, row in enumerate(rows):
        values = [_with_error(row, name) if name in row.metrics else "" for name in shown]
        table.add_row(*sweeps[i : i + 1], row.trial, row.method, row.outcome or row.stop_reason, *values)
    return table


def _unranked_note(rows: Sequence[Any], metric: str) -> list[str]:
    """Which of the best trials an estimate of the likelihood cannot tell apart."""
    if metric != "val/nll":
        return [""]
    from tuner.sweeps.metrics import unranked_by_nll

    found = {at: (row.metrics[metric], row.metrics.get("val/nll_drop", 0.0)) for at, row in enumerate(rows)}
    near = ", ".join(rows[at].trial for at in unranked_by_nll(found))
    note = f"{near} differ in val/nll by less than val/nll_drop: to rank them, raise metrics.nll_samples"
    return ["", note, ""] if near else [""]


def _with_error(row: Any, metric: str) -> str:
    """A metric, of several seeds their mean and its standard error."""
    value = text_of(row.metrics[metric])
    return f"{value} ± {row.stderr[metric]:.2g}" if row.stderr else value


def _config_table(config: TrialConfig, paths: Sequence[str] | None = None) -> Table:
    from trainables.config.paths import flatten, plain

    table = new_table("configuration", "")
    for path, value in flatten(plain(config)).items():
        if paths is None or path in paths:
            table.add_row(path, text_of(value))
    if rate := config.lr.rate_in_use(config.batch_size):
        table.add_row("learning rate", rate.removeprefix("learning rate "))
    return table


def best_document(row: BestTrial) -> dict[str, Any]:
    """A trial as JSON knows it."""
    from trainables.config.paths import plain

    return {
        "sweep": row.sweep,
        "run_id": row.run_id,
        "trial": row.trial,
        "method": row.method,
        "stop_reason": row.stop_reason,
        "outcome": row.outcome,
        "ranking": row.ranking,
        "metrics": row.metrics,
        "stderr": row.stderr,
        "seeds": row.seeds,
        "run_ids": row.run_ids,
        "config": row.config and plain(row.config),
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
    """Print the best trials, what their metric rewards, and the winner's configuration."""
    from tuner.sweeps.metrics import METRICS

    _print_written(rows, export, plot, registered)
    print_notes(err(), [row.fault for row in rows if row.fault])
    if output == "json":
        print_json([best_document(row) for row in rows])
        return
    from trainables.ranking import Ranking

    metrics, ranking = pareto or [rows[0].metric], Ranking(rows[0].ranking)
    sweeps = [row.sweep for row in rows]
    one_sweep = len(set(sweeps)) == 1
    where = f"sweep {sweeps[0]}" if one_sweep else f"{len(set(sweeps))} sweeps"
    console = out()
    title = f"{_order_of(rows, pareto)}{_epoch_of(ranking)} ({where})"
    console.print(_best_table(rows, [*_epoch_column(ranking), *metrics], title, () if one_sweep else sweeps))
    console.print("".join(f"\n{metric} {METRICS[metric].rewards}." for metric in metrics))
    console.print(*_unranked_note(rows, metrics[0]), sep="\n")
    if rows[0].config is None:
        return
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
    console = err()
    trial = f"trial {rows[0].trial}" if len(rows) == 1 else f"trial {rows[0].trial}, the first of {len(rows)},"
    if export:
        console.print(
            f"Wrote the configuration of {trial} to {export}; train it with: {command('train', export)}", soft_wrap=True
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
    """A configuration as the YAML file that `vae-tuner train` takes, headed by where it comes from.

    Raises UserError for a row without one.
    """
    from trainables.worker.results import config_yaml
    from tuner.sweeps.spec import as_yaml
    from tuner.tracking.origin import Origin
    from tuner.tracking.ranked_epoch import ranked_section

    head = f"# sweep {row.sweep}, trial {row.trial}, MLflow run {row.run_id}\n"
    over = f", the mean over seeds {', '.join(map(str, row.seeds))}" if len(row.run_ids) > 1 else ""
    value = f"# {row.metric}: {row.metrics[row.metric]!r}{over}\n"
    origin = Origin(row.sweep, row.sweep_id, row.trial, row.run_id, row.identity).section()
    return f"{head}{value}{config_yaml(row.require_config())}{as_yaml({**ranked_section(row), **origin})}"


# --- train ------------------------------------------------------------------------------------------------------------


def show_retrained(result: Retrained, output: str) -> None:
    """Print the metrics of the epoch that counts, those on test data too."""
    from trainables.config.paths import plain

    if output == "json":
        print_json({"run_id": result.run_id, "metrics": result.metrics, "config": plain(result.config)})
        return
    console = out()
    shown = [name for name in sorted(result.metrics) if name.startswith(("val/", "test/", "train_eval/"))]
    console.print(new_table("metric", "value", rows=((name, repr(result.metrics[name])) for name in shown)))
    console.print(
        f"\n{result.stop_reason}{f' ({result.outcome})' if result.outcome else ''}, by {result.says}; "
        f"MLflow run {result.run_id}",
        soft_wrap=True,
    )


# --- lr-range ---------------------------------------------------------------------------------------------------------


def show_lr_range(result: LrRange, files: Mapping[str, Path], output: str) -> None:
    """Print the suggested bounds of the learning rate, and the commands that use them."""
    print_notes(err(), result.notes)
    if output == "json":
        print_json({**result.document(), "files": files})
        return
    console = out()
    rates, losses = result.test.rates, result.test.smoothed
    if len(rates):
        console.print(
            f"{len(rates)} steps from {rates[0]:.2g} to {rates[-1]:.2g}: loss {losses[0]:.4g}, "
            f"at the lowest {losses.min():.4g} (at {rates[losses.argmin()]:.2g})"
        )
    console.print(f"Curve: {files['figure']}, {files['json']}", soft_wrap=True)
    if not result.settings:
        return
    rows = [(path, text_of(value)) for path, value in result.settings.items()]
    console.print()
    console.print(new_table(f"for lr.base_batch_size {result.config.lr.base_batch_size}", "suggested", rows=rows))
    settings = join(word for path, value in result.settings.items() for word in ("--set", f"{path}={value}"))
    console.print(f"\nSearch between them: {command('sweep', files['sweep'], '--plan')}", soft_wrap=True)
    console.print(f"Train with them:     {command('train', files['config'])}", soft_wrap=True)
    console.print(f"Anywhere else add:   {settings}", soft_wrap=True)


# --- status -----------------------------------------------------------------------------------------------------------


def show_findings(findings: Sequence[Finding], output: str) -> None:
    """Print what `doctor` found, with the fix beside each failure."""
    if output == "json":
        print_json([vars(finding) for finding in findings])
        return
    rows = [(finding.check, finding.state, finding.says, finding.fix) for finding in findings]
    out().print(new_table("check", "", "found", "fix", rows=rows))


def show_status(statuses: Sequence[SweepStatus], name: str | None, output: str) -> None:
    """Print a line for each sweep, and the trials of one that is named."""
    if output == "json":
        print_json([status.document() for status in statuses])
        return
    console = out()
    table = new_table("sweep", "state", "trials", "epochs", "metric", "best", "trial")
    for status in statuses:
        counts = ", ".join(f"{count} {reason}" for reason, count in status.stop_reasons.items())
        best = (text_of(status.best_value), status.best_trial) if status.best_trial else ("", "")
        trials = (
            f"{status.n_trials} of {status.planned}: {counts}" if counts else f"{status.n_trials} of {status.planned}"
        )
        table.add_row(status.name, status.state, trials, str(status.epochs), status.metric, *map(str, best))
    console.print(table if statuses else "No sweeps here yet; `vae-tuner sweep` starts one.")
    if name is None:
        return
    for status in statuses:
        listed = new_table("trial", "method", "state", "epochs", status.metric)
        for row in status.trials:
            value = "" if row.value is None else text_of(row.value)
            listed.add_row(row.trial, row.method, row.state, str(row.epochs), value)
        console.print()
        console.print(listed)
