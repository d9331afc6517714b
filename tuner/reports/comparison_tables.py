"""Tables of a comparison that describe and claim nothing: what stands beside the three questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.comparison.answer import Comparison
from tuner.comparison.transfer import Transferred
from tuner.comparison.verdicts import MARGIN, LevelResult
from tuner.reports.page import Table
from tuner.reports.wording import text_of, with_interval

__all__ = ["levels_table", "nll_table", "placed_table", "transfer_table"]


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
    metric = comparison.metric.replace("val/", "test/", 1)
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
