"""Conditions choose the trials that are ranked."""

import pytest
from stores import GECO, project

from trainables.errors import UserError
from tuner.tracking import best as from_mlflow
from tuner.tracking.best import best
from tuner.tracking.mlflow_store import MlflowClient


@pytest.fixture
def varied(uri, written_journal):
    """Trials 0000 … 0011: val/elbo_cal −n, val/kl n, every second by GECO, every third without gradient clipping."""
    journal = written_journal()
    for n in range(12):
        tree = {"lr": {"base": 10.0 ** -(n % 4 + 1)}, "optimizer": {"clip_norm": "none" if n % 3 == 0 else n}}
        journal.ask(f"{n:04d}", tree | (GECO if n % 2 else {"beta": {"kind": "linear", "warmup": f"{n}00 steps"}}))
        last = {"val/elbo_cal": -float(n), "val/kl": float(n), **({"geco/lambda": 2.0} if n % 2 else {})}
        journal.report(f"{n:04d}", 1, last, "completed", "ok" if n % 2 else None)
    project(uri, journal)
    return uri


@pytest.mark.parametrize(
    ("where", "trials"),
    [
        ("val/kl < 3", [0, 1, 2]),
        ("val/kl >= 9 and val/kl != 10", [9, 11]),
        ("val/kl < 8 and objective.kind = geco and lr.base >= 1e-3", [1, 5]),
        ("lr.base < 0.001", [3, 7, 11]),
        ("optimizer.clip_norm = none", [0, 3, 6, 9]),
        ("optimizer.clip_norm > 9", [10, 11]),
        ("beta.warmup > '600 steps'", [8, 10]),
        ("beta.kind != cosine and val/kl < 5", [0, 2, 4]),
        ("method = geco and outcome = ok and stop_reason = completed and trial > 8", [9, 11]),
        ("geco/lambda = 2 and val/kl <= 1e22 and val/kl > 1e-9 and trial <= 3", [1, 3]),
        (" and ".join(["val/kl < 2"] * 70), [0, 1]),
        ("val/kl < 9007199254740993 and val/kl > 10", [11]),
        ("val/kl > 100", []),
    ],
)
def test_conditions_choose_the_trials_that_are_ranked(where, trials, varied):
    assert [int(row.trial) for row in best(varied, where=where, top=20)] == trials
    assert [int(row.trial) for row in best(varied, where=where)] == trials[:1]


@pytest.mark.parametrize("top", [1, 2, 20])
def test_conditions_and_pages_do_not_disturb_each_other(top, varied, monkeypatch):
    monkeypatch.setattr(from_mlflow, "PAGE", 3)
    found = best(varied, where="optimizer.clip_norm = none and val/kl > 1", top=top)
    assert [int(row.trial) for row in found] == [3, 6, 9][:top]


def test_conditions_narrow_what_is_read(varied, monkeypatch):
    filters = []
    search = MlflowClient.search_runs

    def seen(self, ids, filter_string, **options):
        filters.append(filter_string)
        return search(self, ids, filter_string, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", seen)
    best(varied, where="val/kl < 1e22 and lr.base > 0 and val/elbo_cal > -2.5")
    assert "metrics.`val/kl` < 10000000000000000000000 and metrics.`val/elbo_cal` > -2.5" in filters[-1]
    assert "lr.base" not in filters[-1]
    best(varied, where="val/kl < 9007199254740993")  # no float, so MLflow would compare with its neighbour
    assert "val/kl" not in filters[-1]


def test_a_wrong_condition_is_known_before_the_store_is_asked(tmp_path):
    with pytest.raises(UserError, match="--where: 'val/k' is neither a metric"):
        best(f"sqlite:///{tmp_path}/mlflow.db", where="val/k < 1")


@pytest.mark.parametrize("page", [2, 200])
def test_the_best_of_each_method_meets_the_conditions_too(page, varied, monkeypatch):
    monkeypatch.setattr(from_mlflow, "PAGE", page)
    rows = best(varied, where="val/kl > 4", top=None)
    assert [(row.method, int(row.trial)) for row in rows] == [("geco", 5), ("linear", 6)]
