"""A comparison from its request to its page and its run in MLflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainables.credentials import check_no_secrets, shown
from trainables.data.readers import data_dir
from trainables.errors import UserError
from trainables.folder import LocalFolder
from trainables.object_storage import is_remote
from tuner.cluster.signals import Signals, stop_signals
from tuner.comparison.answer import Comparison
from tuner.comparison.request import command_of, remembered
from tuner.comparison.stages import STAGES
from tuner.reports.gallery import examples_of, followed, kl_by_latent, write_gallery
from tuner.running.comparison_stages import ComparisonRun
from tuner.sweeps.atomic_files import held_alone
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.state import fold
from tuner.sweeps.tracking_uri import resolve_uri, without_secret
from tuner.tracking.database_file import cause_at


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


def compare_methods(run: ComparisonRun) -> Compared:
    """Train what is left of a comparison, write its page, log both.

    Raises UserError for what cannot be compared, and StoppedError where a signal ended it, with the result of the
    sweep that it cut short, if any.
    """
    check_no_secrets({**run.request.base, **run.resources})
    with stop_signals() as signals, signals.ending("the same call goes on where it was"):
        run.check()
        report = _writable(run.reports / run.request.name)
        with held_alone(run.folder):
            remembered(run.request, run.folder)
            return _compared(run, report, signals)


def _compared(run: ComparisonRun, report: Path, signals: Signals) -> Compared:
    from tuner.reports.comparison_page import write_comparison_page

    found = run.run(signals)
    examples = examples_of(found.trained["path"])
    found = replace(found, kl_by_latent=kl_by_latent(examples, run.data_dir))
    if "geco" in examples:
        trajectory = followed(examples["geco"], run.data_dir, run.folder / "trajectory.json")
        found = replace(found, trajectory=trajectory)
    gallery = write_gallery(examples, run.data_dir, report)
    page = write_comparison_page(found, report, repeating(run), gallery)
    return Compared(found, page, None if run.offline else recorded(run, found, page))


def recorded(run: ComparisonRun, found: Comparison, page: Path) -> str:
    """Log the page with its numbers; returns the id of the run."""
    uri = resolve_uri(run.tracking_uri, Path.cwd())
    parts = [run.storage / f"{run.request.name}.{stage}" for stage in STAGES]
    begun = [part for part in parts if (part / JOURNAL).exists()]
    try:
        return record(found, page, begun, uri, run.experiment)
    except UserError:
        raise
    except Exception as error:  # MLflow's own, of its HTTP client, of a store of files
        raise UserError(
            f"tracking {shown(uri)} refused the page {page}, which is whole: {cause_at(uri, error)}; the same "
            "command sends it again"
        ) from None


def _writable(reports: Path) -> Path:
    """The folder of a report, made; raises UserError where nothing can be written in it."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        LocalFolder(reports).try_writing()
    except OSError as error:
        raise UserError(
            f"reports: {reports} cannot be written: {error.strerror}; choose another with --reports"
        ) from None
    return reports


def repeating(run: ComparisonRun) -> str:
    """The command that repeats a comparison, with what is not as by default. A tracking URI with a password is left
    out."""
    default = ComparisonRun(run.request, data_dir(None))
    chosen = {
        "--concurrency": run.resources.get("resources.concurrency"),
        "--cpus-per-trial": run.resources.get("resources.cpus_per_trial"),
        "--gpus-per-trial": run.resources.get("resources.gpus_per_trial"),
        "--data-dir": None if run.data_dir == default.data_dir else run.data_dir,
        "--experiment": None if run.experiment == default.experiment else run.experiment,
        "--tracking-uri": without_secret(run.tracking_uri),
        "--offline": run.offline or None,
        "--storage": None if run.storage == default.storage else run.storage,
        "--reports": None if run.reports == default.reports else run.reports,
    }
    return command_of(run.request, {option: value for option, value in chosen.items() if value is not None})


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
