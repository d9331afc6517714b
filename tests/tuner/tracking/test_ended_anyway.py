"""A run that fails or is interrupted while it is written does not stay RUNNING."""

from threading import Event

import pytest

from tuner.tracking import mlflow_store
from tuner.tracking.mlflow_store import ended_anyway


class Store:
    def __init__(self, answer=lambda: None):
        self.ended, self.answer = [], answer

    def set_terminated(self, *given):
        self.ended.append(given)
        self.answer()


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED"), (OSError, "FAILED")]
)
@pytest.mark.parametrize("answer", [lambda: None, lambda: 1 / 0, lambda: Event().wait(0.5)])
def test_it_is_ended_by_what_came_and_that_is_told(error, status, answer, monkeypatch):
    monkeypatch.setattr(mlflow_store, "END_SECONDS", 0.1)
    store = Store(answer)
    with pytest.raises(error), ended_anyway(store, "r"):
        raise error
    assert store.ended == [("r", status)]


def test_one_that_is_written_whole_is_left_alone():
    store = Store()
    with ended_anyway(store, "r"):
        pass
    assert store.ended == []
