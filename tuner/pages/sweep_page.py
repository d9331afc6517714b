"""A sweep's page: the best configuration, how trials learned, and which of what varied mattered."""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.space import Space
from trainables.errors import UserError
from trainables.paths import flatten
from trainables.trial_files import TrialFiles
from tuner.figures.search import FIGURES
from tuner.pages.markup import inline_png, inline_svg, save_png
from tuner.pages.page import Page, Picture, Table, rendered
from tuner.running.sweep_status import known_sweep, ranked_trials
from tuner.storage.sweep_objects import files_of
from tuner.storage.sweep_state import Sweep, Trial
from tuner.terminal.console import text_of

__all__ = ["write_sweep_page"]

SHOWN_METRICS = ("val/elbo_cal", "val/elbo", "val/nll", "val/mse", "val/kl", "val/active_units")
PICTURES = {
    "reconstructions.png": "Validation images above their reconstructions, of the best trial",
    "samples.png": "Samples from the prior, of the best trial",
}
SHOWN_TRIALS = 10


def write_sweep_page(storage: str | Path, name: str, folder: Path) -> Path:
    """index.html, figures as PNG, trials.csv and answer.json in a folder; returns the page's path.

    Raises UserError for a sweep that is not there, or of which no trial has a value yet.
    """
    sweep = known_sweep(storage, name)
    ranked = ranked_trials(sweep)
    if not ranked:
        raise UserError(f"name: no trial of sweep {name} has completed yet; see it with `vae-tuner status {name}`")
    folder.mkdir(parents=True, exist_ok=True)
    space = Space.parse(sweep.header["space"])
    pictures = _figures(sweep, space, folder) + _pictures(files_of(storage, name, ranked[0].id))
    _write_trials(sweep, folder / "trials.csv")
    (folder / "answer.json").write_text(json.dumps(_document(sweep, ranked), indent=1), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(rendered(_page(sweep, space, ranked, pictures)), encoding="utf-8")
    return page


def _figures(sweep: Sweep, space: Space, folder: Path) -> list[Picture]:
    found = []
    for name, (title, draw) in FIGURES.items():
        figure = draw(sweep, space)
        if figure is not None:
            save_png(figure, folder / f"{name}.png")
            found.append(Picture(name, title, inline_svg(figure, name, title)))
    return found


def _pictures(files: TrialFiles) -> list[Picture]:
    found, known = [], files.names()
    for file, title in PICTURES.items():
        if file in known:
            with files.reading(file) as path:
                found.append(Picture(path.stem, title, inline_png(path, title)))
    return found


def _page(sweep: Sweep, space: Space, ranked: Sequence[Trial], pictures: Sequence[Picture]) -> Page:
    header, again = sweep.header, f"{sweep.header['name'][:58]}-again"
    return Page(
        f"{header['name']}: {len(sweep.trials)} trials",
        _lead(sweep, ranked),
        _headline(sweep, ranked),
        pictures,
        _how(sweep),
        shlex.join(["vae-tuner", "sweep", f"{header['spec']['storage']}/{header['name']}/spec.yaml", "--name", again]),
        (_searched(space, ranked[0]),),
    )


def _lead(sweep: Sweep, ranked: Sequence[Trial]) -> str:
    best, metric = ranked[0], sweep.header["metric"]
    counts = Counter(trial.stop_reason or "running" for trial in sweep.trials.values())
    ends = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    outcome = f", its constraint {best.outcome}" if best.outcome and best.method == "geco" else ""
    return (
        f"The best of {len(sweep.trials)} trials ({ends}; {sweep.epochs} epochs in all) is {best.id}, {best.method}"
        f"{outcome}, with a {metric} of {text_of(best.last[metric])}."
    )


def _headline(sweep: Sweep, ranked: Sequence[Trial]) -> Table:
    metrics = [name for name in SHOWN_METRICS if name in ranked[0].last]
    rows = [
        (trial.id, trial.method, trial.outcome or "–", *(text_of(trial.last.get(name, "–")) for name in metrics))
        for trial in ranked[:SHOWN_TRIALS]
    ]
    return Table(f"The best trials by {sweep.header['metric']}", ("trial", "method", "outcome", *metrics), rows)


def _searched(space: Space, best: Trial) -> Table:
    rows = [
        (row.path, row.varies, row.condition, text_of(best.assignment.get(row.path, "–"))) for row in space.describe()
    ]
    return Table("What was searched, and what the best trial has", ("path", "varies", "where", "best"), rows)


def _how(sweep: Sweep) -> list[tuple[str, str]]:
    header, spec = sweep.header, sweep.header["spec"]
    rungs = ", ".join(map(str, header["rungs"])) or "–"
    fixed = ", ".join(f"{path} = {text_of(value)}" for path, value in flatten(spec["config"]).items())
    return [
        ("Fixed", f"{fixed}; all else at its default" if fixed else "the defaults"),
        ("Search", f"{spec['search']['sampler']}, seed {spec['search']['seed']}, {sweep.planned} trials"),
        (
            "Pruning",
            f"{header['scheduler']['kind']}, compared after epochs {rungs}",
        ),
        ("Epochs", f"{header['epochs']} of a trial that is not pruned"),
        ("Sweep", header["sweep_id"]),
        ("Versions", ", ".join(f"{package} {found}" for package, found in header["versions"].items())),
    ]


def _document(sweep: Sweep, ranked: Sequence[Trial]) -> dict[str, Any]:
    best = ranked[0]
    return {
        "name": sweep.header["name"],
        "sweep_id": sweep.header["sweep_id"],
        "metric": sweep.header["metric"],
        "best": {"trial": best.id, "method": best.method, "metrics": best.last, "config": best.config},
    }


def _write_trials(sweep: Sweep, path: Path) -> None:
    """Every trial with its assignment, its end and its last metrics."""
    trials = list(sweep.trials.values())
    assigned = sorted({name for trial in trials for name in trial.assignment})
    metrics = sorted({name for trial in trials for name in trial.last})
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["trial", "method", "stop_reason", "outcome", "epochs", *assigned, *metrics])
        for trial in trials:
            ends = [trial.id, trial.method, trial.stop_reason or "", trial.outcome or "", trial.epochs]
            values = (
                [trial.assignment.get(name, "") for name in assigned],
                [trial.last.get(name, "") for name in metrics],
            )
            out.writerow([*ends, *values[0], *values[1]])
