"""What MLflow lacks of a sweep, sent after the fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trainables.credentials import shown
from trainables.errors import UserError
from tuner.sweeps.folder import trials_of
from tuner.sweeps.journal import Journal, check_begun, close_session
from tuner.sweeps.storage import open_storage
from tuner.sweeps.tracking_uri import cause_of
from tuner.tracking.database_file import check_undamaged
from tuner.tracking.reachability import check_reachable
from tuner.tracking.sweep_store import store_of

BATCH = 500


def sync_sweep(
    storage: str | Path,
    name: str,
    uri: str | None = None,
    on_notes: Callable[[Sequence[str]], None] = lambda notes: None,
) -> int:
    """Send MLflow what it lacks of a sweep: the rest of its journal, and what was deleted there of runs, parameters,
    tags, points and files; returns the number of records and files sent.

    What a killed driver left open is closed as `interrupted` first: no run stays RUNNING. Nothing is sent twice.
    uri: by default the sweep's own. on_notes: told which runs had lost something, and what cannot be mended.
    Raises UserError while a driver runs the sweep, which sends by itself, and where the store cannot be reached or
    takes not all.
    """
    with open_storage(storage).hold(name) as held:
        journal = held.open_journal()
        try:
            check_begun(journal.sweep)
            close_session(journal, "budget" if journal.sweep.spent else "interrupted")
            store = store_of(journal.sweep, str(held.place), uri)
            return _send(journal, trials_of(storage, name), store, on_notes)
        finally:
            journal.close()


def _send(
    journal: Journal,
    trials: str,
    store: str,
    on_notes: Callable[[Sequence[str]], None],
) -> int:
    header = journal.sweep.header
    tracking = header["spec"]["tracking"]
    check_reachable(store)
    from tuner.tracking.mlflow_store import open_client
    from tuner.tracking.projection import Projection

    events = journal.events
    again = f"`vae-tuner sync {header['name']}`"
    try:
        projection = Projection(open_client(store), tracking["experiment"], trials, tracking["tags"])
        known = projection.resume(events, every_epoch=True)
        for start in range(known, len(events), BATCH):
            projection.project(events[start : start + BATCH])
        n_files = projection.check_files()
    except UserError:
        raise
    except Exception as error:  # MLflow's own, of its HTTP client
        check_undamaged(store)
        raise UserError(f"tracking {shown(store)} refused the records: {cause_of(error)}; {again} goes on") from None
    on_notes(projection.notes)
    if unsent := projection.unsent_files:
        raise UserError(
            f"tracking {shown(store)} has all records, and did not accept the files of {len(unsent)} trials: "
            f"{next(iter(unsent.values()))}; {again} tries again"
        )
    return len(events) - known + projection.mended + n_files
