"""The verbs that answer in a page, or pack one for a colleague."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from trainables.errors import ConfigError
from tuner.cli.options import (
    AllowChangedOption,
    DataDirOption,
    ExperimentOption,
    Format,
    FormatOption,
    OfflineOption,
    StorageOption,
    UriOption,
    parsed_settings,
)
from tuner.comparison.kinds import METHODS


def compare(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="As in `sweep`.")] = "digits",
    model: Annotated[str, typer.Option(help="As in `sweep`.")] = "mlp",
    methods: Annotated[str, typer.Option(metavar="M,…", help="GECO and the methods it is compared with.")] = ",".join(
        METHODS
    ),
    epochs: Annotated[int | None, typer.Option(help="Epochs of every run. Default 40.", show_default=False)] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Seeds per method in the test of the paths. Default 10, with --quick 5.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="5 seeds and pools of 24: an exploratory answer.")] = False,
    transfer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Exchange the best settings with this finished comparison on other data."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the comparison; default DATASET-MODEL. One that was cut short goes on.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Fix a field in every run; repeatable.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Runs at once; default fills the machine.")] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="Default 1; also the threads of a run.")] = None,
    gpus_per_trial: Annotated[str | None, typer.Option(help="As in `sweep`.")] = None,
    data_dir: DataDirOption = None,
    experiment: ExperimentOption = "vae-tuner",
    tracking_uri: UriOption = None,
    offline: OfflineOption = False,
    storage: StorageOption = "./sweeps",
    reports: Annotated[Path, typer.Option(help="Where the page is written, in NAME below it.")] = Path("./reports"),
    sweeps: Annotated[
        str | None,
        typer.Option(metavar="A,B[,…]", help="Show finished sweeps side by side instead: description, no test."),
    ] = None,
    allow_changed: AllowChangedOption = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Compare GECO with hand-annealing on your data: trains some hundred runs, tests fairly, writes one page.

    Repeating the command of a comparison that was cut short goes on with it. With --sweeps nothing is trained.
    """
    from tuner import api
    from tuner.cli import comparison_tables as display_comparison
    from tuner.cli import console, progress

    if sweeps is not None:
        _refuse_but(context, ("sweeps", "name", "storage", "reports", "allow_changed", "output"))
        with console.working("Drawing"):
            names = _names(sweeps)
            shown = api.compare_sweeps(names, name=name, storage=storage, reports=reports, allow_changed=allow_changed)
        display_comparison.show_sweeps(shown, output.value)
        return
    if allow_changed:
        raise ConfigError("--allow-changed: needs --sweeps; a comparison trains all its runs on one data set and code")
    with console.working("Reading the data"):
        import tuner.running.comparisons  # noqa: F401  # which takes seconds
    try:
        found = api.compare(
            dataset,
            model,
            methods=[method.strip() for method in methods.split(",")],
            epochs=epochs,
            seeds=seeds,
            quick=quick,
            name=name,
            settings={path.removeprefix("config."): value for path, value in parsed_settings(settings or []).items()},
            transfer=transfer,
            concurrency=concurrency,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            storage=storage,
            reports=reports,
            experiment=experiment,
            tracking_uri=tracking_uri,
            offline=offline,
            data_dir=data_dir,
            progress=progress.SweepProgress,
            testing=progress.testing,
            measuring=progress.measuring,
            on_notes=partial(console.print_notes, console.err()),
        )
    except api.StoppedError as stopped:
        console.complain(f"Stopped by {stopped.name}; the same command goes on where it was.")
        raise typer.Exit(stopped.exit_code) from None
    display_comparison.show(found, output.value)


def _names(sweeps: str) -> list[str]:
    return [name.strip() for name in sweeps.split(",") if name.strip()]


def _refuse_but(context: typer.Context, allowed: tuple[str, ...]) -> None:
    """Options that were given and would change nothing."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source and source.name == "COMMANDLINE" and option.name not in allowed:
            raise ConfigError(
                f"{option.opts[0]}: cannot be combined with --sweeps, which trains nothing; leave one of them out"
            )


def report(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    storage: StorageOption = "./sweeps",
    reports: Annotated[Path, typer.Option(help="Where the page is written, in NAME below it.")] = Path("./reports"),
    output: FormatOption = Format.TABLE,
) -> None:
    """Write a sweep's page: the best configuration, how trials learned, and which of what varied mattered."""
    from tuner import api
    from tuner.cli import console

    with console.working("Drawing"):
        page = api.report(name, storage=storage, reports=reports)
    if output == Format.JSON:
        console.print_json({"name": name, "report": str(page)})
    else:
        console.out().print(f"Report: {page}", soft_wrap=True)


def export(
    name: Annotated[str, typer.Argument(help="The sweep, or the comparison.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.zip]", help="The file to write.", show_default=False)
    ] = None,
    storage: StorageOption = "./sweeps",
    reports: Annotated[Path, typer.Option(help="Where a comparison's page is, in NAME below it.")] = Path("./reports"),
    optuna: Annotated[
        Path | None,
        typer.Option(metavar="FILE.db", help="Write the sweep as an Optuna study instead.", show_default=False),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Pack a sweep for a colleague: configurations, curves, the best trial's checkpoint, the page. No data, no pickles.

    Of a comparison: its answer, its page and the journals of its runs. A sweep that runs may be packed as it stands.
    With --optuna the sweep becomes a study in SQLite, for Optuna's dashboard and visualisation.
    """
    from tuner.cli import console

    with console.working("Packing"):
        if file and not optuna:
            document, says = _packed(storage, name, file, reports)
        elif optuna and not file:
            document, says = _study(storage, name, optuna)
        else:
            raise ConfigError("export writes one file: give FILE.zip, or --optuna FILE.db")
    if output == Format.JSON:
        console.print_json(document)
    else:
        console.out().print(says, soft_wrap=True)


def _packed(storage: str, name: str, file: Path, reports: Path) -> tuple[dict[str, Any], str]:
    from tuner import api

    packed = api.export(name, file, storage=storage, reports=reports)
    return packed.document(), f"Wrote {packed.file}: {packed.n_files} files, best trial {packed.best or '–'}"


def _study(storage: str, name: str, file: Path) -> tuple[dict[str, Any], str]:
    from tuner import api
    from tuner.search.finished_study import write_study

    study = api.study(name, storage=storage)
    write_study(study, file)
    return (
        {"name": name, "file": str(file), "n_trials": len(study.trials)},
        f"Wrote {file}: {len(study.trials)} trials; look at them with: {shlex.join(['optuna-dashboard', f'sqlite:///{file}'])}",
    )
