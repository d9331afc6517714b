"""The verbs as functions: what `vae-tuner` does, for a notebook or a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trainables.errors import ConfigError, StorageError, UserError
from tuner.cluster.signals import StoppedError
from tuner.comparison.methods import METHODS
from tuner.sweeps.spec import SweepSpec, parse_spec, sweep_tree

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from search_spaces.space import Space
    from trainables.config import TrialConfig
    from trainables.training.trainer import Report
    from trainables.vae import Vae
    from tuner.cluster.job import Job
    from tuner.planning.plans import Plan
    from tuner.reports.sweeps_page import Shown
    from tuner.reports.zip_file import Exported
    from tuner.running.comparison_stages import Testing
    from tuner.running.comparisons import Compared
    from tuner.running.lr_range import LrRange
    from tuner.running.reach import Measuring
    from tuner.running.session import ProgressFactory
    from tuner.running.single_run import Retrained
    from tuner.running.sweep_result import SweepResult
    from tuner.sweeps.status import SweepStatus
    from tuner.tracking.best import BestTrial
    from tuner.tracking.registry import ModelVersion
    from tuner.tracking.removal import Removed

__all__ = [
    "StoppedError",
    "StorageError",
    "best",
    "compare",
    "compare_sweeps",
    "export",
    "find_job",
    "history",
    "load",
    "lr_range",
    "plan",
    "register",
    "remove",
    "report",
    "resume",
    "resume_job",
    "spaces",
    "status",
    "study",
    "submit",
    "sweep",
    "sync",
    "train",
    "trials",
]

Spec = SweepSpec | Mapping[str, Any] | str | Path
Notes = Callable[[Sequence[str]], None]
EpochProgress = Callable[[int], AbstractContextManager[tuple[Callable[["Report"], None], Notes]]]


def _spec(spec: Spec) -> SweepSpec:
    if isinstance(spec, SweepSpec):
        return spec
    return parse_spec(sweep_tree(spec if isinstance(spec, Mapping) else Path(spec)))


def plan(spec: Spec, *, data_dir: Path | None = None, allow_changed: bool = False) -> Plan:
    """What a sweep would do: rungs, concurrency, the space in numbers. Starts nothing."""
    from tuner.planning.plans import make_plan

    return make_plan(_spec(spec), data_dir, allow_changed=allow_changed)


def sweep(
    spec: Spec | Plan,
    *,
    data_dir: Path | None = None,
    allow_changed: bool = False,
    progress: ProgressFactory | None = None,
    measuring: Measuring | None = None,
) -> SweepResult:
    """Run a sweep to its end: a SweepSpec, its YAML file, the same as nested plain data, or what `plan` made of it.

    allow_changed: learn also from sweeps of `search.warm_start` whose data or code were others. Raises UserError for
    what cannot run, before anything is started. Ctrl-C, SIGTERM and SIGHUP save what is finished and raise
    StoppedError, a KeyboardInterrupt whose `result` is the SweepResult so far; `tuner.resume` goes on. So does
    StorageError, a UserError, where its state cannot be written, as on a full disk.
    """
    from tuner.planning.plans import Plan
    from tuner.running.driver import run_sweep
    from tuner.running.reach import unseen
    from tuner.running.session import silent

    ready = spec if isinstance(spec, Plan) else plan(spec, data_dir=data_dir, allow_changed=allow_changed)
    return run_sweep(ready, progress or silent, measuring or unseen)


def resume(
    name: str,
    *,
    trials: int = 0,
    model: str | Sequence[str] | None = None,
    storage: str | Path = "./sweeps",
    tracking_uri: str | None = None,
    offline: bool = False,
    data_dir: Path | None = None,
    allow_changed: bool = False,
    progress: ProgressFactory | None = None,
) -> SweepResult:
    """Go on with a sweep that was cut short, or with `trials` more than were planned.

    model: of a sweep over your own models, each `package.module:factory` again. allow_changed: go on although data or
    code are not what they were, and record it. Raises UserError where nothing is left, and StoppedError as
    `sweep` does.
    """
    from tuner.running.driver import resume_sweep
    from tuner.running.session import silent

    return resume_sweep(
        storage,
        name,
        more_trials=trials,
        model=model,
        tracking_uri=tracking_uri,
        offline=offline,
        data_dir=data_dir,
        allow_changed=allow_changed,
        progress=progress or silent,
    )


def submit(spec: Spec, *, cluster: str | None = None, allow_changed: bool = False) -> Job:
    """Hand a sweep to a Ray cluster, with a user's model and arrays of this machine, and return at once.

    cluster: the URL of its dashboard, or `local` for a process of this machine; by default RAY_API_SERVER_ADDRESS, else
    local. Raises UserError for what cannot run there, before anything is sent.
    """
    from tuner.cluster.backend_choice import backend_of
    from tuner.cluster.submission import submit_sweep

    return submit_sweep(_spec(spec), backend_of(cluster), Path.cwd(), allow_changed=allow_changed)


def find_job(job_id: str, *, cluster: str | None = None) -> Job:
    """A job that was submitted: `state`, `status()`, `logs()`, `result()`, `stop()`."""
    from tuner.cluster.job import known_job

    return known_job(job_id, cluster)


def resume_job(
    name: str,
    *,
    cluster: str | None = None,
    storage: str | None = None,
    trials: int = 0,
    model: str | Sequence[str] | None = None,
    tracking_uri: str | None = None,
    allow_changed: bool = False,
) -> Job:
    """Go on with a submitted sweep in a new job, as `resume` does; storage: by default where its last job had it."""
    from tuner.cluster.backend_choice import backend_of
    from tuner.cluster.submission import submit_resume

    return submit_resume(
        name,
        backend_of(cluster),
        Path.cwd(),
        storage=storage,
        more_trials=trials,
        model=model,
        tracking_uri=tracking_uri,
        allow_changed=allow_changed,
    )


def sync(
    name: str,
    *,
    storage: str | Path = "./sweeps",
    tracking_uri: str | None = None,
    on_notes: Notes = lambda notes: None,
) -> int:
    """Send MLflow what it lacks of a sweep; returns the number of records sent."""
    from tuner.tracking.syncing import sync_sweep

    return sync_sweep(storage, name, tracking_uri, on_notes=on_notes)


def remove(
    name: str,
    *,
    keep_best: bool = False,
    runs: bool = False,
    storage: str | Path = "./sweeps",
    tracking_uri: str | None = None,
) -> Removed:
    """Delete a sweep's state; with `keep_best` all but the journal and the best trial's folder. MLflow's runs stay,
    unless `runs` says otherwise."""
    from tuner.tracking.removal import remove_sweep

    return remove_sweep(storage, name, keep_best=keep_best, with_runs=runs, uri=tracking_uri)


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
    """The best completed trials that MLflow knows, best first; `top=None` gives the best of each method.

    where: comparisons joined by `and`, as in `val/kl < 8 and objective.kind = geco`. pareto: metrics; all trials
    that no other beats in all of them, whatever `top`, best first by the first. plot: a PNG file for a picture of them.
    allow_changed: rank sweeps together although their data, or the code of one model, are not the same.
    on_note: told which trials are left out because they cannot be ranked, and why; by default that is a warning.
    Raises UserError for a store, sweep, method, data set or metric that is not there.
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


def compare(
    dataset: str = "digits",
    model: str = "mlp",
    *,
    methods: Sequence[str] = METHODS,
    epochs: int | None = None,
    seeds: int | None = None,
    quick: bool = False,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    transfer: str | None = None,
    concurrency: int | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | str | None = None,
    storage: str | Path = "./sweeps",
    reports: str | Path = "./reports",
    experiment: str = "vae-tuner",
    tracking_uri: str | None = None,
    offline: bool = False,
    data_dir: Path | None = None,
    progress: ProgressFactory | None = None,
    testing: Testing | None = None,
    measuring: Measuring | None = None,
    on_notes: Notes | None = None,
) -> Compared:
    """Compare GECO with hand-annealing: train what is left of it, test, write its page and its run in MLflow.

    settings: fixed in every run, by configuration path. transfer: a finished comparison on other data, with which the
    best dials are exchanged. Raises UserError for what cannot be compared, and StoppedError where a signal ended it,
    with the SweepResult of the stage that it cut short, if any; the same call goes on.
    """
    from trainables.data import readers
    from tuner.comparison.request import Request, named_after
    from tuner.running.comparison_stages import ComparisonRun, no_testing
    from tuner.running.comparisons import compare_methods, folder_of
    from tuner.running.reach import unseen
    from tuner.running.session import silent

    request = Request(
        name=name or named_after(dataset, model),
        dataset=dataset,
        model=model,
        methods=tuple(methods),
        epochs=epochs,
        seeds=seeds,
        quick=quick,
        settings=settings or {},
        transfer=transfer,
    )
    resources = {"concurrency": concurrency, "cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    run = ComparisonRun(
        request,
        storage=folder_of(storage),
        reports=Path(reports),
        data_dir=readers.data_dir(data_dir),
        tracking_uri=tracking_uri,
        experiment=experiment,
        offline=offline,
        resources={f"resources.{name}": value for name, value in resources.items() if value is not None},
        progress=progress or silent,
        testing=testing or no_testing,
        measuring=measuring or unseen,
        on_notes=on_notes or _warn,
    )
    return compare_methods(run)


def compare_sweeps(
    sweeps: Sequence[str],
    *,
    name: str | None = None,
    storage: str | Path = "./sweeps",
    reports: str | Path = "./reports",
    allow_changed: bool = False,
) -> Shown:
    """Show finished sweeps side by side on a page: description, no test. Raises UserError for what cannot stand so.

    name: the page's folder. allow_changed: show them although their data or code are not the same; the page says so.
    """
    from tuner.reports.sweeps_page import compare_finished_sweeps

    return compare_finished_sweeps(sweeps, storage, Path(reports), name, allow_changed=allow_changed)


def report(name: str, *, storage: str | Path = "./sweeps", reports: str | Path = "./reports") -> Path:
    """Write a sweep's page and the files beside it; returns where `index.html` is."""
    from tuner.reports.sweep_page import write_sweep_page

    return write_sweep_page(storage, name, Path(reports) / name)


def export(
    name: str, file: str | Path, *, storage: str | Path = "./sweeps", reports: str | Path = "./reports"
) -> Exported:
    """Pack a sweep or a comparison into a new zip file: configurations, curves, the best checkpoint, the page."""
    from tuner.reports import zip_file as exporting

    return exporting.export(storage, name, Path(file), Path(reports))


def register(trial: BestTrial, name: str, *, tracking_uri: str | None = None) -> ModelVersion:
    """Put a trial's model into MLflow's model registry and move the alias `champion` to it.

    The same run is never registered twice under one name. Raises UserError for a name MLflow does not allow.
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
    """Train one configuration to its end and log it: a TrialConfig, its YAML file, or nested plain data.

    settings: changes to it, by configuration path; None leaves a value as it is.
    Warns where data, code or versions are not those that an exported file was recorded with. A signal that asks to stop
    raises StoppedError, whose `result` is the run of the finished epochs; None where there is none.
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
        return retrain(parsed, uri, experiment, data_dir, origin=origin, ranked=ranked, on_changed=_warn)
    with progress(parsed.epochs) as (on_report, on_notes):
        return retrain(parsed, uri, experiment, data_dir, on_report, on_notes, origin, ranked)


def _warn(texts: Sequence[str]) -> None:
    from trainables.user_warnings import warn_user

    for text in texts:
        warn_user(text)


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

    out: a new folder for the curve, its picture, and a sweep and a configuration with the bounds; none writes nothing.
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
    """A trained model: from a checkpoint file, an MLflow run that completed, by its id, or a registered model.

    source: of a registered model `models:/NAME@champion`, `models:/NAME/3`, or `models:/NAME` for the latest version.
    model: of a model that a user's own `package.module:factory` made, that name again: what is loaded says which code
    it needs, and the caller whether it may run. Raises UserError for a source that is not there or not allowed, and for
    a run whose files are not what was trained; warns where data (a file that is here), code or versions are not those
    that the model was trained with.
    """
    from trainables.data.readers import data_dir, digest_at_hand
    from trainables.identity import notes_on

    found = _loaded(source, model, tracking_uri, device)
    data = found.config.data
    here = replace(found.identity_here, data=digest_at_hand(data.name, data_dir()))
    _warn(notes_on(here, found.identity, data.name, "of the trained model"))
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


def status(name: str | None = None, *, storage: str | Path = "./sweeps") -> list[SweepStatus]:
    """How the sweeps in a storage folder stand, or the one of this name."""
    from tuner.sweeps.status import sweep_statuses

    return sweep_statuses(storage, name)


def trials(name: str, *, storage: str | Path = "./sweeps") -> pd.DataFrame:
    """The trials of a sweep, a row each, as they stand now.

    Parameters
    ----------
    name
        The sweep, finished or running.
    storage
        The folder or the object storage of its sweeps.

    Returns
    -------
    pandas.DataFrame
        By trial: number of its configuration, seed, method, state, outcome, error, epochs, the epoch that it is ranked
        by, when it began (UTC), seconds, what was drawn for it by configuration path, and its metrics.

    Raises
    ------
    UserError
        For a sweep that is not there.

    Examples
    --------
    >>> tuner.trials("digits").sort_values("val/elbo_cal")[["lr.base", "val/kl"]]  # doctest: +SKIP
    """
    from tuner.reports.frames import trials_frame

    return trials_frame(storage, name)


def history(name: str, *, storage: str | Path = "./sweeps") -> pd.DataFrame:
    """The epochs of a sweep, a row each.

    Parameters
    ----------
    name
        The sweep, finished or running.
    storage
        The folder or the object storage of its sweeps.

    Returns
    -------
    pandas.DataFrame
        By trial and epoch: the decision, its reason, the rung, and all metrics.

    Raises
    ------
    UserError
        For a sweep that is not there.

    Examples
    --------
    >>> tuner.history("digits")["val/kl"].unstack("trial").plot()  # doctest: +SKIP
    """
    from tuner.reports.frames import history_frame

    return history_frame(storage, name)


def study(name: str, *, storage: str | Path = "./sweeps") -> optuna.Study:
    """A sweep as an Optuna study in memory, for Optuna's visualisation and importances.

    A configuration is one trial, with the means over its seeds. Its state is COMPLETE with a result, PRUNED where it
    was stopped, FAIL where it diverged or raised, RUNNING where it has not ended. Its user attributes hold the ids of
    its trials, its outcome and its metrics. What is told to the study changes nothing in the sweep.

    Parameters
    ----------
    name
        The sweep, finished or running.
    storage
        The folder or the object storage of its sweeps.

    Returns
    -------
    optuna.Study
        With the sweep's metrics as the names of its values, and the metric by epoch as intermediate values.

    Raises
    ------
    UserError
        For a sweep that is not there.

    Examples
    --------
    >>> optuna.visualization.plot_slice(tuner.study("digits"))  # doctest: +SKIP
    """
    from tuner.search.finished_study import finished_study

    return finished_study(storage, name)


def spaces(name: str) -> Space:
    """A search space by name; names may be joined by `+`."""
    from search_spaces.catalogue import parse_space

    return parse_space(name)
