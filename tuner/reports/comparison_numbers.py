"""The numbers behind each figure of a comparison, for its CSV file and for the tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from tuner.comparison.final_loss import MARGIN, LevelResult, differences
from tuner.comparison.transfer import Transferred
from tuner.reports.figures.comparison_runs import equivalent_beta, followed_columns
from tuner.reports.figures.method_looks import by_method, middle_level
from tuner.reports.page import Table
from tuner.reports.wording import minus, text_of, with_interval
from tuner.sweeps.metrics import on_test_data

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison
    from tuner.comparison.statistics import Expected

Numbers = tuple[Sequence[str], Sequence[Sequence[object]]]


# --- for the files ----------------------------------------------------------------------------------------------------


def _path(comparison: Comparison) -> Numbers:
    methods = [method for method in comparison.design.methods if method in ("geco", *comparison.design.rivals)]
    rows = [[kappa, seed, *(cell.get(m, "") for m in methods)] for (kappa, seed), cell in comparison.path.table.items()]
    return ["kappa", "seed", *(f"J of {method} [nats]" for method in methods)], rows


def _plane(comparison: Comparison) -> Numbers:
    names = ["test/mse", "test/recon_nll", "test/kl"]
    found = [each for stage in ("path", "pool") for each in comparison.trained[stage] if each.completed]
    rows = [
        [each.run.stage, each.run.method, each.run.kappa or "", each.run.seed, *(each.test.get(n, "") for n in names)]
        for each in found
    ]
    return ["stage", "method", "level kappa", "seed", *names], rows


def _quality(comparison: Comparison) -> Numbers:
    metric = on_test_data(comparison.metric)
    rows = [[a.method, e.n, e.mean, e.lo, e.hi] for a in comparison.quality for e in a.expected]
    return ["method", "n", f"expected {metric}", "2.5 %", "97.5 %"], rows


def _target(comparison: Comparison) -> Numbers:
    chances = comparison.target.chance.items()
    return ["method", "n", "chance"], [[m, n, value] for m, values in chances for n, value in enumerate(values, 1)]


def _training(comparison: Comparison) -> Numbers:
    error = "val/mse" if comparison.design.scale.sigma is not None else "val/recon_nll"
    return _epochs(comparison, "val/kl", error)


def _trajectory(comparison: Comparison) -> Numbers:
    columns = followed_columns(comparison)
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _latents(comparison: Comparison) -> Numbers:
    found = comparison.kl_by_latent.items()
    return ["method", "latent", "kl [nats]"], [
        [m, i, value] for m, values in found for i, value in enumerate(values, 1)
    ]


def _schedules(comparison: Comparison) -> Numbers:
    head, rows = _epochs(comparison, "schedule/lr", "geco/constraint", "schedule/beta")
    sigma = comparison.design.scale.sigma
    runs = by_method(middle_level(comparison.trained["path"])).values()
    betas = [equivalent_beta(metrics, sigma) for trained in runs for metrics in trained[0].history]
    weights = [1 / (beta * (2 * sigma**2 if sigma else 1)) if beta else "" for beta in betas]
    return [*head, "equivalent beta", "lambda"], [
        [*r, *m] for r, m in zip(rows, zip(betas, weights, strict=True), strict=True)
    ]


def _epochs(comparison: Comparison, *names: str) -> Numbers:
    """A row for each epoch of the runs that are shown."""
    runs = by_method(middle_level(comparison.trained["path"])).items()
    rows = [
        [method, each.run.kappa, each.run.seed, metrics["epoch"], *(metrics.get(name, "") for name in names)]
        for method, [each, *_] in runs
        for metrics in each.history
    ]
    return ["method", "level kappa", "seed", "epoch", *names], rows


NUMBERS: dict[str, Callable[[Comparison], Numbers]] = {
    "path": _path,
    "plane": _plane,
    "quality": _quality,
    "target": _target,
    "training": _training,
    "trajectory": _trajectory,
    "latents": _latents,
    "schedules": _schedules,
}


# --- for the page -----------------------------------------------------------------------------------------------------


def table_behind(comparison: Comparison, name: str) -> Table | None:
    """A figure's numbers where they are few enough to be read."""
    return _TABLES[name](comparison) if name in _TABLES else None


def _path_table(comparison: Comparison) -> Table:
    """Whether the mean over levels hides what they differ in."""
    table, rivals = comparison.path.table, [result.rival for result in comparison.path.rivals]
    rows = []
    for kappa in sorted({kappa for kappa, _ in table}):
        own = differences({cell: values for cell, values in table.items() if cell[0] == kappa}, rivals)
        rows.append((f"{kappa:.4g}", *(minus(f"{fmean(own[r]):+.3f}") if r in own else "–" for r in rivals)))
    return Table(
        "J of GECO minus J of the rival at each level, mean over seeds [nats per example]", ("κ", *rivals), rows
    )


def _plane_table(comparison: Comparison) -> Table:
    gaussian = comparison.design.scale.sigma is not None
    error = "test/mse" if gaussian else "test/recon_nll"
    rows = []
    for method, trained in by_method(comparison.trained["path"]).items():
        for kappa in sorted({each.run.kappa for each in trained if each.run.kappa is not None}):
            own = [each.test for each in trained if each.run.kappa == kappa]
            means = {name: fmean(test[name] for test in own) for name in (error, "test/kl")}
            rows.append((method, f"{kappa:.4g}", minus(f"{means[error]:.4g}"), f"{means['test/kl']:.3f}"))
    named = "squared error per element" if gaussian else "reconstruction [nats]"
    return Table("Q1's runs on test images, means over seeds", ("method", "level κ", named, "KL [nats]"), rows)


def _quality_table(comparison: Comparison) -> Table:
    expected = {answer.method: answer.expected for answer in comparison.quality}
    metric = on_test_data(comparison.metric)
    rows = [(str(at[0].n), *(_said(found) for found in at)) for at in zip(*expected.values(), strict=False)]
    return Table(
        f"Expected {metric} of the best of n trials, with its 95 % band [nats per example]", ("n", *expected), rows
    )


def _said(found: Expected) -> str:
    return with_interval(found.mean, found.lo, found.hi)


def _target_table(comparison: Comparison) -> Table:
    chances = comparison.target.chance
    rows = [(str(n), *(f"{value:.2f}" for value in at)) for n, at in enumerate(zip(*chances.values(), strict=False), 1)]
    return Table("Chance of a hit among n trials", ("n", *chances), rows)


def _latents_table(comparison: Comparison) -> Table:
    found = comparison.kl_by_latent
    rows = [(str(i), *(f"{value:.3f}" for value in at)) for i, at in enumerate(zip(*found.values(), strict=False), 1)]
    return Table("KL of each latent, the largest first [nats per example]", ("latent", *found), rows)


_TABLES: dict[str, Callable[[Comparison], Table]] = {
    "path": _path_table,
    "plane": _plane_table,
    "quality": _quality_table,
    "target": _target_table,
    "latents": _latents_table,
}


def nll_table(comparison: Comparison) -> list[Table]:
    """Test NLL by method, at one level; none where no run was there."""
    found = comparison.nll
    if found is None:
        return []
    rows = [
        (
            method,
            f"{value.mean:.2f} ({value.lo:.2f} to {value.hi:.2f})",
            f"{found.bias[method]:.2g}",
            "–" if (drop := found.drop[method]) is None else f"{drop:.2g}",
        )
        for method, value in found.values.items()
    ]
    under = "" if found.sigma is None else f" under σ = {found.sigma:.3g}, at which λ̂ is β = 1"
    caption = (
        f"Secondary, NLL at κ = {found.kappa:.4g}{under}: {found.samples:,} importance samples on {found.examples:,} "
        f"test examples, mean over seeds and 95 % interval, no tests{_unranked(found.unranked)}"
    )
    head = ("method", "test/nll  [nats]", "its bias, at least", "its drop from a tenth of the samples")
    return [Table(caption, head, rows)]


def _unranked(methods: Sequence[str]) -> str:
    """What cannot be ranked by estimates that still fall."""
    return f". {', '.join(methods)} differ by less than their estimates still drop: no ranking" if methods else ""


def levels_table(comparison: Comparison) -> list[Table]:
    """Q1 at each level: a mean over levels may hide effects of both signs."""
    results = comparison.path.rivals
    if not results:
        return []
    kappas = sorted({level.kappa for result in results for level in result.levels})
    at = {(result.rival, level.kappa): level for result in results for level in result.levels}
    rows = [(f"{kappa:.4g}", *(_level_cell(at.get((result.rival, kappa))) for result in results)) for kappa in kappas]
    caption = (
        f"Q1 level by level: J of GECO − J of the rival [nats], mean over seeds and its 95 % interval; = is within "
        f"{MARGIN:g} nat by two one-sided t tests at 5 %"
    )
    return [Table(caption, ("κ", *(result.rival for result in results)), rows)]


def _level_cell(level: LevelResult | None) -> str:
    if level is None:
        return "–"
    return f"{with_interval(level.mean, level.lo, level.hi, '+.2f')}{' =' if level.equivalent else ''}"


def placed_table(comparison: Comparison) -> list[Table]:
    """What has no λ̂, beside the curve of constant β; none where there is no such method."""
    if not comparison.placed:
        return []
    rows = [
        (
            each.method,
            str(each.n),
            str(each.beside),
            " / ".join(f"{q:+.2f}" for q in each.above) if each.above else "–",
        )
        for each in comparison.placed
    ]
    caption = "What ends at no λ̂, beside the curve of constant β at the same error: no tests"
    return [Table(caption, ("method", "runs", "between its ends", "quartiles of their KL − the curve's"), rows)]


def transfer_table(comparison: Comparison) -> list[Table]:
    """What the best dials lose on the other data set; none unless asked for."""
    if not comparison.transfer:
        return []
    rows = [
        (
            each.method if each.how == "unchanged" else f"{each.method}, κ {each.how}",
            f"{each.origin} → {each.target}",
            _dials(each.dials),
            _dials(each.own_dials),
            _loss(each),
            ", ".join(f"{name} {share:.0%}" for name, share in each.ends.items()),
        )
        for each in comparison.transfer
    ]
    metric = on_test_data(comparison.metric)
    caption = (
        f"Transfer: the best trial of one data set's pool taken to the other; what that loses in {metric} against the "
        "best of its own pool, by seed: mean and 95 % interval, no tests"
    )
    return [Table(caption, ("method", "from → to", "taken over", "its own best", "lost", "how it ended"), rows)]


def _dials(found: Mapping[str, object]) -> str:
    return ", ".join(f"{path} {text_of(value)}" for path, value in found.items())


def _loss(each: Transferred) -> str:
    found = each.loss
    return f"{found.mean:+.2f} ({found.lo:+.2f} to {found.hi:+.2f})" if found else "–"
