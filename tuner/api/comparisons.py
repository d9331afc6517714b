"""The verbs that compare, and the one that packs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.user_warnings import Notes, warn_all
from tuner.comparison.kinds import METHODS

if TYPE_CHECKING:
    from tuner.reports.sweeps_page import Shown
    from tuner.reports.zip_file import Exported
    from tuner.running.comparison_stages import Testing
    from tuner.running.comparisons import Compared
    from tuner.running.kappa_min import Measuring
    from tuner.running.session import ProgressFactory


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

    Parameters
    ----------
    dataset, model
        As `data.name` and `model.kind` in a configuration.
    methods
        `geco` and the methods to compare it with.
    epochs
        Epochs of every run; by default 40.
    seeds
        Seeds per method in the final test; by default 10, quick 5.
    quick
        Use 5 seeds and pools of 24 trials: an exploratory answer.
    name
        Name of the comparison; by default DATASET-MODEL.
    settings
        Fixed values of every run, by configuration path.
    transfer
        A finished comparison on other data, with which the best settings are exchanged.
    concurrency, cpus_per_trial, gpus_per_trial
        As `resources` in a sweep's file.
    storage
        Folder that holds the sweeps.
    reports
        Folder for the page, in NAME below it.
    experiment
        MLflow experiment.
    tracking_uri
        MLflow's store; by default MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` here.
    offline
        Send nothing to MLflow.
    data_dir
        Folder of the built-in data sets; by default VAE_TUNER_DATA, else `~/.cache/vae-tuner`.
    progress, testing, measuring
        What shows the running sweeps, the tests and the measurement of κ_min.
    on_notes
        Called with notes for the user; by default they are warnings.

    Returns
    -------
    Compared
        The answer, the path of its page, and its run in MLflow.

    Raises
    ------
    UserError
        The methods, data or settings cannot be compared.
    StoppedError
        A signal ended it; the same call goes on. `result` is that of the stage it cut short.

    Examples
    --------
    >>> found = tuner.compare("mnist", settings={"data.n_train": 10_000}, epochs=20, quick=True)  # doctest: +SKIP
    >>> found.comparison.verdict, found.page  # doctest: +SKIP
    """
    from trainables.data import readers
    from tuner.comparison.request import Request, named_after
    from tuner.running.comparison_stages import ComparisonRun
    from tuner.running.comparisons import compare_methods, folder_of
    from tuner.running.kappa_min import unseen
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
        testing=testing or (lambda stage, n: unseen(n)),
        measuring=measuring or unseen,
        on_notes=on_notes or warn_all,
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
    """Show finished sweeps side by side on a page; this describes them and tests nothing.

    Parameters
    ----------
    sweeps
        Two or more names.
    name
        Folder of the page.
    storage
        Folder, or URI of object storage, that holds the sweeps.
    reports
        Folder for the page, in NAME below it.
    allow_changed
        Show sweeps although their data or code differ; the page says so.

    Returns
    -------
    Shown
        What the page shows, and its path.

    Raises
    ------
    UserError
        A sweep has not finished, or their numbers cannot be compared.
    """
    from tuner.reports.sweeps_page import compare_finished_sweeps

    return compare_finished_sweeps(sweeps, storage, Path(reports), name, allow_changed=allow_changed)


def export(
    name: str, file: str | Path, *, storage: str | Path = "./sweeps", reports: str | Path = "./reports"
) -> Exported:
    """Pack a sweep or a comparison into a zip file: configurations, curves, the best checkpoint, the page.

    Parameters
    ----------
    name
        The sweep or the comparison.
    file
        A new file that ends in `.zip`.
    storage
        Folder, or URI of object storage, that holds the sweeps.
    reports
        Folder of a comparison's page.

    Returns
    -------
    Exported
        The file, its number of files, and the best trial.

    Raises
    ------
    UserError
        There is no such sweep, or the file exists or cannot be written.
    """
    from tuner.reports import zip_file as exporting

    return exporting.export(storage, name, Path(file), Path(reports))
