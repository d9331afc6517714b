import json
from pathlib import Path

CONTRACT = {"name", "report", "levels", "path", "quality", "target", "verdict"}


def test_the_document_keeps_the_contract_and_is_json(comparison):
    found = comparison("geco", "beta", "linear", effects={"linear": 1.0}).document(Path("reports/c/index.html"))
    assert found.keys() >= CONTRACT
    assert json.loads(json.dumps(found)) == found
    assert found["levels"][0].keys() >= {"kappa", "lambda", "outcome"}
    assert [row.keys() >= {"rival", "mean", "lo", "hi", "p", "verdict"} for row in found["path"]] == [True, True]
    assert found["quality"]["geco"][0].keys() == {"n", "mean", "lo", "hi"}


def test_the_answer_is_two_sentences_with_each_rival_named_once(comparison):
    verdict = comparison("geco", "beta", "linear", effects={"linear": 1.0}).verdict
    assert verdict.startswith("on mnist with mlp, KL + λ̂·distortion where GECO led is ")
    assert "equivalent within 0.5 nat to beta (" in verdict
    assert "lower than with linear (-" in verdict
    assert "The best of 8 random trials is expected to reach a test/elbo_cal of " in verdict


def test_a_quick_one_says_that_it_is_exploratory(comparison):
    assert comparison("geco", "beta", exploratory=True).verdict.startswith("Exploratory: on mnist")


def test_without_a_level_the_paths_are_not_compared_and_the_pools_still_are(comparison):
    found = comparison("geco", "beta", outcomes=dict.fromkeys((0.45, 0.53, 0.61, 0.7, 0.8), "infeasible"))
    assert "GECO settled on no level of κ (0.113 infeasible" in found.verdict
    assert found.path.rivals == []
    assert found.path.null is None
    assert "with geco, beside beta" in found.verdict or "with beta, beside geco" in found.verdict
