"""A comparison's page: the answer, the table under it, the evidence, and how it was done."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

from tuner.comparison.answer import Comparison
from tuner.comparison.design import Trained
from tuner.comparison.intervals import mean_interval
from tuner.comparison.methods import free_paths
from tuner.comparison.path import SHUFFLES
from tuner.figures.comparison import FIGURES
from tuner.figures.comparison.series import by_method
from tuner.pages.comparison_tables import further_tables
from tuner.pages.markup import inline_png, inline_svg, save_png
from tuner.pages.page import Page, Picture, Table, rendered

__all__ = ["headline", "write_comparison_page"]

SECONDARY = {
    "test/agg_kl_gauss": "agg_kl_gauss",
    "test/agg_kl_dims": "agg_kl_dims",
    "test/agg_c2st": "agg_c2st",
    "test/active_units": "active units",
    "test/marginal_kl": "marginal KL",
}
PACKAGES = ("vae-tuner", "torch", "ray", "optuna", "mlflow")


GALLERY = {
    "reconstructions": "Test images (first row) and their reconstructions",
    "samples": "Samples from the prior",
    "traversals": "Each method's two latents of the largest KL, moved from −2.5 to 2.5; at the right the code itself",
}


def write_comparison_page(comparison: Comparison, folder: Path, command: str, gallery: Mapping[str, Path]) -> Path:
    """index.html, figures as PNG, answer.json and runs.csv in a folder; returns the page's path.

    gallery: pictures that lie in the folder, by what they show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, (title, draw) in FIGURES.items():
        figure = draw(comparison)
        if figure is not None:
            save_png(figure, folder / f"{name}.png")
            pictures.append(Picture(name, title, inline_svg(figure, name, title), _behind(comparison, name)))
    methods = ", ".join(comparison.kl_by_latent)
    for what, file in gallery.items():
        title = f"{GALLERY[what]}; from above: {methods}"
        pictures.append(Picture(what, title, inline_png(file, title)))
    page = folder / "index.html"
    answer = json.dumps(comparison.document(page), indent=1)
    (folder / "answer.json").write_text(answer, encoding="utf-8")
    _write_runs(comparison, folder / "runs.csv")
    page.write_text(rendered(_page(comparison, pictures, command)), encoding="utf-8")
    return page


def _page(comparison: Comparison, pictures: Sequence[Picture], command: str) -> Page:
    exploratory = " (exploratory)" if comparison.exploratory else ""
    return Page(
        f"GECO against hand-annealing: {comparison.dataset}, {comparison.model}{exploratory}",
        comparison.verdict[0].upper() + comparison.verdict[1:],
        headline(comparison),
        pictures,
        _how(comparison),
        command,
        (_levels(comparison), _ends(comparison), *_secondary(comparison), *further_tables(comparison)),
    )


def headline(comparison: Comparison) -> Table:
    """One row for each method: Q1 beside Q2 and Q3."""
    results = {result.rival: result for result in comparison.path.rivals}
    rows = []
    for answer in comparison.quality:
        result = results.get(answer.method)
        path = f"{result.mean:+.2f} ({result.lo:+.2f} to {result.hi:+.2f})" if result else "–"
        at = answer.expected[min(8, len(answer.expected)) - 1]
        hits, n = comparison.target.hits.get(answer.method, (0, 0))
        rows.append((
            answer.method,
            ", ".join(free_paths(answer.method)),
            result.verdict if result else ("leads" if answer.method == "geco" else "–"),
            path,
            f"{result.p:.3f}" if result else "–",
            f"{at.mean:.2f} ({at.lo:.2f} to {at.hi:.2f})",
            f"{hits} of {n}",
        ))  # fmt: skip
    metric = comparison.metric.replace("val/", "test/")
    return Table(
        "The answer, method by method",
        (
            "method",
            "free beside the learning rate",
            "Q1: GECO is",
            "J of GECO − J of it (95 %)",
            "p (Holm)",
            f"Q2: {metric}, best of 8",
            "Q3: trials that hit κ*",
        ),
        rows,
    )


def _levels(comparison: Comparison) -> Table:
    rows = [
        (f"{e.kappa:.4g}", f"{e.weight:.4g}" if e.weight else "–", f"{e.rate:.3g}" if e.rate else "–", e.outcome)
        for e in comparison.levels
    ]
    return Table("Q1's levels; those that are not ok were dropped", ("κ", "λ̂", "GECO's learning rate", "outcome"), rows)


def _ends(comparison: Comparison) -> Table:
    """How the pools' trials ended, and how far they spread."""
    names = list(dict.fromkeys(name for answer in comparison.quality for name in answer.shares))
    rows = [
        (
            a.method,
            str(a.n),
            *(f"{a.shares.get(name, 0):.0%}" for name in names),
            " / ".join(f"{q:.2f}" for q in a.spread),
        )
        for a in comparison.quality
    ]
    head = ("method", "trials", *names, "quartiles of all test values")
    return Table("Q2's pools: how trials ended, and how far they spread", head, rows)


def _secondary(comparison: Comparison) -> list[Table]:
    """Intervals without stars: what else the path's runs say of the latent space."""
    runs = by_method(comparison.trained["path"])
    if not runs:
        return []
    rows = [(method, *(_over_seeds(trained, name) for name in SECONDARY)) for method, trained in runs.items()]
    caption = "Secondary, over the path's levels and seeds: mean and 95 % interval, no tests"
    return [Table(caption, ("method", *SECONDARY.values()), rows)]


def _over_seeds(trained: Sequence[Trained], metric: str) -> str:
    """Of seeds' means over levels; a marginal KL only where no estimate was saturated."""
    if metric == "test/marginal_kl" and any(each.test["test/mi_saturated"] for each in trained):
        return "saturated"
    seeds: dict[int, list[float]] = {}
    for each in trained:
        seeds.setdefault(each.run.seed, []).append(each.test[metric])
    found = mean_interval([fmean(values) for values in seeds.values()])
    return f"{found.mean:.3g} ({found.lo:.3g} to {found.hi:.3g})"


def _behind(comparison: Comparison, name: str) -> Table | None:
    """The numbers of a figure."""
    if name == "quality":
        ns = [found.n for found in comparison.quality[0].expected]
        rows = [(a.method, *(f"{found.mean:.3f}" for found in a.expected)) for a in comparison.quality]
        return Table("Expected test value of the best of n", ("method", *map(str, ns)), rows)
    if name == "target":
        chances = comparison.target.chance
        ns = list(range(1, 1 + max(map(len, chances.values()))))
        shown = [(method, *(f"{value:.2f}" for value in values)) for method, values in chances.items()]
        return Table("Chance of a hit among n trials", ("method", *map(str, ns)), shown)
    return None


def _how(comparison: Comparison) -> list[tuple[str, str]]:
    design = comparison.design
    counts = ", ".join(f"{stage} {len(trained)}" for stage, trained in comparison.trained.items())
    null = comparison.path.null
    shuffled = (
        "–" if null is None else f"{null:.1%} of {SHUFFLES} shufflings of the labels were told apart (5 % expected)"
    )
    found = [
        ("Fixed for all", _fixed(design.base)),
        ("Learning rates", ", ".join(f"{rate:.3g}" for rate in design.rates) + ", chosen on two pilot seeds"),
        ("Q1", f"{design.seeds} fresh seeds a level, J = KL + λ̂·distortion on the test set over 16 draws of z"),
        ("Q2", f"{design.pool} random, unpruned trials a method, selected by {comparison.metric}"),
        ("Q3", "within 2 % of κ* and .5 nat of the best known KL; hypergeometric from the pools"),
        ("Runs", counts),
        ("Null check", shuffled),
        ("Versions", ", ".join(f"{package} {version(package)}" for package in PACKAGES)),
    ]
    left_out = comparison.path.left_out
    return [*found, ("Left out of Q1", "; ".join(left_out))] if left_out else found


def _fixed(base: Mapping[str, object]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in base.items()) + "; all else at its default"


def _write_runs(comparison: Comparison, path: Path) -> None:
    """Every run with its assignment, its end and what the test set says of it."""
    runs = [each for trained in comparison.trained.values() for each in trained]
    paths = sorted({name for each in runs for name in each.run.full})
    metrics = sorted({name for each in runs for name in each.test})
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["stage", "method", *paths, "stop_reason", "outcome", "lambda", *metrics])
        for each in runs:
            assigned = [each.run.full.get(name, "") for name in paths]
            ends = [each.stop_reason, each.outcome or "", each.weight or ""]
            out.writerow([each.run.stage, each.run.method, *assigned, *ends, *(each.test.get(n, "") for n in metrics)])
