"""Pages without their figures."""

import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Of pages whose words are looked at: figures would take seconds."""
    for page in ("comparison_page", "sweep_page"):
        monkeypatch.setattr(f"tuner.reports.{page}.FIGURES", {})
