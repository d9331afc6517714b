"""What MLflow lacks of a sweep, sent after the fact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainables.errors import UserError
from tuner.storage.journal import Journal, check_begun, close_session
from tuner.storage.sweep_objects import trials_of
from tuner.storage.sweep_storage import open_storage
from tuner.tracking.tracking_uri import cause_of, check_reachable, shown, store_of

__all__ = ["sync_sweep"]

BATCH = 500


def sync_sweep(
    storage: str | Path,
    name: str,
    uri: str | None = None,
    on_sent: Callable[[int, int], None] = lambda sent, total: None,
) -> int:
    """Send MLflow the rest of a sweep's journal, artifacts included; returns the number of records sent.

    What a killed driver left open is closed as `interrupted` first: no run stays RUNNING. Nothing is sent twice.
    uri: by default the sweep's own. on_sent: told how many of how many records MLflow has.
    Raises UserError while a driver runs the sweep, which sends by itself, and where the store cannot be reached.
    """
    with open_storage(storage).hold(name) as held:
        journal = held.open_journal()
        try:
            check_begun(journal.sweep)
            close_session(journal, "budget" if journal.sweep.spent else "interrupted")
            return _send(journal, trials_of(storage, held.folder), uri, on_sent)
        finally:
            journal.close()


def _send(journal: Journal, trials: str, uri: str | None, on_sent: Callable[[int, int], None]) -> int:
    header = journal.sweep.header
    tracking = header["spec"]["tracking"]
    store = store_of(header, uri)
    check_reachable(store)
    from tuner.tracking.mlflow_store import open_client
    from tuner.tracking.projection import Projection

    events = journal.events
    try:
        projection = Projection(open_client(store), tracking["experiment"], trials, tracking["tags"])
        known = projection.resume(events)
        for start in range(known, len(events), BATCH):
            projection.project(events[start : start + BATCH])
            on_sent(min(start + BATCH, len(events)), len(events))
    except UserError:
        raise
    except Exception as error:  # MLflow's own, of its HTTP client, of a store of artifacts
        raise UserError(
            f"tracking {shown(store)} refused the records: {cause_of(error)}; `vae-tuner sync {header['name']}` goes on"
        ) from None
    return len(events) - known
