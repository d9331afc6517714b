"""The command line: options to a spec, results to a table or JSON. Heavy imports wait for the verb that needs them."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from trainables.errors import ConfigError, UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="vae-tuner",
    help="Find good hyper-parameters for variational autoencoders: sweeps on Ray Tune, recorded in MLflow.",
    epilog="First steps: vae-tuner sweep · vae-tuner best --export best.yaml · vae-tuner train best.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


class Sampler(StrEnum):
    TPE = "tpe"
    RANDOM = "random"
    QMC = "qmc"
    GRID = "grid"
    NSGA2 = "nsga2"


class Scheduler(StrEnum):
    ASHA = "asha"
    HYPERBAND = "hyperband"
    MEDIAN = "median"
    NONE = "none"


FormatOption = Annotated[Format, typer.Option("--format", help="json: one document on stdout, nothing else there.")]
UriOption = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="MLflow's store; default MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here."),
]
OwnUriOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="Another store than the sweep's own.", show_default=False)
]
ExperimentOption = Annotated[str, typer.Option("--experiment", help="MLflow experiment.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Built-in data sets; default VAE_TUNER_DATA, else ~/.cache/vae-tuner."),
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Send MLflow nothing now; `vae-tuner sync` does later.")]
StorageOption = Annotated[Path, typer.Option("--storage", help="Where sweeps keep their state, each in NAME below it.")]


@app.command(
    epilog="Example: vae-tuner sweep --dataset mnist --space geco-vs-annealing --trials 32 --set data.n_train=10000"
)
def sweep(
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
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial that is not pruned. Default 40.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the search and of every trial. Default 0.")] = None,
    sampler: Annotated[Sampler | None, typer.Option(help="Default tpe.")] = None,
    scheduler: Annotated[
        Scheduler | None, typer.Option(help="Default asha; none where several metrics are searched.")
    ] = None,
    grace: Annotated[
        int | None, typer.Option(help="Epochs before trials are compared; default from the longest warm-up.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="What is searched by, several joined by a comma; default val/elbo_cal (Gaussian), val/elbo "
            "(Bernoulli) or val/nll (IWAE)."
        ),
    ] = None,
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
    concurrency: Annotated[int | None, typer.Option(help="Trials at once; default fills the machine.")] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="Default 1; also the threads of a trial.")] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="Default 1 where there is a GPU; fractions share one.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Fix a field in every trial; repeatable.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="MLflow experiment. Default vae-tuner.")] = None,
    tracking_uri: UriOption = None,
    offline: OfflineOption = False,
    storage: Annotated[Path | None, typer.Option(help="Root of sweep states. Default ./sweeps.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster; default starts Ray here.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show trials, rungs and cost; start nothing.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Search a space: run trials, prune the hopeless, record all in MLflow, print the best configuration."""
    from tuner import display, progress, terminal
    from tuner.spec import overlaid, parse_spec, read_yaml

    options = {
        "name": name,
        "space": space,
        "config.data.name": dataset,
        "config.model.kind": model,
        "config.epochs": epochs,
        "config.device": device,
        "search.trials": trials,
        "search.seed": seed,
        "search.sampler": sampler and sampler.value,
        "search.metric": metric,
        "search.warm_start": warm_start or None,
        "budget.time": time_budget,
        "scheduler.kind": scheduler and scheduler.value,
        "scheduler.grace": grace,
        "resources.concurrency": concurrency,
        "resources.cpus_per_trial": cpus_per_trial,
        "resources.gpus_per_trial": gpus_per_trial,
        "resources.ray_address": ray_address,
        "tracking.experiment": experiment,
        "tracking.uri": tracking_uri,
        "tracking.offline": offline or None,
        "storage": storage and str(storage),
    }
    tree = overlaid(read_yaml(spec) if spec else {}, options)
    parsed = parse_spec(overlaid(tree, _settings(settings or [])))
    with terminal.working("Reading the data"):
        from tuner.planning import make_plan

        ready = make_plan(parsed, data_dir)
    if plan:
        display.show_plan(ready, output.value)
        return
    from tuner.driver import run_sweep

    result = run_sweep(ready, progress.SweepProgress)
    display.show_result(result, output.value)
    raise typer.Exit(result.exit_code)


def _settings(settings: list[str]) -> dict[str, Any]:
    """`PATH=VALUE` options as spec paths, values read as YAML."""
    import yaml

    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {setting}: write PATH=VALUE, as in --set lr.base=3e-3")
        try:
            found[f"config.{path}"] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ConfigError(f"--set {setting}: {value} is no valid YAML value; quote it") from None
    return found


@app.command(
    epilog="Examples: vae-tuner best --sweep geco-vs-annealing-digits-1 --export best.yaml · "
    "vae-tuner best --pareto val/mse,val/kl --where 'objective.kind = geco and lr.base >= 1e-3'"
)
def best(
    sweep: Annotated[list[str] | None, typer.Option(help="Sweeps to look at; default all of the experiment.")] = None,
    experiment: ExperimentOption = "vae-tuner",
    method: Annotated[str | None, typer.Option(help="geco, linear, cyclical, free-bits, beta, elbo …")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only trials on this data set.")] = None,
    metric: Annotated[str | None, typer.Option(help="Rank by; default what the sweeps searched by.")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many; default the best of each method.", show_default=False)
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="M,M", help="Trials that no other beats in all these metrics, by the first of them."),
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
    export: Annotated[Path | None, typer.Option(help="Write the best configuration to this YAML file.")] = None,
    register: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Make the best model a version of this registered model, its `champion`."),
    ] = None,
    tracking_uri: UriOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Ask MLflow for the best configuration; prints it and, with --export, writes it for `vae-tuner train`."""
    from tuner import display, terminal

    for option, file, endings in (("export", export, (".yaml", ".yml")), ("plot", plot, (".png",))):
        if file and file.suffix not in endings:
            raise ConfigError(f"--{option} {file}: the file must end in {endings[0]}")
        if file and not os.access(file.parent, os.W_OK):
            raise UserError(f"{file} cannot be written; name a file in an existing folder")
    with terminal.working("Asking MLflow"):
        from tuner import api
        from tuner.registry import check_model_name

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
            tracking_uri=tracking_uri,
        )[:top]
    if not rows:
        raise typer.Exit(terminal.complain(_none_found(where, include_pruned)))
    registered = api.register(rows[0], register, tracking_uri=tracking_uri) if register is not None else None
    if export:
        _write(export, display.exported(rows[0]))
    display.show_best(rows, output.value, metrics, export=export, plot=plot, registered=registered)


def _none_found(where: str | None, include_pruned: bool) -> str:
    meets = f" and meets --where {where}" if where else ""
    more = "" if include_pruned else "; --include-pruned ranks the pruned ones too"
    return f"no trial has ended with a value that can be ranked{meets} (saturated estimates cannot){more}"


@app.command(epilog="Example: vae-tuner train best.yaml --seed 1")
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of a configuration, as `best --export` writes it.")],
    seed: Annotated[int | None, typer.Option(help="Another seed than the file's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Another budget than the file's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field; repeatable.")
    ] = None,
    data_dir: DataDirOption = None,
    experiment: ExperimentOption = "vae-tuner",
    tracking_uri: UriOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Train one configuration to its end, with test metrics; on the same kind of device, to the same numbers."""
    from tuner import display, progress, terminal
    from tuner.spec import overlaid

    changes = {path.removeprefix("config."): value for path, value in _settings(settings or []).items()}
    with terminal.working("Loading PyTorch"):
        from trainables.paths import parse_config
        from tuner.retraining import read_config, retrain
        from tuner.tracking_uri import resolve_uri

        parsed = parse_config(overlaid(read_config(config), {"seed": seed, "epochs": epochs, **changes}))
    with progress.epoch_progress(parsed.epochs) as (on_report, on_notes):
        result = retrain(parsed, resolve_uri(tracking_uri, Path.cwd()), experiment, data_dir, on_report, on_notes)
    display.show_retrained(result, output.value)
    raise typer.Exit(0 if result.stop_reason == "completed" else 1)


@app.command(
    "lr-range", epilog="Example: vae-tuner lr-range --dataset mnist --set data.n_train=10000 --set optimizer.kind=radam"
)
def lr_range(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of a configuration; options override it.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="As in `sweep`.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="As in `sweep`.", show_default=False)] = None,
    low: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last learning rate, if the loss has not blown up before.")] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs in which it rises from one to the other.")] = 3,
    linear: Annotated[bool, typer.Option("--linear", help="Raise it along a line, not geometrically.")] = False,
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
    from tuner import display, terminal
    from tuner.spec import overlaid, read_yaml

    changes = {path.removeprefix("config."): value for path, value in _settings(settings or []).items()}
    options = {"data.name": dataset, "model.kind": model, **changes}
    tree = overlaid(read_yaml(config) if config else {}, options)
    if out and out.exists():
        raise UserError(f"--out {out} exists; name another folder, or remove it first")
    with terminal.working("Raising the learning rate"):
        from tuner.range_test import free_folder, run_lr_range

        result = run_lr_range(tree, low=low, high=high, epochs=epochs, linear=linear, chosen_data_dir=data_dir)
        files = result.write(out or free_folder(result.config.data.name))
    display.show_lr_range(result, files, output.value)
    raise typer.Exit(0 if result.suggestion else 1)


@app.command(epilog="Example: vae-tuner spaces geco-vs-annealing+batch-size")
def spaces(
    name: Annotated[str | None, typer.Argument(help="A space, or several joined by +.", show_default=False)] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """List the search spaces, or show what one of them varies, between which bounds and under which condition."""
    from tuner import display

    display.show_spaces(name, output.value)


@app.command(epilog="Example: vae-tuner init my-sweep.yaml && vae-tuner sweep my-sweep.yaml --plan")
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("sweep.yaml"),
) -> None:
    """Write a commented sweep file to start from."""
    from tuner.starter import STARTER

    if path.exists():
        raise UserError(f"{path} exists; name another file, or remove it first")
    _write(path, STARTER)
    typer.echo(f"Wrote {path}. Next: vae-tuner sweep {path} --plan")


@app.command(epilog="Example: vae-tuner resume geco-vs-annealing-digits-1 --trials +10")
def resume(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    trials: Annotated[str, typer.Option(metavar="+N", help="Trials beyond those planned.")] = "+0",
    model: Annotated[
        str | None,
        typer.Option(help="Of a sweep over your own model: its package.module:factory again.", show_default=False),
    ] = None,
    data_dir: DataDirOption = None,
    tracking_uri: OwnUriOption = None,
    offline: OfflineOption = False,
    storage: StorageOption = Path("./sweeps"),
    output: FormatOption = Format.TABLE,
) -> None:
    """Go on with a sweep that was cut short: finished trials stay, running ones go on from their last checkpoints."""
    from tuner import display, progress, terminal

    if not re.fullmatch(r"\+\d+", trials):
        raise ConfigError(f"--trials {trials}: write how many more, as in --trials +10")
    with terminal.working("Reading the journal"):
        from tuner.driver import resume_sweep

    result = resume_sweep(
        storage,
        name,
        more_trials=int(trials),
        model=model,
        tracking_uri=tracking_uri,
        offline=offline,
        data_dir=data_dir,
        progress=progress.SweepProgress,
    )
    display.show_result(result, output.value)
    raise typer.Exit(result.exit_code)


@app.command(epilog="Example: vae-tuner sync geco-vs-annealing-digits-1")
def sync(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    tracking_uri: OwnUriOption = None,
    storage: StorageOption = Path("./sweeps"),
) -> None:
    """Send MLflow what it lacks of a sweep, artifacts included; what it has is not sent again."""
    from tuner import terminal
    from tuner.syncing import sync_sweep

    with terminal.working("Sending"):
        sent = sync_sweep(storage, name, tracking_uri)
    typer.echo(f"Sent {sent} records of {name}." if sent else f"MLflow had all of {name}.")


@app.command(name="rm", epilog="Example: vae-tuner rm geco-vs-annealing-digits-1 --keep-best")
def remove(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    keep_best: Annotated[
        bool, typer.Option("--keep-best", help="Keep the journal and the best trial's folder.")
    ] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Delete its MLflow runs too.")] = False,
    tracking_uri: OwnUriOption = None,
    storage: StorageOption = Path("./sweeps"),
) -> None:
    """Delete what a sweep keeps on disk; MLflow's runs stay, unless --runs says otherwise."""
    from tuner.removal import remove_sweep

    removed = remove_sweep(storage, name, keep_best=keep_best, with_runs=runs, uri=tracking_uri)
    kept = f", kept trial {removed.kept}" if removed.kept else ""
    typer.echo(f"Freed {removed.bytes_freed / 1e6:.1f} MB, deleted {removed.runs} MLflow runs{kept}.")


@app.command(epilog="Example: vae-tuner doctor my-sweep.yaml")
def doctor(
    spec: Annotated[Path | None, typer.Argument(help="YAML file of a sweep.", show_default=False)] = None,
    dataset: Annotated[str | None, typer.Option(help="As for sweep.")] = None,
    data_dir: DataDirOption = None,
    model: Annotated[str | None, typer.Option(help="As for sweep.")] = None,
    experiment: Annotated[str | None, typer.Option(help="MLflow experiment.")] = None,
    tracking_uri: UriOption = None,
    storage: Annotated[Path | None, typer.Option(help="Root of sweep states. Default ./sweeps.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster.")] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Check what a sweep needs, with the fix beside each failure: packages, data, storage, tracking, disk, device."""
    from tuner import display, terminal
    from tuner.spec import overlaid, parse_spec, read_yaml

    options = {
        "config.data.name": dataset,
        "config.model.kind": model,
        "tracking.experiment": experiment,
        "tracking.uri": tracking_uri,
        "resources.ray_address": ray_address,
        "storage": storage and str(storage),
    }
    parsed = parse_spec(overlaid(read_yaml(spec) if spec else {}, options))
    with terminal.working("Looking around"):
        from tuner.preflight import examine

        findings = examine(parsed, data_dir)
    display.show_findings(findings, output.value)
    raise typer.Exit(any(finding.state == "failure" for finding in findings))


@app.command(epilog="Example: vae-tuner status geco-vs-annealing-digits-1")
def status(
    name: Annotated[
        str | None, typer.Argument(help="A sweep; default all in the storage folder.", show_default=False)
    ] = None,
    storage: StorageOption = Path("./sweeps"),
    output: FormatOption = Format.TABLE,
) -> None:
    """Show how sweeps stand: trials by state, epochs, the best so far. Reads their journals, starts nothing."""
    from tuner import display
    from tuner.sweep_status import sweep_statuses

    display.show_status(sweep_statuses(storage, name), name, output.value)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; name a file in an existing folder") from None


def main() -> None:
    """The `vae-tuner` command: a user's mistake is one message and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(130)
