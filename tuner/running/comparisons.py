"""A comparison from its request to its page and its run in MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from trainables.credentials import check_no_secrets, shown
from trainables.data.readers import data_dir
from trainables.errors import UserError
from trainables.object_storage import is_remote
from tuner.cluster.signals import Signals, stop_signals
from tuner.comparison.answer import Comparison
from tuner.comparison.request import Request, command_of, remembered
from tuner.comparison.stages import STAGES
from tuner.reports.gallery import examples_of, followed, kl_by_latent, write_gallery
from tuner.running.comparison_stages import Place, Prepared, Testing, prepared, run_comparison
from tuner.running.reach import Measuring, unseen
from tuner.running.session import ProgressFactory, silent
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.keeping import held_alone
from tuner.sweeps.state import fold
from tuner.sweeps.tracking_uri import resolve_uri, without_secret
from tuner.tracking.database_file import cause_at

__all__ = ["Compared", "Settings", "compare_methods", "folder_of", "record"]


def _no_testing(stage: str, n: int) -> AbstractContextManager[Callable[[], None]]:
    return nullcontext(lambda: None)


@dataclass(frozen=True)
class Settings:
    """Where a comparison runs and writes. options: of its sweeps, by the path in a spec. on_notes: as in `Place`."""

    storage: Path = Path("./sweeps")
    reports: Path = Path("./reports")
    chosen_data_dir: Path | None = None
    tracking_uri: str | None = None
    experiment: str = "vae-tuner"
    offline: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    progress: ProgressFactory = silent
    testing: Testing = _no_testing
    measuring: Measuring = unseen
    on_notes: Callable[[Sequence[str]], None] = lambda notes: None


@dataclass(frozen=True)
class Compared:
    """What was found, its page, and its run in MLflow; none where that was left out."""

    comparison: Comparison
    page: Path
    run_id: str | None

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {**self.comparison.document(self.page), "run_id": self.run_id}


def folder_of(storage: str | Path) -> Path:
    """Where a comparison may keep its runs; raises UserError for object storage."""
    if is_remote(str(storage)):
        raise UserError(f"storage: {storage}: a comparison reads its models' files; name a folder that every node sees")
    return Path(storage)


def compare_methods(request: Request, settings: Settings) -> Compared:
    """Train what is left of a comparison, write its page, log both.

    Raises UserError for what cannot be compared, and StoppedError where a signal ended it, with the result of the
    sweep that it cut short, if any.
    """
    check_no_secrets({**request.base, **settings.options})
    root = data_dir(settings.chosen_data_dir)
    with stop_signals() as signals, signals.ending("the same call goes on where it was"):
        ready = prepared(request, _place(settings, root))
        report = _writable(settings.reports / request.name)
        return _compared(request, settings, root, ready, report, signals)


def _compared(
    request: Request, settings: Settings, root: Path, ready: Prepared, report: Path, signals: Signals
) -> Compared:
    from tuner.reports.comparison_page import write_comparison_page
    from tuner.running.comparisons import record

    folder = settings.storage / request.name
    with held_alone(folder):
        remembered(request, folder)
        found = run_comparison(ready, signals)
        examples = examples_of(found.trained["path"])
        found = replace(found, kl_by_latent=kl_by_latent(examples, root))
        if "geco" in examples:
            found = replace(found, trajectory=followed(examples["geco"], root, folder / "trajectory.json"))
        gallery = write_gallery(examples, root, report)
        page = write_comparison_page(found, report, command_of(request, _options(settings)), gallery)
        if settings.offline:
            return Compared(found, page, None)
        parts = [settings.storage / f"{request.name}.{stage}" for stage in STAGES]
        uri = resolve_uri(settings.tracking_uri, Path.cwd())
        begun = [part for part in parts if (part / JOURNAL).exists()]
        try:
            return Compared(found, page, record(found, page, begun, uri, settings.experiment))
        except UserError:
            raise
        except Exception as error:  # MLflow's own, of its HTTP client, of a store of files
            raise UserError(
                f"tracking {shown(uri)} refused the page {page}, which is whole: {cause_at(uri, error)}; the same "
                "command sends it again"
            ) from None


def _place(settings: Settings, root: Path) -> Place:
    tracking = {
        "tracking.uri": settings.tracking_uri,
        "tracking.experiment": settings.experiment,
        "tracking.offline": settings.offline,
    }
    options = {path: value for path, value in {**settings.options, **tracking}.items() if value is not None}
    told = settings.progress, settings.testing, settings.measuring, settings.on_notes
    return Place(settings.storage, root, options, *told)


def _writable(reports: Path) -> Path:
    """The folder of a report, made; raises UserError where nothing can be written in it."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=reports, prefix=".vae-tuner-"):
            return reports
    except OSError as error:
        raise UserError(
            f"reports: {reports} cannot be written: {error.strerror}; choose another with --reports"
        ) from None


def _options(settings: Settings) -> dict[str, Any]:
    """What is not as by default, by its option: the rest of the command. A tracking URI with a password is left out."""
    default = Settings()
    chosen = {
        "--concurrency": settings.options.get("resources.concurrency"),
        "--cpus-per-trial": settings.options.get("resources.cpus_per_trial"),
        "--gpus-per-trial": settings.options.get("resources.gpus_per_trial"),
        "--data-dir": settings.chosen_data_dir,
        "--experiment": None if settings.experiment == default.experiment else settings.experiment,
        "--tracking-uri": without_secret(settings.tracking_uri),
        "--offline": settings.offline or None,
        "--storage": None if settings.storage == default.storage else settings.storage,
        "--reports": None if settings.reports == default.reports else settings.reports,
    }
    return {option: value for option, value in chosen.items() if value is not None}


PARTS = "vae_tuner.sweeps"
VERDICT = "vae_tuner.verdict"


def record(comparison: Comparison, page: Path, sweeps: Sequence[Path], uri: str, experiment: str) -> str:
    """Log the page's folder as artifacts of a run of kind `comparison`, once for each of its sweeps; returns its id."""
    from tuner.tracking.mlflow_store import Tag, ended_anyway, ensure_experiment, find_runs, has_tags, open_client
    from tuner.tracking.run_files import RunFiles

    client = open_client(uri)
    experiment_id = ensure_experiment(client, experiment)
    ids = [fold(read_journal(folder / JOURNAL)).header["sweep_id"] for folder in sweeps]
    identity = {Tag.KIND: "comparison", Tag.SWEEP_ID: ids[0]}
    known = next(find_runs(client, experiment_id, has_tags(identity)), None)
    tags = {**identity, Tag.SWEEP: comparison.name, Tag.DATASET: comparison.dataset, PARTS: json.dumps(ids)}
    run = known or client.create_run(experiment_id, tags=tags, run_name=comparison.name)
    run_id = str(run.info.run_id)
    with ended_anyway(client, run_id):
        client.set_tag(run_id, VERDICT, comparison.verdict)
        RunFiles(client, run.info.artifact_uri).send_folder(page.parent)
        client.set_terminated(run_id, "FINISHED")
    return run_id
