from dataclasses import replace

import pytest
from comparisons import compared, without_levels

from tuner.comparison.statistics import Interval
from tuner.comparison.transfer import Transferred
from tuner.reports.comparison_numbers import levels_table, nll_table, placed_table, transfer_table


@pytest.fixture(scope="module")
def full():
    return compared("geco", "beta", "linear", "free-bits", effects={"linear": 1.0})


def further_tables(comparison):
    return [*nll_table(comparison), *placed_table(comparison), *transfer_table(comparison)]


def starting(comparison, start):
    (table,) = [table for table in further_tables(comparison) if table.caption.startswith(start)]
    return table


def test_the_nll_says_at_which_level_and_how_it_was_taken(full):
    table = starting(full, "Secondary, NLL")
    assert table.caption == (
        "Secondary, NLL at κ = 0.1525 under σ = 0.3, at which λ̂ is β = 1: 1,000 importance samples on 900 test "
        "examples, mean over seeds and 95 % interval, no tests"
    )
    assert [row[0] for row in table.rows] == ["geco", "beta", "linear"]
    own = full.nll.values["geco"]
    assert table.rows[0][1:] == (f"{own.mean:.2f} ({own.lo:.2f} to {own.hi:.2f})", "0.2", "0.01")


def test_methods_that_the_nll_cannot_rank_are_named(full):
    still_falling = replace(full.nll, drop=dict.fromkeys(full.nll.values, 9.0))
    caption = starting(replace(full, nll=still_falling), "Secondary, NLL").caption
    names = ", ".join(still_falling.unranked)
    assert set(still_falling.unranked) == {"geco", "beta", "linear"}
    assert caption.endswith(f". {names} differ by less than their estimates still drop: no ranking")
    unknown = replace(full.nll, drop=dict.fromkeys(full.nll.values))
    assert {row[3] for row in starting(replace(full, nll=unknown), "Secondary, NLL").rows} == {"–"}


def test_each_level_stands_in_a_row_of_its_own_with_what_was_found_there(full):
    [table] = levels_table(full)
    assert table.head == ("κ", "beta", "linear")
    assert len(table.rows) == 5
    linear = full.path.rivals[1]
    for row, level in zip(table.rows, linear.levels, strict=True):
        assert row[0] == f"{level.kappa:.4g}"
        assert row[2].replace("−", "-").startswith(f"{level.mean:+.2f}\n({level.lo:.2f}")
        assert row[2].endswith(" =") is level.equivalent
    assert levels_table(without_levels("geco", "beta")) == []


def test_bits_have_no_sigma_to_tell(full):
    assert "σ" not in starting(replace(full, nll=replace(full.nll, sigma=None)), "Secondary, NLL").caption


def test_what_has_no_weight_is_placed_beside_the_curve(full):
    rows = starting(full, "What ends at no λ̂").rows
    assert [row[:2] for row in rows] == [("elbo", "2"), ("free-bits", "24")]
    past = [replace(each, beside=0, above=None) for each in full.placed]
    assert [row[2:] for row in starting(replace(full, placed=past), "What ends at no λ̂").rows] == [("0", "–")] * 2


def test_what_is_lost_by_a_transfer_stands_beside_both_dials(full):
    common = ("a", "b", "geco", "relative", {"objective.kappa": 0.2, "lr.base": 1e-3}, {"objective.kappa": 0.15})
    lost = Transferred(*common, Interval(1.0, 0.5, 1.5), {"ok": 0.75, "diverged": 0.25})
    never = Transferred("b", "a", "beta", "unchanged", {"beta.end": 1.0}, {"beta.end": 2.0}, None, {"diverged": 1.0})
    assert starting(replace(full, transfer=[lost, never]), "Transfer: ").rows == [
        (
            "geco, κ relative",
            "a → b",
            "objective.kappa 0.2, lr.base 0.001",
            "objective.kappa 0.15",
            "+1.00 (+0.50 to +1.50)",
            "ok 75%, diverged 25%",
        ),
        ("beta", "b → a", "beta.end 1", "beta.end 2", "–", "diverged 100%"),
    ]


def test_what_was_not_trained_has_no_table():
    assert further_tables(without_levels("geco", "beta")) == []
