"""The verbs of a sweep: plan it, run it, look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.user_warnings import Notes
from tuner.sweeps.spec import SweepSpec, parse_spec, sweep_tree

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from search_spaces.space import Space
    from tuner.planning.plans import Plan
    from tuner.running.kappa_min import Measuring
    from tuner.running.session import ProgressFactory
    from tuner.running.sweep_result import SweepResult
    from tuner.sweeps.status import SweepStatus
    from tuner.tracking.removal import Removed

Spec = SweepSpec | Mapping[str, Any] | str | Path


def spec_of(spec: Spec) -> SweepSpec:
    """A sweep's description, in whichever form it was given.

    Parameters
    ----------
    spec
        A SweepSpec, its YAML file, or the same as nested plain data.

    Returns
    -------
    SweepSpec
        Checked.
    """
    if isinstance(spec, SweepSpec):
        return spec
    return parse_spec(sweep_tree(spec if isinstance(spec, Mapping) else Path(spec)))


def plan(spec: Spec, *, data_dir: Path | None = None, allow_changed: bool = False) -> Plan:
    """Plan a sweep: rungs, concurrency, the space in numbers. Starts nothing.

    Parameters
    ----------
    spec
        A SweepSpec, its YAML file, or the same as nested plain data.
    data_dir
        Folder of the built-in data sets; by default VAE_TUNER_DATA, else `~/.cache/vae-tuner`.
    allow_changed
        Go on although the data or the code of a model have changed; the change is recorded.

    Returns
    -------
    Plan
        What would run; `tuner.sweep` takes it as its spec.

    Raises
    ------
    UserError
        The spec cannot run; the message names the field, its value and what is allowed.

    Examples
    --------
    >>> plan = tuner.plan({"space": "lr", "search": {"trials": 8}, "config": {"epochs": 12}})
    >>> plan.n_trials, plan.rungs
    (8, (4,))
    """
    from tuner.planning.plans import make_plan

    return make_plan(spec_of(spec), data_dir, allow_changed=allow_changed)


def sweep(
    spec: Spec | Plan,
    *,
    data_dir: Path | None = None,
    allow_changed: bool = False,
    progress: ProgressFactory | None = None,
    measuring: Measuring | None = None,
) -> SweepResult:
    """Run a sweep to its end.

    Parameters
    ----------
    spec
        A SweepSpec, its YAML file, or the same as nested plain data, or what `tuner.plan` returned.
    data_dir
        Folder of the built-in data sets; by default VAE_TUNER_DATA, else `~/.cache/vae-tuner`.
    allow_changed
        Learn also from sweeps in `search.warm_start` whose data or code have changed.
    progress
        What shows the running sweep: called with plan, sweep and tracking URI; by default nothing is shown.
    measuring
        What shows the measurement of κ_min: called with its number of epochs.

    Returns
    -------
    SweepResult
        The best trials, the counts of stop reasons, and where records and files are.

    Raises
    ------
    UserError
        The sweep cannot run. Nothing was started.
    StoppedError
        Ctrl-C, SIGTERM or SIGHUP: what is finished is saved, and `result` holds the SweepResult so far; `tuner.resume`
        goes on.
    StorageError
        The sweep's state cannot be written, as on a full disk; `result` is as for StoppedError.

    Examples
    --------
    >>> result = tuner.sweep({"space": "geco-vs-annealing", "search": {"trials": 32}})  # doctest: +SKIP
    >>> result.best.metrics["val/elbo_cal"]  # doctest: +SKIP
    """
    from tuner.planning.plans import Plan
    from tuner.running.driver import run_sweep
    from tuner.running.kappa_min import unseen
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
    """Go on with a sweep that was cut short, or add trials to one.

    Parameters
    ----------
    name
        The sweep.
    trials
        Number of trials to add to those planned.
    model
        For a sweep over your own models: each `package.module:factory` again. The journal says which code it needs, and
        you whether it may run.
    storage
        Folder, or URI of object storage, that holds the sweeps.
    tracking_uri
        Another MLflow store than the sweep's own.
    offline
        Send nothing to MLflow now; `tuner.sync` sends it later.
    data_dir
        Folder of the built-in data sets; by default VAE_TUNER_DATA, else `~/.cache/vae-tuner`.
    allow_changed
        Go on although the data or the code of a model have changed; the change is recorded.
    progress
        What shows the running sweep: called with plan, sweep and tracking URI; by default nothing is shown.

    Returns
    -------
    SweepResult
        As of `tuner.sweep`, over all sessions.

    Raises
    ------
    UserError
        There is no such sweep, nothing is left to do, or another process runs it.
    StoppedError, StorageError
        As `tuner.sweep` raises them.

    Examples
    --------
    >>> tuner.resume("geco-vs-annealing-digits-1", trials=10)  # doctest: +SKIP
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


def status(name: str | None = None, *, storage: str | Path = "./sweeps") -> list[SweepStatus]:
    """Tell how sweeps stand. Reads their journals, starts nothing.

    Parameters
    ----------
    name
        One sweep; by default all.
    storage
        Folder, or URI of object storage, that holds the sweeps.

    Returns
    -------
    list of SweepStatus
        By sweep: its state, its trials by state, epochs, the best so far.

    Raises
    ------
    UserError
        There is no such sweep.
    """
    from tuner.sweeps.status import sweep_statuses

    return sweep_statuses(storage, name)


def sync(
    name: str,
    *,
    storage: str | Path = "./sweeps",
    tracking_uri: str | None = None,
    on_notes: Notes = lambda notes: None,
) -> int:
    """Send MLflow the records and files of a sweep that it lacks.

    Parameters
    ----------
    name
        The sweep.
    storage
        Folder, or URI of object storage, that holds the sweeps.
    tracking_uri
        Another MLflow store than the sweep's own.
    on_notes
        Called with what was lost in MLflow and what cannot be mended.

    Returns
    -------
    int
        Number of records and files sent; 0 where MLflow has all.

    Raises
    ------
    UserError
        A driver runs the sweep, or the store cannot be reached or does not accept all.
    """
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
    """Delete what a sweep keeps on disk.

    Parameters
    ----------
    name
        The sweep.
    keep_best
        Keep the journal and the folder of the best trial.
    runs
        Delete the sweep's runs in MLflow too.
    storage
        Folder, or URI of object storage, that holds the sweeps.
    tracking_uri
        Another MLflow store than the sweep's own.

    Returns
    -------
    Removed
        With `bytes_freed`, the trial that was `kept`, and the number of `runs` deleted.

    Raises
    ------
    UserError
        There is no such sweep, or a driver runs it.
    """
    from tuner.tracking.removal import remove_sweep

    return remove_sweep(storage, name, keep_best=keep_best, with_runs=runs, uri=tracking_uri)


def report(name: str, *, storage: str | Path = "./sweeps", reports: str | Path = "./reports") -> Path:
    """Write a sweep's page and the files beside it.

    Parameters
    ----------
    name
        The sweep.
    storage
        Folder, or URI of object storage, that holds the sweeps.
    reports
        Folder for the page, in NAME below it.

    Returns
    -------
    Path
        Of `index.html`.

    Raises
    ------
    UserError
        There is no such sweep, or none of its trials can be ranked.
    """
    from tuner.reports.sweep_page import write_sweep_page

    return write_sweep_page(storage, name, Path(reports) / name)


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
    """Get a search space by name.

    Parameters
    ----------
    name
        A name, or several joined by `+`, as `geco+batch-size`.

    Returns
    -------
    Space
        Its dimensions, conditions and fixed values.

    Raises
    ------
    UserError
        There is no such space.

    Examples
    --------
    >>> list(tuner.spaces("lr").dimensions)
    ['lr.base']
    """
    from search_spaces.catalogue import parse_space

    return parse_space(name)
