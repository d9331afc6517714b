"""The page of sweeps side by side: what each found, and in what they differ."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import ConfigError
from tuner.comparison.finished_sweeps import FinishedSweeps, read_finished_sweeps, stop_reasons
from tuner.comparison.statistics import Expected
from tuner.reports.csv_text import cells, columns_of, write_csv
from tuner.reports.figures.sweeps import FIGURES
from tuner.reports.page import INDEX, Page, Picture, Section, Table, pictures_of, write_page
from tuner.reports.wording import NO_BREAK, duration, minus, text_of, with_interval
from tuner.sweeps.metrics import METRICS
from tuner.sweeps.spec import NAME

LONGEST_NAME = 64

DESCRIPTION = (
    "This describes what these sweeps found and is not a test: they may differ in more than one thing and in luck, and "
    "a search that is repeated finds something else."
)
BESIDE = (
    "beside this page: each figure as PNG; answer.json, what is said here; trials.csv, a row for each trial; "
    "progress.csv, the best so far over epochs"
)


@dataclass(frozen=True)
class Shown:
    """Sweeps side by side, and their page."""

    beside: FinishedSweeps
    page: Path

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return self.beside.document(self.page)


def compare_finished_sweeps(
    names: Sequence[str], storage: str | Path, reports: Path, name: str | None = None, *, allow_changed: bool = False
) -> Shown:
    """Read finished sweeps and write their page, in a folder of reports of this name. Raises UserError for what cannot
    stand side by side."""
    name = name or "-beside-".join(names)[:LONGEST_NAME]
    if not NAME.fullmatch(name):
        raise ConfigError(f"name: {name!r} is not allowed; allowed: 1 to 64 letters, digits, '.', '_' or '-'")
    beside = read_finished_sweeps(storage, names, allow_changed=allow_changed)
    return Shown(beside, write_sweeps_page(beside, reports / name, storage))


def write_sweeps_page(beside: FinishedSweeps, folder: Path, storage: str | Path) -> Path:
    """index.html, figures as PNG, answer.json, trials.csv and progress.csv in a folder; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(FIGURES, folder, lambda figure: _behind(beside, figure), beside)
    _write_trials(beside, folder / "trials.csv")
    _write_progress(beside, folder / "progress.csv")
    allowed = ["--allow-changed"] if beside.changed else []
    command = ["vae-tuner", "compare", "--sweeps", ",".join(beside.sweeps), *allowed, "--storage", str(storage)]
    page = _page(beside, list(pictures.values()), shlex.join([*command, "--name", folder.name]))
    return write_page(page, beside.document(folder / INDEX), folder)


def lead(beside: FinishedSweeps) -> str:
    """What was found, and what it is not."""
    first, *others = beside.by_best
    values = {name: text_of(beside.best(name).ranked[beside.metric]) for name in beside.sweeps}
    reached = ", ".join(f"{name} {values[name]}" for name in others)
    return minus(
        f"On {beside.dataset} the best {beside.metric} of these sweeps is {values[first]}, by trial "
        f"{beside.best(first).id} ({beside.best(first).method}) of {first}, beside {reached}. {DESCRIPTION}"
    )


def headline(beside: FinishedSweeps) -> Table:
    """One row for each sweep."""
    rows = []
    for name, sweep in beside.sweeps.items():
        best = beside.best(name)
        ends = ", ".join(f"{count} {reason}" for reason, count in stop_reasons(sweep).items())
        rows.append((
            name,
            minus(text_of(best.ranked[beside.metric])),
            f"{best.id}, {best.method}",
            ends,
            str(sweep.epochs),
            duration(sweep.seconds).replace(" ", NO_BREAK),
        ))  # fmt: skip
    head = ("sweep", f"best {beside.metric}", "by trial", "how trials ended", "epochs in all", "wall-clock time")
    return Table("The sweeps side by side", head, rows)


def _page(beside: FinishedSweeps, pictures: Sequence[Picture], command: str) -> Page:
    shared = Section(
        "What they found",
        f"By {beside.metric}, which {METRICS[beside.metric].rewards}. On validation examples, each trial by "
        f"{beside.ranking.says}.",
        pictures,
    )
    apart = Section(
        "In what they differ",
        "Fields of the sweeps' specs that are not the same for all, digests of data and code, and versions of "
        "packages. What is not named here is equal, the data and their split among it.",
        tables=[_differences(beside)],
    )
    return Page(
        f"{', '.join(beside.sweeps)} side by side",
        lead(beside),
        headline(beside),
        [shared, apart],
        _how(beside),
        command,
        "Write it again",
    )


def _differences(beside: FinishedSweeps) -> Table:
    rows = [(path, *(values[name] for name in beside.sweeps)) for path, values in beside.differing.items()]
    return Table("What differs", ("field", *beside.sweeps), rows or [("nothing", *("–" for _ in beside.sweeps))])


def _how(beside: FinishedSweeps) -> list[tuple[str, str]]:
    data = next(iter(beside.sweeps.values())).trials
    common = next(iter(data.values())).config["data"]
    return [
        ("Data", ", ".join(f"{field} = {text_of(value)}" for field, value in common.items())),
        ("Sweeps", ", ".join(f"{name} ({sweep.header['sweep_id']})" for name, sweep in beside.sweeps.items())),
        ("A fair test", "vae-tuner compare trains methods anew under one protocol, and tests"),
        ("Files", BESIDE),
    ]


def _behind(beside: FinishedSweeps, name: str) -> Table | None:
    if name != "quality":
        return None
    expected = {sweep: found for sweep in beside.sweeps if (found := beside.expected(sweep))}
    longest = max(map(len, expected.values()))
    rows = [(str(n + 1), *(_said(found[n : n + 1]) for found in expected.values())) for n in range(longest)]
    return Table(f"Expected {beside.metric} of the best of n trials, with its 95 % band", ("n", *expected), rows)


def _said(expected: Sequence[Expected]) -> str:
    return with_interval(expected[0].mean, expected[0].lo, expected[0].hi) if expected else "–"


def _write_trials(beside: FinishedSweeps, file: Path) -> None:
    """Every trial of every sweep with its assignment, its end and its last metrics."""
    trials = [(name, trial) for name, sweep in beside.sweeps.items() for trial in sweep.trials.values()]
    assigned = columns_of(trial.assignment for _, trial in trials)
    metrics = columns_of(trial.ranked for _, trial in trials)
    rows = [
        [
            name,
            trial.id,
            trial.method,
            trial.stop_reason,
            trial.outcome,
            trial.epochs,
            *cells(trial.assignment, assigned),
            *cells(trial.ranked, metrics),
        ]
        for name, trial in trials
    ]
    write_csv(file, ["sweep", "trial", "method", "stop_reason", "outcome", "epochs", *assigned, *metrics], rows)


def _write_progress(beside: FinishedSweeps, file: Path) -> None:
    rows = [[name, *step] for name, steps in beside.progress.items() for step in steps]
    write_csv(file, ["sweep", "epochs in all", f"best {beside.metric}"], rows)
