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
    overlaid_spec,
    write_text,
)

STARTER = """\
# A sweep: run it with `vae-tuner sweep FILE`, look first with `vae-tuner sweep FILE --plan`.

# State is kept in ./sweeps/NAME; left out, the name is SPACE-DATASET-N.
# name: my-first-sweep

# The fixed part of every trial; defaults fill the rest. What is fixed here is not searched below.
config:
  data: {name: digits}            # digits, mnist, fashion-mnist, cifar10, …, or your own: faces.npz, ./photos
  # model: {kind: conv}           # mlp (where nothing is said), conv, linear-vae, or your own: nets:make
  # epochs: 40                    # of a trial that is not pruned

# What varies: named spaces (`vae-tuner spaces` lists them), and dimensions by configuration path.
space:
  use: [geco-vs-annealing]
  # lr.base: {float: [1e-3, 1e-2], log: true}
  # batch_size: {choice: [32, 64]}
  # model.latent_dim: {int: [4, 32], log: true}
  # model.hidden: {choice: [[128], [256, 128]]}
  # objective.kappa: {float: [0.12, 0.2], log: true, when: {objective.kind: geco}}

search: {sampler: tpe, trials: 20, seed: 0, metric: auto}   # several metrics: [val/mse, val/kl] with nsga2
# search.ranking: each trial by its last epoch (last), its best (best), or the mean of its last five (mean-5)
scheduler: {kind: asha, grace: auto, reduction_factor: 3}   # grace in epochs; auto: from the longest warm-up
budget: {time: none, epochs: none}                          # the sweep stops in order: 2h, 90m; epochs of all trials
resources: {concurrency: auto, lanes: auto, members: auto, cpus_per_trial: 1, gpus_per_trial: none}
# resources.epoch_timeout: 30m ends a trial whose epoch takes longer
tracking: {experiment: vae-tuner}                           # uri: none is sqlite:///mlflow.db in this folder
"""


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

    if path.exists():
        raise UserError(f"{path} exists; name another file, or remove it first")
    write_text(path, STARTER)
    console.out().print(f"Wrote {path}. Next: {console.command('sweep', path, '--plan')}", soft_wrap=True)


def doctor(
    context: typer.Context,
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

    parsed = overlaid_spec(spec, None, **context.params)
    with console.working("Looking around"):
        from tuner.planning.checks import examine

        findings = examine(parsed, data_dir)
    tables.show_findings(findings, output.value)
    raise typer.Exit(any(finding.state == "failure" for finding in findings))
