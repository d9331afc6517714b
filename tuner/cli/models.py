"""The verbs of single configurations: the best, training one, the range of its learning rate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from trainables.errors import ConfigError, UserError
from tuner.cli.options import (
    AllowChangedOption,
    DataDirOption,
    ExperimentOption,
    Format,
    FormatOption,
    UriOption,
    parsed_settings,
    write_text,
)


def best(
    sweep: Annotated[list[str] | None, typer.Option(help="Sweeps to search; default all of the experiment.")] = None,
    experiment: ExperimentOption = "vae-tuner",
    method: Annotated[str | None, typer.Option(help="geco, linear, cyclical, free-bits, beta, elbo …")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only trials on this data set.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to rank by; default the one that the sweeps optimised.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many; default the best of each method.", show_default=False)
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="M,M", help="The Pareto front of these metrics, sorted by the first."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw all trials and the Pareto front into this PNG file.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Only trials that meet comparisons of metrics and configuration paths joined by `and`.",
        ),
    ] = None,
    include_pruned: Annotated[bool, typer.Option("--include-pruned", help="Rank pruned trials too.")] = False,
    allow_changed: AllowChangedOption = False,
    export: Annotated[Path | None, typer.Option(help="Write the best configuration to this YAML file.")] = None,
    register: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Make the best model a version of this registered model, its `champion`."),
    ] = None,
    tracking_uri: UriOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Ask MLflow for the best configuration; prints it and, with --export, writes it for `vae-tuner train`."""
    from tuner.cli import console, tables

    for option, file, endings in (("export", export, (".yaml", ".yml")), ("plot", plot, (".png",))):
        if file and file.suffix not in endings:
            raise ConfigError(f"--{option} {file}: the file must end in {endings[0]}")
        if file and not os.access(file.parent, os.W_OK):
            raise UserError(f"{file} cannot be written; name a file in an existing folder")
    left_out: list[str] = []
    with console.working("Asking MLflow"):
        from tuner import api
        from tuner.tracking.registry import check_model_name

        if register is not None:
            check_model_name(register)
        metrics = [name.strip() for name in (pareto or "").split(",")] if pareto is not None else []
        rows = api.best(
            sweep or (),
            experiment=experiment,
            method=method,
            dataset=dataset,
            metric=metric,
            top=top,
            include_pruned=include_pruned,
            where=where,
            pareto=metrics,
            plot=plot,
            allow_changed=allow_changed,
            tracking_uri=tracking_uri,
            on_note=left_out.append,
        )[:top]
    for trials in left_out:
        console.err().print(trials, soft_wrap=True)
    if not rows:
        raise typer.Exit(console.complain(_none_found(where, include_pruned)))
    text = tables.exported(rows[0]) if export else ""
    registered = api.register(rows[0], register, tracking_uri=tracking_uri) if register is not None else None
    if export:
        write_text(export, text)
    tables.show_best(rows, output.value, metrics, export=export, plot=plot, registered=registered)


def _none_found(where: str | None, include_pruned: bool) -> str:
    meets = f" and meets --where {where}" if where else ""
    more = "" if include_pruned else "; --include-pruned ranks the pruned ones too"
    return f"no trial has ended with a value that can be ranked{meets}{more}"


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of a configuration, as `best --export` writes it.")],
    seed: Annotated[int | None, typer.Option(help="Use this seed instead of the file's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Train this many epochs instead of the file's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field; repeatable.")
    ] = None,
    data_dir: DataDirOption = None,
    experiment: ExperimentOption = "vae-tuner",
    tracking_uri: UriOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Train one configuration to its end, with test metrics; on the same kind of device, to the same numbers."""
    from tuner import api
    from tuner.cli import console, progress, tables

    changes = {path.removeprefix("config."): value for path, value in parsed_settings(settings or []).items()}
    with console.working("Loading PyTorch"):
        import tuner.running.single_run  # noqa: F401  # which takes seconds
    try:
        result = api.train(
            config,
            settings={"seed": seed, "epochs": epochs, **changes},
            experiment=experiment,
            tracking_uri=tracking_uri,
            data_dir=data_dir,
            progress=progress.epoch_progress,
        )
    except api.StoppedError as stopped:
        console.complain(f"{stopped}.")
        raise typer.Exit(stopped.exit_code) from None
    tables.show_retrained(result, output.value)
    raise typer.Exit(0 if result.stop_reason == "completed" else 1)


def lr_range(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of a configuration; options override it.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="As in `sweep`.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="As in `sweep`.", show_default=False)] = None,
    low: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last learning rate, if the loss has not blown up before.")] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs over which the rate rises.")] = 3,
    linear: Annotated[bool, typer.Option("--linear", help="Raise it linearly instead of geometrically.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field; repeatable.")
    ] = None,
    data_dir: DataDirOption = None,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the results. Default reports/lr-range-DATASET-N.")
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Train while the learning rate rises, and suggest the bounds of its cycles from where the loss falls and blows up.

    Writes the curve as a picture and as JSON, a sweep file and a configuration that use the bounds.
    """
    from tuner import api
    from tuner.cli import console, tables
    from tuner.sweeps.spec import overlaid
    from tuner.sweeps.yaml_files import read_yaml

    changes = {path.removeprefix("config."): value for path, value in parsed_settings(settings or []).items()}
    options = {"data.name": dataset, "model.kind": model, **changes}
    tree = overlaid(read_yaml(config) if config else {}, options)
    if out and out.exists():
        raise UserError(f"--out {out} exists; name another folder, or remove it first")
    with console.working("Raising the learning rate"):
        result = api.lr_range(tree, low=low, high=high, epochs=epochs, linear=linear, data_dir=data_dir)
        files = result.write(out)
    tables.show_lr_range(result, files, output.value)
    raise typer.Exit(0 if result.suggestion else 1)
