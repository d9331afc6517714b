import json
from pathlib import Path

from comparisons import PRECISE

from tuner.comparison.answer import concluded

CONTRACT = {"name", "report", "levels", "path", "quality", "target", "verdict"}


def test_the_document_keeps_the_contract_and_is_json(comparison):
    found = comparison("geco", "beta", "linear", effects={"linear": 1.0}).document(Path("reports/c/index.html"))
    assert found.keys() >= CONTRACT
    assert json.loads(json.dumps(found)) == found
    assert found["levels"][0].keys() >= {"kappa", "lambda", "outcome"}
    assert [row.keys() >= {"rival", "mean", "lo", "hi", "p", "verdict"} for row in found["path"]] == [True, True]
    assert found["quality"]["geco"][0].keys() == {"n", "mean", "lo", "hi"}


def test_the_answer_is_two_sentences_with_each_rival_named_once(comparison):
    verdict = comparison("geco", "beta", "linear", effects={"linear": 1.0}, spread=PRECISE).verdict
    assert verdict.startswith("on mnist with mlp, the loss J = KL + λ̂·distortion is, where GECO led the way, ")
    assert "equivalent within 0.5 nat at every level to beta (" in verdict
    assert "lower than with linear (-" in verdict
    assert " at κ = " in verdict
    assert "The best of 3 random trials is expected to reach a test/elbo_cal of " in verdict


def test_a_quick_one_says_that_it_is_exploratory(comparison):
    assert comparison("geco", "beta", exploratory=True).verdict.startswith("Exploratory: on mnist")


def test_without_a_level_the_paths_are_not_compared_and_the_pools_still_are(comparison):
    found = comparison("geco", "beta", outcomes=dict.fromkeys((0.45, 0.53, 0.61, 0.7, 0.8), "infeasible"))
    assert "GECO settled on no level of κ (0.113 infeasible" in found.verdict
    assert found.path.rivals == []
    assert found.path.null is None
    assert "with geco, beside beta" in found.verdict or "with beta, beside geco" in found.verdict


def test_a_larger_pool_is_spoken_of_by_eight_trials(comparison):
    assert "The best of 8 random trials is expected" in comparison("geco", "beta", pool=64).verdict


def lost(found, method, but=0):
    """The comparison as it would be had all but a few seeds of the method's paths diverged."""
    spared = range(2, 2 + but)
    path = [
        type(each)(each.run, "diverged", None, {})
        if each.run.method == method and each.run.seed not in spared
        else each
        for each in found.trained["path"]
    ]
    return concluded(
        "c", "mnist", "mlp", found.metric, False, found.design, found.levels, {**found.trained, "path": path}
    )


def test_runs_that_diverged_are_in_the_answer(comparison):
    whole = comparison("geco", "beta", "linear")
    assert "(100% of beta's runs diverged)" in lost(whole, "beta").verdict
    assert "no path can be compared: 100% of geco's runs diverged" in lost(whole, "geco").verdict


def test_one_seed_has_no_interval(comparison):
    found = lost(comparison("geco", "beta"), "beta", but=1)
    assert "nat with the one seed that is left" in found.verdict
    row = json.loads(json.dumps(found.document(Path("x")), allow_nan=False))["path"][0]
    assert (row["lo"], row["hi"], row["verdict"]) == (None, None, "undecided")
