"""What several verbs take: shared options, and settings by configuration path."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainables.credentials import check_no_secrets, shown
from trainables.errors import ConfigError, UserError

if TYPE_CHECKING:
    from tuner.sweeps.spec import SweepSpec


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="json: one document on stdout, nothing else there.")]
UriOption = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="MLflow's store; default MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here."),
]
OwnUriOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="Use this store instead of the sweep's own.", show_default=False)
]
ExperimentOption = Annotated[str, typer.Option("--experiment", help="MLflow experiment.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Built-in data sets; default VAE_TUNER_DATA, else ~/.cache/vae-tuner."),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Send nothing to MLflow now; `vae-tuner sync` sends it later.")
]
StorageOption = Annotated[
    str, typer.Option("--storage", help="Where sweeps keep their state, each in NAME below it: a folder, or s3://…")
]
CpusPerTrialOption = Annotated[
    float | None,
    typer.Option("--cpus-per-trial", help="Cores of a lane, and its threads. Default 1.", show_default=False),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        metavar="N",
        help="Trials at once. Default a quarter of them for tpe and nsga2, else as many as find room.",
        show_default=False,
    ),
]
LanesOption = Annotated[
    int | None,
    typer.Option(
        "--lanes",
        metavar="N",
        help="Workers, each of which trains several trials. Default one a core, or a GPU.",
        show_default=False,
    ),
]
MembersOption = Annotated[
    int | None,
    typer.Option(
        "--members",
        metavar="N",
        help="Trials of a lane, at most. Default as many as make a step cheapest for each.",
        show_default=False,
    ),
]
GpusPerTrialOption = Annotated[
    str | None,
    typer.Option(
        "--gpus-per-trial",
        metavar="X|auto",
        help="Of a lane. Default 1 where there is a GPU; fractions share one; auto measures how many fit.",
        show_default=False,
    ),
]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Fix a field in every trial; repeatable.")
]
RankingOption = Annotated[
    str | None,
    typer.Option(
        "--ranking",
        metavar="last|best|mean-K",
        help="The epoch by which a trial is ranked: its last (default), its best, or the mean of its last K.",
        show_default=False,
    ),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        "--patience",
        metavar="N",
        help="Stop a trial that has not improved for N epochs after its warm-ups. Default none.",
        show_default=False,
    ),
]
RepeatsOption = Annotated[
    int | None,
    typer.Option(
        "--repeats",
        metavar="K",
        help="Seeds of each configuration, ranked by their mean. Default 1.",
        show_default=False,
    ),
]
MoreTrialsOption = Annotated[str, typer.Option("--trials", metavar="+N", help="Trials beyond those planned.")]
AllowChangedOption = Annotated[
    bool,
    typer.Option(
        "--allow-changed", help="Go on although the data or a model's code have changed; the change is recorded."
    ),
]
OwnModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="KIND",
        help="Your own models, each named again as package.module:factory; repeatable.",
    ),
]


PATHS = {
    "name": "name",
    "space": "space",
    "dataset": "config.data.name",
    "model": "config.model.kind",
    "epochs": "config.epochs",
    "device": "config.device",
    "trials": "search.trials",
    "repeats": "search.repeats",
    "seed": "search.seed",
    "sampler": "search.sampler",
    "metric": "search.metric",
    "ranking": "search.ranking",
    "warm_start": "search.warm_start",
    "time_budget": "budget.time",
    "scheduler": "scheduler.kind",
    "grace": "scheduler.grace",
    "patience": "scheduler.patience",
    "concurrency": "resources.concurrency",
    "lanes": "resources.lanes",
    "members": "resources.members",
    "cpus_per_trial": "resources.cpus_per_trial",
    "gpus_per_trial": "resources.gpus_per_trial",
    "ray_address": "resources.ray_address",
    "experiment": "tracking.experiment",
    "tracking_uri": "tracking.uri",
    "offline": "tracking.offline",
    "storage": "storage",
}
"""Which field of a sweep's file an option is laid over."""


def overlaid_spec(file: Path | None, settings: list[str] | None, /, **options: Any) -> SweepSpec:
    """A sweep's file, or none, under the options that were given, and these under `--set PATH=VALUE`.

    options: of a command, as they stand in its context; those without a field of the file are passed over.
    """
    from tuner.sweeps.spec import parse_spec, sweep_tree

    given = {name: value for name, value in options.items() if value is not False and value != []}
    tree = sweep_tree(file or {}, {PATHS[name]: value for name, value in given.items() if name in PATHS})
    return parse_spec(sweep_tree(tree, parsed_settings(settings or [])))


def parsed_settings(settings: list[str]) -> dict[str, Any]:
    """`PATH=VALUE` options as spec paths, values read as YAML; raises ConfigError for one that is a secret, whatever it
    is laid over."""
    from tuner.sweeps.yaml_files import parse_yaml_value

    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {setting}: write PATH=VALUE, as in --set lr.base=3e-3")
        found[f"config.{path}"] = parsed = parse_yaml_value(value, f"--set {shown(path)}")
        check_no_secrets({path: parsed})
    return found


def parsed_more_trials(trials: str) -> int:
    """The number of trials to add, written `+N`."""
    if not re.fullmatch(r"\+[0-9]{1,6}", trials):
        raise ConfigError(f"--trials {trials}: write how many more, up to +999999, as in --trials +10")
    return int(trials)


def write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; name a file in an existing folder") from None
