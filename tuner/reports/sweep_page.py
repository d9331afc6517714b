"""A sweep's page: the best configuration, how trials learned, and which of what varied mattered."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.space import Space
from trainables.config.paths import flatten
from trainables.errors import UserError
from trainables.files.trial_files import trial_files
from trainables.folder import Folder
from trainables.outcome import WORSE_THAN_MEAN
from tuner.reports.csv_text import cells, columns_of, write_csv
from tuner.reports.figures.style import picture_rows_figure
from tuner.reports.figures.sweep import FIGURES, importances, space_of
from tuner.reports.page import Page, Picture, Section, Table, picture, pictures_of, write_page
from tuner.reports.wording import duration, minus, percent, text_of, versions_line
from tuner.search.past_best import impatience_note, past_best_note
from tuner.sweeps.folder import trials_of
from tuner.sweeps.metrics import METRICS
from tuner.sweeps.spec import unit_of_trials
from tuner.sweeps.state import Sweep, Trial
from tuner.sweeps.status import known_sweep, ranked_trials, unranked, why_none

SHOWN_METRICS = ("val/elbo_cal", "val/elbo", "val/nll", "val/mse", "val/kl", "val/active_units")
PICTURES = {
    "reconstructions": (
        "Validation images and their reconstructions",
        "By the best trial: a row of data above each row of its reconstructions. What it blurs or gets wrong, its code "
        "has not kept.",
    ),
    "samples": (
        "Samples from the prior",
        "By the best trial: decoded draws of p(z). Where its codes leave holes in the prior, they look like nothing in "
        "the data.",
    ),
}
BESIDE = "beside this page: each figure as PNG; trials.csv, a row for each trial; curves.csv, a row for each epoch"
SHOWN_TRIALS = 10


def write_sweep_page(storage: str | Path, name: str, folder: Path) -> Path:
    """index.html, figures as PNG, trials.csv, curves.csv and answer.json in a folder; returns the page's path.

    Raises UserError for a sweep that is not there, or of which no trial has a value yet.
    """
    sweep = known_sweep(storage, name)
    ranked = ranked_trials(sweep)
    if not ranked:
        raise UserError(f"name: no trial of sweep {name} {why_none(sweep)}; see it with `vae-tuner status {name}`")
    folder.mkdir(parents=True, exist_ok=True)
    space = space_of(sweep)
    figures = pictures_of(FIGURES, folder, lambda figure: _behind(sweep, space, figure), sweep, space)
    pictures = _pictures(trial_files(trials_of(storage, name), ranked[0].id), folder)
    _write_trials(sweep, folder / "trials.csv")
    _write_curves(sweep, folder / "curves.csv")
    return write_page(_page(sweep, space, ranked, figures, pictures), _document(sweep, ranked), folder)


def _behind(sweep: Sweep, space: Space, name: str) -> Table | None:
    if name != "importance":
        return None
    rows = [(path, percent(share)) for path, share in importances(sweep, space).items()]
    return Table("Shares of what separates the best trials from the rest", ("dimension", "share"), rows)


def _pictures(files: Folder, folder: Path) -> list[Picture]:
    found, known = [], files.names()
    for name, (title, caption) in PICTURES.items():
        if f"{name}.png" in known:
            with files.reading(f"{name}.png") as path:
                found.append(picture(picture_rows_figure(path), name, title, caption, folder))
    return found


def _page(
    sweep: Sweep, space: Space, ranked: Sequence[Trial], figures: dict[str, Picture], pictures: Sequence[Picture]
) -> Page:
    header, again = sweep.header, f"{sweep.header['name'][:58]}-again"
    return Page(
        f"{header['name']}: {_counted(sweep)}",
        minus(lead(sweep, ranked)),
        _headline(sweep, ranked),
        _sections(sweep, space, ranked, figures, pictures),
        _how(sweep),
        shlex.join(["vae-tuner", "sweep", f"{header['spec']['storage']}/{header['name']}/spec.yaml", "--name", again]),
    )


def _sections(
    sweep: Sweep, space: Space, ranked: Sequence[Trial], figures: dict[str, Picture], pictures: Sequence[Picture]
) -> list[Section]:
    def shown(*names: str) -> list[Picture]:
        return [figures[name] for name in names if name in figures]

    metric = sweep.header["metric"]
    found = [
        Section(
            "How the trials went", f"{_rewarded(metric)} By method where several were tried.", shown("curves", "plane")
        ),
        Section(
            "What mattered",
            "What the search varied, where the best trial lies, and how the others did around it.",
            shown("importance", "parallel", "slices"),
            [_searched(space, ranked[0])],
        ),
        Section("The best model", f"Trial {ranked[0].id}, after epoch {ranked[0].ranked_epoch}.", pictures),
    ]
    return [section for section in found if section.pictures or section.tables]


def _rewarded(metric: str) -> str:
    return f"Trials were ranked by {metric}, which {METRICS[metric].rewards}."


def lead(sweep: Sweep, ranked: Sequence[Trial]) -> str:
    """The answer in a sentence."""
    best, metric = ranked[0], sweep.header["metric"]
    counts = Counter(trial.stop_reason or "running" for trial in sweep.trials.values())
    ends = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return (
        f"The best of {_counted(sweep)} ({ends}; {sweep.epochs} epochs in all) is {best.id}, {best.method}"
        f"{_ended(best)}, with a {metric} of {_value(best, metric)}."
    )


def _ended(best: Trial) -> str:
    """How the best trial's constraint stood, and of any method whether it is worse than nothing learned."""
    if best.outcome == WORSE_THAN_MEAN:
        return ", whose error is above the mean image's"
    return f", its constraint {best.outcome}" if best.outcome and best.method == "geco" else ""


def _counted(sweep: Sweep) -> str:
    n_trials = f"{len(sweep.trials)} trials"
    return n_trials if sweep.repeats == 1 else f"{len(sweep.configurations)} configurations in {n_trials}"


def _value(trial: Trial, metric: str) -> str:
    """A trial's metric in words; of several seeds their mean with its standard error."""
    value = text_of(trial.ranked[metric])
    return f"{value} ± {trial.stderr[metric]:.2g} over {len(trial.seeds)} seeds" if trial.stderr else value


def _headline(sweep: Sweep, ranked: Sequence[Trial]) -> Table:
    metrics = [name for name in SHOWN_METRICS if name in ranked[0].ranked]
    rows = [
        (
            trial.id,
            trial.method,
            trial.outcome or "–",
            *(minus(text_of(trial.ranked.get(name, "–"))) for name in metrics),
        )
        for trial in ranked[:SHOWN_TRIALS]
    ]
    title = f"The best of the completed trials by {sweep.header['metric']}, each by {sweep.ranking.says}"
    head = ("trial", "method", "outcome", *(f"{name} {_unit(name)}".strip() for name in metrics))
    return Table(title, head, rows)


def _unit(metric: str) -> str:
    return {"val/mse": "", "val/active_units": ""}.get(metric, "[nats]")


def _searched(space: Space, best: Trial) -> Table:
    rows = [
        (row.path, row.varies, row.condition, text_of(best.assignment.get(row.path, "–"))) for row in space.describe()
    ]
    return Table("What was searched, and what the best trial has", ("dimension", "drawn from", "where", "best"), rows)


def _how(sweep: Sweep) -> list[tuple[str, str]]:
    header, spec = sweep.header, sweep.header["spec"]
    rungs = ", ".join(map(str, header["rungs"]))
    fixed = ", ".join(f"{path} = {text_of(value)}" for path, value in flatten(spec["config"]).items())
    return [
        ("Fixed", f"{fixed}; all else at its default" if fixed else "the defaults"),
        ("Search", _search(sweep)),
        (
            "Pruning",
            f"{header['scheduler']['kind']}, rungs after epochs {rungs}" if header["rungs"] else "none",
        ),
        ("Epochs", f"{header['epochs']} of a trial that is not pruned"),
        ("Sweep", header["sweep_id"]),
        ("Spent", f"{sweep.epochs} epochs in {duration(sweep.seconds)} of wall-clock time"),
        *(("Past their best", note) for note in filter(None, [past_best_note(ranked_trials(sweep)[:SHOWN_TRIALS])])),
        *(("Patience", note) for note in filter(None, [impatience_note(sweep.trials.values())])),
        *(("Not ranked", trials) for trials in unranked(sweep)),
        ("Trained with", versions_line(header["versions"])),
        ("Files", BESIDE),
    ]


def _search(sweep: Sweep) -> str:
    search = sweep.header["spec"]["search"]
    seeds = f" of {sweep.repeats} seeds" if sweep.repeats > 1 else ""
    planned = f"{sweep.planned} {unit_of_trials(sweep.repeats)}{seeds}"
    if search.get("points"):
        return f"none: {planned} that were given one by one"
    return f"{search['sampler']}, seed {search['seed']}, {planned}, the default configuration first"


def _document(sweep: Sweep, ranked: Sequence[Trial]) -> dict[str, Any]:
    best = ranked[0]
    return {
        "name": sweep.header["name"],
        "sweep_id": sweep.header["sweep_id"],
        "metric": sweep.header["metric"],
        "best": {
            "trial": best.id,
            "method": best.method,
            "metrics": best.ranked,
            "stderr": best.stderr,
            "seeds": best.seeds,
            "config": best.config,
        },
    }


def _write_trials(sweep: Sweep, file: Path) -> None:
    """Every trial with its assignment, its end and its last metrics."""
    trials = list(sweep.trials.values())
    assigned, metrics = columns_of(trial.assignment for trial in trials), columns_of(trial.ranked for trial in trials)
    rows = [
        [
            trial.id,
            trial.method,
            trial.stop_reason,
            trial.outcome,
            *((trial.error or "").strip().splitlines()[-1:] or [""]),
            trial.epochs,
            *cells(trial.assignment, assigned),
            *cells(trial.ranked, metrics),
        ]
        for trial in trials
    ]
    write_csv(file, ["trial", "method", "stop_reason", "outcome", "error", "epochs", *assigned, *metrics], rows)


def _write_curves(sweep: Sweep, file: Path) -> None:
    """Every metric of every trial after each epoch."""
    reports = [(trial, report) for trial in sweep.trials.values() for report in trial.reports]
    metrics = [name for name in columns_of(report.metrics for _, report in reports) if name != "epoch"]
    rows = [[trial.id, trial.method, report.epoch, *cells(report.metrics, metrics)] for trial, report in reports]
    write_csv(file, ["trial", "method", "epoch", *metrics], rows)
