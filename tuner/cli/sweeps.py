"""The verbs of a sweep: start one, go on with it, send, remove and look at it. Heavy imports wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from trainables.errors import StorageError
from tuner.cli.options import (
    AllowChangedOption,
    ConcurrencyOption,
    CpusPerTrialOption,
    DataDirOption,
    Format,
    FormatOption,
    GpusPerTrialOption,
    LanesOption,
    MembersOption,
    MoreTrialsOption,
    OfflineOption,
    OwnModelsOption,
    OwnUriOption,
    PatienceOption,
    RankingOption,
    RepeatsOption,
    SettingsOption,
    StorageOption,
    UriOption,
    overlaid_spec,
    parsed_more_trials,
)
from tuner.sweeps.kinds import Pruning, Sampler

if TYPE_CHECKING:
    from tuner.running.sweep_result import SweepResult


def sweep(
    context: typer.Context,
    spec: Annotated[Path | None, typer.Argument(help="YAML file; options override it.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="State is kept under this name; default SPACE-DATASET-N.")] = None,
    space: Annotated[
        str | None, typer.Option(help="Named spaces joined by +; see `vae-tuner spaces`. Default geco-vs-annealing.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar10, cifar100, celeba, a .npy/.npz file, an image folder."
        ),
    ] = None,
    data_dir: DataDirOption = None,
    model: Annotated[str | None, typer.Option(help="mlp, conv, linear-vae, or package.module:factory.")] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to try. Default 20.")] = None,
    repeats: RepeatsOption = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial that is not pruned. Default 40.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search and of every trial. Default 0.")] = None,
    sampler: Annotated[Sampler | None, typer.Option(help="Default tpe.")] = None,
    scheduler: Annotated[Pruning | None, typer.Option(help="Default asha, or none with several metrics.")] = None,
    grace: Annotated[
        int | None, typer.Option(help="Epochs before trials are compared; default from the longest warm-up.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric to optimise, or several joined by commas; default val/elbo_cal (Gaussian), val/elbo "
            "(Bernoulli) or val/nll (IWAE)."
        ),
    ] = None,
    ranking: RankingOption = None,
    patience: PatienceOption = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            help="Stop in order after this time: 90s, 30m, 2h. An epoch that has begun is finished, however long.",
            show_default=False,
        ),
    ] = None,
    warm_start: Annotated[
        list[str] | None, typer.Option(help="An earlier sweep to learn from; repeatable.", show_default=False)
    ] = None,
    allow_changed: AllowChangedOption = False,
    concurrency: ConcurrencyOption = None,
    lanes: LanesOption = None,
    members: MembersOption = None,
    cpus_per_trial: CpusPerTrialOption = None,
    gpus_per_trial: GpusPerTrialOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda.")] = None,
    settings: SettingsOption = None,
    experiment: Annotated[str | None, typer.Option(help="MLflow experiment. Default vae-tuner.")] = None,
    tracking_uri: UriOption = None,
    offline: OfflineOption = False,
    storage: Annotated[
        str | None, typer.Option(help="Root of sweep states: a folder, or s3://… Default ./sweeps.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster; default starts Ray here.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show trials, rungs and cost; start nothing.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Search a space: run trials, prune the hopeless, record all in MLflow, print the best configuration."""
    from tuner import api
    from tuner.cli import console, progress, tables

    parsed = overlaid_spec(spec, settings, **context.params)
    with console.working("Reading the data"):
        ready = api.plan(parsed, data_dir=data_dir, allow_changed=allow_changed)
    if plan:
        tables.show_plan(ready, output.value)
        return
    _show(lambda: api.sweep(ready, progress=progress.SweepProgress, measuring=progress.measuring), output)


def resume(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    trials: MoreTrialsOption = "+0",
    model: OwnModelsOption = None,
    allow_changed: AllowChangedOption = False,
    data_dir: DataDirOption = None,
    tracking_uri: OwnUriOption = None,
    offline: OfflineOption = False,
    storage: StorageOption = "./sweeps",
    output: FormatOption = Format.TABLE,
) -> None:
    """Go on with a sweep that was cut short: finished trials stay, running ones go on from their last checkpoints."""
    from tuner import api
    from tuner.cli import console, progress

    more_trials = parsed_more_trials(trials)
    with console.working("Reading the journal"):
        import tuner.running.driver  # noqa: F401  # which takes seconds
    _show(
        lambda: api.resume(
            name,
            trials=more_trials,
            storage=storage,
            model=model,
            tracking_uri=tracking_uri,
            offline=offline,
            data_dir=data_dir,
            allow_changed=allow_changed,
            progress=progress.SweepProgress,
        ),
        output,
    )


def _show(run: Callable[[], SweepResult], output: Format) -> NoReturn:
    """The end of a sweep, or how far it came before a signal, or before its state could not be written."""
    from tuner import api
    from tuner.cli import console, tables
    from tuner.running.sweep_result import SweepResult

    try:
        result = run()
    except api.StoppedError as stopped:
        console.complain(f"{stopped}.")
        if stopped.result is None:
            raise typer.Exit(stopped.exit_code) from None
        result = stopped.result
    except StorageError as stopped:  # which has been told
        if not isinstance(stopped.result, SweepResult):
            raise
        result = stopped.result
    tables.show_result(result, output.value)
    raise typer.Exit(result.exit_code)


def status(
    name: Annotated[
        str | None, typer.Argument(help="A sweep; default all in the storage folder.", show_default=False)
    ] = None,
    storage: StorageOption = "./sweeps",
    output: FormatOption = Format.TABLE,
) -> None:
    """Show how sweeps stand: trials by state, epochs, the best so far. Reads their journals, starts nothing."""
    from tuner import api
    from tuner.cli import tables

    tables.show_status(api.status(name, storage=storage), name, output.value)


def sync(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    tracking_uri: OwnUriOption = None,
    storage: StorageOption = "./sweeps",
) -> None:
    """Send MLflow what it lacks of a sweep, artifacts and what was deleted there included; nothing is sent again."""
    from tuner import api
    from tuner.cli import console

    notes: list[str] = []
    try:
        with console.working("Sending"):
            sent = api.sync(name, storage=storage, tracking_uri=tracking_uri, on_notes=notes.extend)
    finally:
        console.print_notes(console.err(), notes)
    typer.echo(f"Sent {sent} records of {name}." if sent else f"MLflow had all of {name}.")


def remove(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    keep_best: Annotated[
        bool, typer.Option("--keep-best", help="Keep the journal and the best trial's folder.")
    ] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Delete its MLflow runs too.")] = False,
    tracking_uri: OwnUriOption = None,
    storage: StorageOption = "./sweeps",
) -> None:
    """Delete what a sweep keeps on disk; MLflow's runs stay, unless --runs says otherwise."""
    from tuner import api

    removed = api.remove(name, keep_best=keep_best, runs=runs, storage=storage, tracking_uri=tracking_uri)
    kept = f", kept trial {removed.kept}" if removed.kept else ""
    data = ", and the data that were sent along with it" if removed.data else ""
    typer.echo(f"Freed {removed.bytes_freed / 1e6:.1f} MB, deleted {removed.runs} MLflow runs{kept}{data}.")
