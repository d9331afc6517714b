"""The verbs that come before a sweep: what there is to search, a file to start from, whether all is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainables.errors import UserError
from tuner.cli.options import (
    DataDirOption,
    Format,
    FormatOption,
    UriOption,
    write_text,
)


def spaces(
    name: Annotated[str | None, typer.Argument(help="A space, or several joined by +.", show_default=False)] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """List the search spaces, or show what one of them varies, between which bounds and under which condition."""
    from tuner.cli import tables

    tables.show_spaces(name, output.value)


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("sweep.yaml"),
) -> None:
    """Write a commented sweep file to start from."""
    from tuner.cli import console
    from tuner.cli.starter import STARTER

    if path.exists():
        raise UserError(f"{path} exists; name another file, or remove it first")
    write_text(path, STARTER)
    console.out().print(f"Wrote {path}. Next: {console.command('sweep', path, '--plan')}", soft_wrap=True)


def doctor(
    spec: Annotated[Path | None, typer.Argument(help="YAML file of a sweep.", show_default=False)] = None,
    dataset: Annotated[str | None, typer.Option(help="As for sweep.")] = None,
    data_dir: DataDirOption = None,
    model: Annotated[str | None, typer.Option(help="As for sweep.")] = None,
    experiment: Annotated[str | None, typer.Option(help="MLflow experiment.")] = None,
    tracking_uri: UriOption = None,
    storage: Annotated[
        str | None, typer.Option(help="Root of sweep states: a folder, or s3://… Default ./sweeps.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster.")] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Check what a sweep needs, with the fix beside each failure: packages, data, storage, tracking, disk, device."""
    from tuner.cli import console, tables
    from tuner.sweeps.spec import parse_spec, sweep_tree

    options = {
        "config.data.name": dataset,
        "config.model.kind": model,
        "tracking.experiment": experiment,
        "tracking.uri": tracking_uri,
        "resources.ray_address": ray_address,
        "storage": storage,
    }
    parsed = parse_spec(sweep_tree(spec or {}, options))
    with console.working("Looking around"):
        from tuner.planning.checks import examine

        findings = examine(parsed, data_dir)
    tables.show_findings(findings, output.value)
    raise typer.Exit(any(finding.state == "failure" for finding in findings))
