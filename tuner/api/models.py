"""The verbs of single configurations: the best, training one, loading its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trainables.errors import ConfigError, UserError
from trainables.user_warnings import Notes, warn_all

if TYPE_CHECKING:
    from trainables.config import TrialConfig
    from trainables.training.report import Report
    from trainables.vae import Vae
    from tuner.running.lr_range import LrRange
    from tuner.running.single_run import Retrained
    from tuner.tracking.best import BestTrial
    from tuner.tracking.registry import ModelVersion

EpochProgress = Callable[[int], AbstractContextManager[tuple[Callable[["Report"], None], Notes]]]


def best(
    sweep: str | Sequence[str] = (),
    *,
    experiment: str = "vae-tuner",
    method: str | None = None,
    dataset: str | None = None,
    metric: str | None = None,
    top: int | None = 1,
    include_pruned: bool = False,
    where: str | None = None,
    pareto: Sequence[str] = (),
    plot: str | Path | None = None,
    allow_changed: bool = False,
    tracking_uri: str | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[BestTrial]:
    """Ask MLflow for the best trials.

    Parameters
    ----------
    sweep
        Names of sweeps; by default all of the experiment.
    experiment
        MLflow experiment.
    method
        Only trials of this method, as `geco` or `linear`.
    dataset
        Only trials on this data set.
    metric
        Metric to rank by; by default the one that the sweeps optimised.
    top
        Number of trials; None gives the best of each method.
    include_pruned
        Rank pruned trials too.
    where
        Comparisons joined by `and`, as `val/kl < 8 and objective.kind = geco`.
    pareto
        Two or more metrics: return their Pareto front, sorted by the first, whatever `top`.
    plot
        PNG file for a picture of the Pareto front.
    allow_changed
        Rank sweeps together although their data or the code of a model differ.
    tracking_uri
        MLflow's store; by default MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` here.
    on_note
        Called with which trials cannot be ranked and why; by default a warning.

    Returns
    -------
    list of BestTrial
        The best first; empty where no trial can be ranked.

    Raises
    ------
    UserError
        The store, a sweep, a method, a data set or a metric is not there.

    Examples
    --------
    >>> row = tuner.best("digits-1", metric="val/kl", where="val/mse < 0.02")[0]  # doctest: +SKIP
    >>> row.trial, row.metrics["val/kl"]  # doctest: +SKIP
    """
    from trainables.data.readers import absolute
    from tuner.sweeps.tracking_uri import resolve_uri
    from tuner.tracking import best as from_mlflow

    uri = resolve_uri(tracking_uri, Path.cwd())
    filters = from_mlflow.Filters(
        sweep=[sweep] if isinstance(sweep, str) else sweep,
        experiment=experiment,
        method=method,
        dataset=dataset and absolute(dataset),
        where=where,
        include_pruned=include_pruned,
        allow_changed=allow_changed,
    )
    if not pareto:
        if plot:
            raise ConfigError("--plot shows a Pareto front; name its metrics, as in --pareto val/mse,val/kl")
        return from_mlflow.best(uri, metric=metric, top=top, on_note=on_note, **filters)
    if metric:
        raise ConfigError(f"--metric {metric}: a Pareto front is ordered by the first metric of --pareto; leave it out")
    front = from_mlflow.front(uri, pareto, on_note, **filters)
    if plot and front.rows:
        from tuner.reports.figures.pareto_front import draw

        draw(front, Path(plot))
    return front.rows


def register(trial: BestTrial, name: str, *, tracking_uri: str | None = None) -> ModelVersion:
    """Make a trial's model a version in MLflow's model registry, and move the alias `champion` to it.

    Parameters
    ----------
    trial
        As `tuner.best` returns it.
    name
        The registered model. A run is registered once under a name.
    tracking_uri
        MLflow's store; by default MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` here.

    Returns
    -------
    ModelVersion
        Name, version, alias and URI, as `models:/faces@champion`.

    Raises
    ------
    UserError
        MLflow does not allow the name.
    """
    from tuner.sweeps.tracking_uri import resolve_uri
    from tuner.tracking import registry

    return registry.register(resolve_uri(tracking_uri, Path.cwd()), trial, name)


def train(
    config: TrialConfig | Mapping[str, Any] | str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    experiment: str = "vae-tuner",
    tracking_uri: str | None = None,
    data_dir: Path | None = None,
    progress: EpochProgress | None = None,
) -> Retrained:
    """Train one configuration to its end and log it. Warns where data, code or versions differ from the recorded ones.

    Parameters
    ----------
    config
        A TrialConfig, its YAML file, or nested plain data.
    settings
        Changes to it by configuration path; a value of None changes nothing.
    experiment
        MLflow experiment.
    tracking_uri
        MLflow's store; by default MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` here.
    data_dir
        Folder of the built-in data sets; by default VAE_TUNER_DATA, else `~/.cache/vae-tuner`.
    progress
        What shows the epochs: called with their number; yields what takes each report, and notes.

    Returns
    -------
    Retrained
        Metrics, `test/…` among them, the configuration as it ran, and the run's id.

    Raises
    ------
    UserError
        The configuration cannot be trained, or MLflow does not accept the run; its files are kept.
    StoppedError
        A signal ended it. `result` is the run of the finished epochs, None without any.

    Examples
    --------
    >>> tuner.train("best.yaml", settings={"seed": 1}).metrics["test/elbo"]  # doctest: +SKIP
    """
    from trainables.config import TrialConfig
    from trainables.config.paths import parse_config, plain
    from tuner.running.single_run import read_config, retrain
    from tuner.sweeps.spec import overlaid
    from tuner.sweeps.tracking_uri import resolve_uri
    from tuner.tracking.origin import parted
    from tuner.tracking.ranked_epoch import split_ranked

    origin = ranked = None
    if isinstance(config, TrialConfig):
        tree = plain(config)
    else:
        tree, origin = parted(config if isinstance(config, Mapping) else read_config(Path(config)))
        tree, ranked = split_ranked(tree)
    parsed = parse_config(overlaid(tree, settings or {}))
    uri = resolve_uri(tracking_uri, Path.cwd())
    if progress is None:
        return retrain(parsed, uri, experiment, data_dir, origin=origin, ranked=ranked, on_changed=warn_all)
    with progress(parsed.epochs) as (on_report, on_notes):
        return retrain(parsed, uri, experiment, data_dir, on_report, on_notes, origin, ranked)


def lr_range(
    config: TrialConfig | Mapping[str, Any] | str | Path,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    epochs: int = 3,
    linear: bool = False,
    out: str | Path | None = None,
    data_dir: Path | None = None,
) -> LrRange:
    """Train a configuration while its learning rate rises, and suggest the bounds of its cycles.

    Parameters
    ----------
    config
        A TrialConfig, its YAML file, or nested plain data.
    low, high
        First and last learning rate.
    epochs
        Epochs over which the rate rises.
    linear
        Raise the rate linearly instead of geometrically.
    out
        A new folder for the curve, its picture, and a sweep and a configuration with the bounds; by default nothing is
        written.
    data_dir
        Folder of the built-in data sets; by default VAE_TUNER_DATA, else `~/.cache/vae-tuner`.

    Returns
    -------
    LrRange
        The curve, and the suggested bounds where there are any.

    Raises
    ------
    UserError
        The configuration cannot be trained, or the folder exists.

    Examples
    --------
    >>> tuner.lr_range({"data": {"name": "mnist"}}, low=1e-5).suggestion  # doctest: +SKIP
    """
    from trainables.config import TrialConfig
    from trainables.config.paths import plain
    from tuner.running.lr_range import run_lr_range
    from tuner.sweeps.yaml_files import read_yaml

    if isinstance(config, TrialConfig):
        config = plain(config)
    tree = config if isinstance(config, Mapping) else read_yaml(Path(config))
    result = run_lr_range(tree, low=low, high=high, epochs=epochs, linear=linear, chosen_data_dir=data_dir)
    if out is not None:
        result.write(Path(out))
    return result


def load(source: str | Path, *, model: str | None = None, tracking_uri: str | None = None, device: str = "cpu") -> Vae:
    """Load a trained model. Warns where data, code or versions differ from those it was trained with.

    Parameters
    ----------
    source
        A checkpoint file, the id of an MLflow run that completed, or a registered model: `models:/NAME@champion`,
        `models:/NAME/3`, or `models:/NAME` for the latest version.
    model
        For a model of your own: its `package.module:factory` again. The checkpoint says which code it needs, and you
        whether it may run.
    tracking_uri
        MLflow's store; by default MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` here.
    device
        `cpu` or `cuda`.

    Returns
    -------
    Vae
        With `encode`, `decode`, `sample` and `reconstruct`.

    Raises
    ------
    UserError
        The source is not there or not allowed, or the run's files are not what was trained.

    Examples
    --------
    >>> tuner.load("best.safetensors").sample(16)  # doctest: +SKIP
    """
    from trainables.data.readers import data_dir, digest_at_hand
    from trainables.identity import notes_on

    found = _loaded(source, model, tracking_uri, device)
    data = found.config.data
    here = replace(found.identity_here, data=digest_at_hand(data.name, data_dir()))
    warn_all(notes_on(here, found.identity, data.name, "of the trained model"))
    return found


def _loaded(source: str | Path, model: str | None, tracking_uri: str | None, device: str) -> Vae:
    from trainables.vae import Vae
    from tuner.sweeps.tracking_uri import resolve_uri
    from tuner.tracking import registry, run_artifacts

    if Path(source).is_file():
        return Vae.from_file(source, device, model)
    run_id = str(source)
    if registry.is_model_uri(run_id):
        run_id = registry.run_of(resolve_uri(tracking_uri, Path.cwd()), run_id)
    elif "/" in run_id or Path(source).suffix:
        raise UserError(
            f"{source} does not exist; give a checkpoint file, the id of an MLflow run, or models:/NAME@champion"
        )
    uri = resolve_uri(tracking_uri, Path.cwd())
    with TemporaryDirectory() as folder:
        file = run_artifacts.checkpoint(uri, run_id, Path(folder))
        vae = Vae.from_file(file, device, model)
    if run_artifacts.config_beside(uri, run_id) not in (None, vae.config):
        raise UserError(
            f"{file.name} of run {run_id} is not this run's: its configuration is another than the run's config.yaml; "
            "delete the file in MLflow, and `vae-tuner sync` sends the sweep's own"
        )
    return vae
