"""A comparison's page: the answer, the table under it, the evidence, and how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from trainables.grouping import grouped
from tuner.comparison.answer import RANKED, Comparison
from tuner.comparison.design import PILOT_SEEDS, Trained
from tuner.comparison.final_loss import ALPHA, MARGIN, SHUFFLES
from tuner.comparison.hit_rate import KAPPA_TOLERANCE, KL_TOLERANCE
from tuner.comparison.methods import LR, free_paths
from tuner.comparison.statistics import fewest_seeds, mean_interval
from tuner.reports.comparison_numbers import (
    NUMBERS,
    levels_table,
    nll_table,
    placed_table,
    table_behind,
    transfer_table,
)
from tuner.reports.csv_text import cells, columns_of, write_csv
from tuner.reports.figures.comparison import FIGURES
from tuner.reports.figures.method_looks import by_method
from tuner.reports.figures.style import picture_rows_figure
from tuner.reports.page import INDEX, Page, Picture, Section, Table, picture, pictures_of, write_page
from tuner.reports.wording import NO_BREAK, commit, duration, minus, percent, versions_line, with_interval
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.metrics import on_test_data

SECONDARY = {
    "test/agg_kl_gauss": "agg_kl_gauss",
    "test/agg_kl_dims": "agg_kl_dims",
    "test/agg_c2st": "agg_c2st",
    "test/active_units": "active units",
    "test/marginal_kl": "marginal KL",
}
GALLERY = {
    "reconstructions": (
        "Test images and their reconstructions",
        "The first row is the data. What a method blurs or gets wrong, its code has not kept.",
    ),
    "samples": (
        "Samples from the prior",
        "Decoded draws of p(z): where the codes leave holes in the prior, samples look like nothing in the data.",
    ),
    "traversals": (
        "Walks along single latents",
        "Each method's two latents of the largest KL, moved from −2.5 to 2.5 around the code of the first test image; "
        "the last column is that code itself.",
    ),
}
STAGES = {
    "pilot": "GECO's pilots",
    "rivals": "the rivals' pilots",
    "path": "Q1",
    "pool": "Q2 and its rivals' part of Q3",
    "target": "GECO's part of Q3",
    "plain": "the plain ELBO",
}
BESIDE = (
    "beside this page: each figure as PNG and its numbers as CSV of the same name; answer.json, the answer; runs.csv, "
    "a row for each run"
)


def write_comparison_page(comparison: Comparison, folder: Path, command: str, gallery: Mapping[str, Path]) -> Path:
    """index.html, each figure as PNG with its numbers as CSV, answer.json and runs.csv in a folder; returns the page's
    path.

    gallery: pictures that lie in the folder, by what they show; they get their rows named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = pictures_of(FIGURES, folder, lambda figure: table_behind(comparison, figure), comparison)
    for name in figures:
        write_csv(folder / f"{name}.csv", *NUMBERS[name](comparison))
    pictures = {**figures, **_gallery(comparison, folder, gallery)}
    _write_runs(comparison, folder / "runs.csv")
    return write_page(_page(comparison, pictures, command), comparison.document(folder / INDEX), folder)


def _gallery(comparison: Comparison, folder: Path, gallery: Mapping[str, Path]) -> dict[str, Picture]:
    from tuner.reports.gallery import SPAN, STEPS

    methods = list(comparison.kl_by_latent)
    walk = [minus(f"{SPAN * (2 * step / (STEPS - 1) - 1):.1f}") for step in range(STEPS)] + ["code"]
    rows = {"reconstructions": ["data", *methods], "traversals": [method for each in methods for method in (each, "")]}
    found = {}
    for name, file in gallery.items():
        title, caption = GALLERY[name]
        figure = picture_rows_figure(file, rows.get(name, methods), walk if name == "traversals" else ())
        found[name] = picture(figure, name, title, caption, folder)
    return found


def _page(comparison: Comparison, pictures: Mapping[str, Picture], command: str) -> Page:
    exploratory = " (exploratory)" if comparison.exploratory else ""
    return Page(
        f"GECO against hand-annealing: {comparison.dataset}, {comparison.model}{exploratory}",
        minus(comparison.verdict[0].upper() + comparison.verdict[1:]),
        headline(comparison),
        [section for section in _sections(comparison, pictures) if section.pictures or section.tables],
        _how(comparison),
        command,
    )


def _sections(comparison: Comparison, pictures: Mapping[str, Picture]) -> list[Section]:
    def shown(*names: str) -> list[Picture]:
        return [pictures[name] for name in names if name in pictures]

    return [
        Section(
            "Q1: the path",
            _path_text(comparison),
            shown("path", "plane"),
            [_levels(comparison), *levels_table(comparison), *placed_table(comparison)],
        ),
        Section("Q2: quality for n trials", _quality_text(comparison), shown("quality"), [_ends(comparison)]),
        Section("Q3: a target, and no sweep", _target_text(comparison), shown("target")),
        Section(
            "How they trained",
            "One run of each method at the middle level that was kept, all with the same seed: examples, not evidence.",
            shown("trajectory", "schedules", "training"),
        ),
        Section(
            "What was learned",
            "The same runs' models on test images, and more about the codes of Q1's runs. This describes; nothing here "
            "was tested.",
            shown("latents", *GALLERY),
            [*_secondary(comparison), *nll_table(comparison)],
        ),
        Section(
            "Transfer",
            "Need dials be found anew for other data? The best trial of one data set's pool was trained on the other's "
            "fresh seeds, beside the best of its own pool. Nothing here was tested.",
            [],
            transfer_table(comparison),
        ),
    ]


def _path_text(comparison: Comparison) -> str:
    kept, seeds = [level for level in comparison.levels if level.kept], comparison.design.seeds
    return (
        "Is the loss that a method ends with lower where GECO led the way? At each level of κ GECO settles on a weight "
        "λ̂; every rival then trains so that it ends at that λ̂, and all are judged by J = KL + λ̂·distortion on test "
        f"images. Here {len(kept)} of {len(comparison.levels)} levels were kept, with {seeds} seeds each that chose "
        f"nothing before. Differences within {MARGIN:g} nat count as equivalent, as was fixed beforehand; with {seeds} "
        f"seeds {_what_seeds_can_tell(comparison)}. Free bits and the plain ELBO have no λ̂, and stand in the plane "
        "only."
    )


def _what_seeds_can_tell(comparison: Comparison) -> str:
    needed = fewest_seeds(ALPHA, max(1, len(comparison.design.rivals)))
    if comparison.design.seeds < needed:
        return f"no difference can be found among so many rivals, since {needed} are needed; equivalence can"
    return f"no p can be below {2 / 2**comparison.design.seeds:.2g}, before the correction for several rivals"


def _quality_text(comparison: Comparison) -> str:
    return (
        f"What does a search of n trials buy? Each method had {comparison.design.pool} random, unpruned trials over "
        f"its own dials. Among n of them the best {comparison.metric} is selected, and its test value counts, which "
        "nobody saw before all pools were complete. Bands are 95 % of bootstrapped pools; they end at an eighth of the "
        "pool, beyond which they would be too narrow, and held the truth of simulated pools in 85 to 94 % of cases."
    )


def _target_text(comparison: Comparison) -> str:
    best = comparison.target.best_kl
    known = "no trial came near it" if best is None else f"the best known KL there is {best:.2f} nats"
    return (
        f"Who knows the error they want need not search for it with GECO. The target is κ* = "
        f"{comparison.target.kappa:.4g}; {known}. A hit is a trial whose error on training data, which is what κ "
        f"bounds, is within {percent(KAPPA_TOLERANCE)} of κ*, and whose KL on test images, carried to κ* along the "
        f"frontier, is within {KL_TOLERANCE:g} nat of that: GECO at κ* with the learning rates of the grid, its rivals "
        "with random dials. The chance among n trials is hypergeometric, from the pools."
    )


def headline(comparison: Comparison) -> Table:
    """One row for each method: Q1 beside Q2 and Q3."""
    kept = sum(level.kept for level in comparison.levels)
    n = comparison.trials_spoken_of
    metric = on_test_data(comparison.metric)
    return Table(
        f"The answer, method by method; Q1 over {kept} of {len(comparison.levels)} levels and "
        f"{comparison.design.seeds} seeds, Q2 and Q3 of {comparison.design.pool} trials a method; in nats per example, "
        "with 95 % intervals, Q1's for all rivals together",
        (
            "method",
            "Q1: J of GECO is",
            "J of GECO − J of it",
            "p (Holm)",
            f"Q2: {metric}, best of {n}",
            "Q3: trials that hit κ*",
            "dials searched",
        ),
        [_answer_row(comparison, at, n) for at in range(len(comparison.quality))],
    )


def _answer_row(comparison: Comparison, at: int, n: int) -> tuple[str, ...]:
    answer = comparison.quality[at]
    result = next((result for result in comparison.path.rivals if result.rival == answer.method), None)
    best = answer.expected[n - 1]
    hits, size = comparison.target.hits.get(answer.method, (0, 0))
    free = (*free_paths(answer.method), LR)
    return (
        answer.method,
        result.verdict if result else "–",
        with_interval(result.mean, result.lo, result.hi, "+.2f") if result else "–",
        f"{result.p:.3f}" if result else "–",
        with_interval(best.mean, best.lo, best.hi),
        f"{hits} of {size}",
        f"{len(free)}: {', '.join(free)}",
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
            *(percent(a.shares.get(name, 0)) for name in names),
            minus(f"{NO_BREAK}/{NO_BREAK}".join(f"{q:.2f}" for q in a.spread)),
        )
        for a in comparison.quality
    ]
    head = ("method", "trials", *names, f"quartiles of {comparison.metric.replace('val/', 'test/')} [nats]")
    return Table("Q2's pools: how trials ended, and how far they spread", head, rows)


def _secondary(comparison: Comparison) -> list[Table]:
    """Intervals without stars: what else the path's runs say of the latent space."""
    runs = by_method(comparison.trained["path"])
    if not runs:
        return []
    rows = [(method, *(_over_seeds(trained, name) for name in SECONDARY)) for method, trained in runs.items()]
    caption = "Secondary, over Q1's levels and seeds: mean and 95 % interval, no tests"
    return [Table(caption, ("method", *SECONDARY.values()), rows)]


def _over_seeds(trained: Sequence[Trained], metric: str) -> str:
    """The mean over seeds of their means over levels; of a marginal KL only where no estimate was saturated."""
    if metric == "test/marginal_kl" and any(each.test["test/mi_saturated"] for each in trained):
        return "saturated"
    seeds = grouped((each.run.seed, each.test[metric]) for each in trained)
    found = mean_interval([fmean(values) for values in seeds.values()])
    return with_interval(found.mean, found.lo, found.hi, ".3g")


def _how(comparison: Comparison) -> list[tuple[str, str]]:
    design, null = comparison.design, comparison.path.null
    shuffled = f"{percent(null, 1)} of {SHUFFLES} shufflings" if null is not None else ""
    left_out = "; ".join(comparison.path.left_out)
    found = {
        "Fixed for all": _fixed(design.base),
        "Learning rates": f"{design.rates_in_use}; for Q1 chosen for each method and level on {PILOT_SEEDS} pilot "
        "seeds that are not used again",
        "Ranking": RANKED,
        "Seeds": f"{design.seeds} for Q1, from {design.seed + PILOT_SEEDS} on; test values over 16 draws of z",
        "Dials": "; ".join(f"{method}: {', '.join(free_paths(method))}" for method in design.methods),
        "Budget": _budget(comparison),
        "Null check": f"with the methods' labels shuffled within levels and seeds, {shuffled} told them apart by "
        "p; at most 5 % should. It checks the test, not the choice of learning rates" if shuffled else "",
        "Left out of Q1": left_out,
        "Parts": ", ".join(f"{comparison.name}.{stage}" for stage, runs in comparison.trained.items() if runs)
        + ": each stage is a sweep of its own, with its own page by vae-tuner report NAME",
        "Trained with": versions_line(_recorded(comparison)),
        "Page written by": f"commit {known}" if (known := commit()) else "",
        "Files": BESIDE,
    }  # fmt: skip
    return [(term, text) for term, text in found.items() if text]


def _budget(comparison: Comparison) -> str:
    runs = {stage: len(trained) for stage, trained in comparison.trained.items()}
    history = [metrics for trained in comparison.trained.values() for each in trained for metrics in each.history]
    seconds = sum(metrics.get("time/epoch_s", 0.0) for metrics in history)
    stages = ", ".join(f"{STAGES.get(stage, stage)} {n}" for stage, n in runs.items() if n)
    return f"{sum(runs.values())} runs ({stages}), {len(history)} epochs; {duration(seconds)} of training in all"


def _recorded(comparison: Comparison) -> Mapping[str, str] | None:
    """The versions that the pools were trained with, as their journal has them."""
    folder = comparison.trained["pool"][0].folder
    journal = folder.parents[1] / JOURNAL if folder else None
    recorded: Mapping[str, str] | None = read_journal(journal)[0]["versions"] if journal and journal.exists() else None
    return recorded


def _fixed(base: Mapping[str, object]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in base.items()) + "; all else at its default"


def _write_runs(comparison: Comparison, file: Path) -> None:
    """Every run with its assignment, its end and what the test set says of it."""
    runs = [each for trained in comparison.trained.values() for each in trained]
    paths, metrics = columns_of(each.run.full for each in runs), columns_of(each.test for each in runs)
    rows = [
        [
            each.run.stage,
            each.run.method,
            *cells(each.run.full, paths),
            each.stop_reason,
            each.outcome,
            each.weight or None,
            *cells(each.test, metrics),
        ]
        for each in runs
    ]
    write_csv(file, ["stage", "method", *paths, "stop_reason", "outcome", "lambda", *metrics], rows)
