"""A sweep that MLflow has."""

import pytest
from stores import GECO, project


@pytest.fixture
def swept(uri, written_journal):
    """Twelve trials of two methods; the best by far were pruned or diverged."""
    journal = written_journal()
    for n, value in enumerate([-5.0, -3.0, -8.0, -2.5, -2.5, -9.0]):
        journal.trial(f"{n:04d}", [value - 1, value], "completed", GECO if n % 2 else None)
    journal.trial("0006", [-1.0], "pruned")
    journal.trial("0007", [-0.5, float("nan")], "diverged")
    journal.trial("0008", [-0.4], "budget")
    journal.ask("0009")
    journal.report("0009", 1, {"val/elbo_cal": -0.3})
    journal.add("end", trial="0009", reason="error", error="Traceback")
    journal.ask("0010")
    journal.report("0010", 1, {"val/elbo_cal": -0.2})
    project(uri, journal)
    return uri


@pytest.fixture(params=["database", "client"])
def way(request, monkeypatch):
    """How records are written: as they are into a database, or by MLflow's client, as where its tables are unknown."""
    if request.param == "client":
        monkeypatch.setattr("tuner.tracking.database_records.is_known", lambda store: False)
