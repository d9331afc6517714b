"""A sweep, or a comparison, as one file for a colleague: text, pictures and a checkpoint that cannot execute code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from trainables.config.models import is_user_kind
from trainables.config.paths import written
from trainables.errors import UserError
from trainables.files.trial_files import BEST_NAME, FILE_NAME, RESULT_FILES, trial_files
from trainables.object_storage import folder_at, is_remote
from trainables.source import code_digest, source_files
from tuner.cluster.shipment import code_of
from tuner.comparison.stages import REQUEST_FILE, STAGES
from tuner.reports.csv_text import cells, columns_of, csv_text
from tuner.sweeps.atomic_files import new_file
from tuner.sweeps.folder import TRIALS, trials_of
from tuner.sweeps.journal import JOURNAL, bytes_of
from tuner.sweeps.spec import as_yaml
from tuner.sweeps.state import Sweep, Trial
from tuner.sweeps.status import known_sweep, ranked_trials
from tuner.sweeps.storage import open_storage
from tuner.tracking.origin import Origin
from tuner.tracking.ranked_epoch import RankedEpoch

CONFIG = "config.yaml"
PAGE_FILES = (".html", ".png", ".json", ".csv")
CODE = "code/"
NOT_HERE = "it does not lie in the folder from which this was packed"
NOT_THE_SAME = "it is not what the sweep ran any more"
SWEEP = {
    "report/": "open index.html in a browser, offline; the figures as PNG, the numbers as JSON and CSV",
    "best/": "the best trial: checkpoint.safetensors of its last epoch, best.safetensors where its best counts, "
    "config.yaml and pictures",
    f"{TRIALS}/": "of each trial config.yaml, and curves.csv with a row for each epoch",
    CODE: "of a model of your own; run the commands below in it, or with it on your path",
    "spec.yaml": "the sweep as it was asked for; search again with `vae-tuner sweep spec.yaml --name NEW`",
    JOURNAL: "all that happened, a line for each event",
}
USE = """
The best trial trained again, to the same numbers, where its data are:

    vae-tuner train best/config.yaml

The model as it is, in Python:

    import tuner
    model = tuner.load("best/{checkpoint}")
    images = model.sample(16)

The data are not in this file.
"""
COMPARISON = {
    "report/": "open index.html in a browser, offline; the figures as PNG, answer.json, runs.csv with a row a run",
    REQUEST_FILE: "what was asked for",
    "journals/": "all that happened in each stage, a line for each event",
}


@dataclass(frozen=True)
class Exported:
    """What was packed. best: the trial whose checkpoint is in it, None where there is none, as in a comparison."""

    name: str
    file: Path
    n_files: int
    best: str | None

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**vars(self), "file": str(self.file)}


def export(storage: str | Path, name: str, file: Path, reports: Path = Path("./reports")) -> Exported:
    """Write a new zip file with all that a sweep has found so far; of a comparison its answer, page and journals.

    reports: where a comparison's page is, in its name. The file appears whole or not at all, and no link is followed.
    Raises UserError for a name that is not there, and for a file that is.
    """
    with new_file(file, ".zip") as part, ZipFile(part, "x", ZIP_DEFLATED) as zipped:
        best = None
        if _is_comparison(storage, name):
            _pack_comparison(zipped, Path(storage), name, reports)
        else:
            best = _pack_sweep(zipped, storage, name)
        n_files = len(zipped.namelist())
    return Exported(name, file, n_files, best)


# --- a sweep ----------------------------------------------------------------------------------------------------------


def _pack_sweep(zipped: ZipFile, storage: str | Path, name: str) -> str | None:
    """Returns the trial whose checkpoint is in it."""
    from tuner.reports.sweep_page import write_sweep_page

    sweep = known_sweep(storage, name)
    ranked = ranked_trials(sweep)
    zipped.writestr(f"{name}/spec.yaml", as_yaml(sweep.header["spec"]))
    zipped.writestr(f"{name}/{JOURNAL}", bytes_of(open_storage(storage).lines(name)))
    for trial in sweep.trials.values():
        zipped.writestr(f"{name}/{TRIALS}/{trial.id}/{CONFIG}", _config(sweep, trial))
        zipped.writestr(f"{name}/{TRIALS}/{trial.id}/curves.csv", _curves(trial))
    about_code = _pack_code(zipped, sweep, Path.cwd())
    checkpoint = _pack_best(zipped, storage, sweep, ranked[0]) if ranked else None
    if ranked:
        with TemporaryDirectory(prefix="vae-tuner-") as scratch:
            write_sweep_page(storage, name, Path(scratch))
            _pack_page(zipped, name, Path(scratch))
    use = USE.format(checkpoint=checkpoint) if checkpoint else ""
    zipped.writestr(f"{name}/README.txt", _readme(name, SWEEP, zipped) + use + about_code)
    return ranked[0].id if checkpoint else None


def _pack_code(zipped: ZipFile, sweep: Sweep, here: Path) -> str:
    """The code of each of the user's own models that lies `here` as it was; returns what to say of the others."""
    kinds = sorted({kind for trial in sweep.trials.values() if is_user_kind(kind := trial.config["model"]["kind"])})
    digests = {kind: code_digest(_module_of(kind), here) for kind in kinds}
    missing = [kind for kind in kinds if digests[kind] is None]
    changed = [kind for kind in kinds if sweep.identity.code.get(kind, digests[kind]) != digests[kind]]
    changed = [kind for kind in changed if kind not in missing]
    same = [kind for kind in kinds if kind not in (*missing, *changed)]
    left_out = _sources(changed, here) - _sources(same, here)  # of a package that is packed for another model
    for name, file in code_of(same, here).items():
        if name not in left_out:
            zipped.write(file, f"{sweep.header['name']}/{CODE}{name}")
    return _without_code(missing, NOT_HERE) + _without_code(changed, NOT_THE_SAME)


def _module_of(kind: str) -> str:
    return kind.partition(":")[0]


def _sources(kinds: Sequence[str], here: Path) -> set[str]:
    return {name for kind in kinds for name in source_files(_module_of(kind), here)}


def _without_code(kinds: Sequence[str], why: str) -> str:
    return f"\nThe code of {', '.join(kinds)} is not in this file: {why}.\n" if kinds else ""


def _pack_best(zipped: ZipFile, storage: str | Path, sweep: Sweep, best: Trial) -> str | None:
    """A trial's results; the name of the checkpoint that counts, None where there is none."""
    name = sweep.header["name"]
    folder = folder_at(storage) / name
    if any(place.is_link() for place in (folder, folder / TRIALS, folder / TRIALS / best.id)):
        return None
    files = trial_files(trials_of(storage, name), best.id)
    known = [file for file in RESULT_FILES if file in files.names()]
    for file in known:
        if file == CONFIG:
            zipped.writestr(f"{name}/best/{file}", _config(sweep, best))
            continue
        with files.reading(file) as path:
            zipped.write(path, f"{name}/best/{file}")
    return next((file for file in (BEST_NAME, FILE_NAME) if file in known), None)


def _config(sweep: Sweep, trial: Trial) -> str:
    """A trial's configuration, which of its epochs counts, and where it comes from."""
    origin = Origin(sweep.header["name"], sweep.header["sweep_id"], trial.id, identity=trial.identity)
    ranked = RankedEpoch(trial.ranking.kind, trial.ranking.metric, trial.ranked_epoch, trial.config["epochs"])
    return as_yaml({**written(trial.config), **(ranked.section() if trial.reports else {}), **origin.section()})


def _curves(trial: Trial) -> str:
    """A row for each epoch."""
    names = [name for name in columns_of(report.metrics for report in trial.reports) if name != "epoch"]
    return csv_text(["epoch", *names], ([report.epoch, *cells(report.metrics, names)] for report in trial.reports))


# --- a comparison -----------------------------------------------------------------------------------------------------


def _is_comparison(storage: str | Path, name: str) -> bool:
    return (
        not is_remote(str(storage))
        and Path(name).name == name
        and not (Path(storage) / name).is_symlink()
        and (Path(storage) / name / REQUEST_FILE).is_file()
    )


def _pack_comparison(zipped: ZipFile, storage: Path, name: str, reports: Path) -> None:
    page = reports / name
    if not (page / "index.html").is_file():
        raise UserError(f"name: comparison {name} has no page in {page} yet; repeat its command, or name --reports")
    zipped.write(storage / name / REQUEST_FILE, f"{name}/{REQUEST_FILE}")
    opened = open_storage(storage)
    for stage in STAGES:
        if f"{name}.{stage}" in opened.names():
            zipped.writestr(f"{name}/journals/{stage}.jsonl", bytes_of(opened.lines(f"{name}.{stage}")))
    _pack_page(zipped, name, page)
    zipped.writestr(f"{name}/README.txt", _readme(name, COMPARISON, zipped))


def _pack_page(zipped: ZipFile, name: str, folder: Path) -> None:
    for path in _plain_files(folder):
        zipped.write(path, f"{name}/report/{path.name}")


def _plain_files(folder: Path) -> Iterator[Path]:
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink())
    return (path for path in files if path.suffix in PAGE_FILES)


# --- what the reader is told ------------------------------------------------------------------------------------------


def _readme(name: str, parts: Mapping[str, str], zipped: ZipFile) -> str:
    """What lies where, of what is there."""
    packed = {path.removeprefix(f"{name}/").partition("/")[0] for path in zipped.namelist()}
    known = {part: text for part, text in parts.items() if part.partition("/")[0] in packed}
    lines = [f"  {part:<16}{text}" for part, text in known.items()]
    return "\n".join([f"{name}, as vae-tuner {version('vae-tuner')} packed it.", "", *lines, ""])
