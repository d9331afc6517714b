"""What a sweep keeps on disk, taken away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from trainables.data.readers.fetched import digests_in
from trainables.errors import UserError
from tuner.sweeps.folder import Storage
from tuner.sweeps.journal import check_begun
from tuner.sweeps.state import Sweep, fold
from tuner.sweeps.status import ranked_trials
from tuner.sweeps.storage import open_storage
from tuner.tracking.store_errors import in_a_sentence
from tuner.tracking.sweep_store import store_of


@dataclass(frozen=True)
class Removed:
    """What is gone. kept: the trial whose folder was left; runs: how many MLflow runs were deleted; data: how many of
    the data sets that were sent along with it."""

    name: str
    bytes_freed: int
    kept: str | None
    runs: int
    data: int = 0


def remove_sweep(
    storage: str | Path, name: str, *, keep_best: bool = False, with_runs: bool = False, uri: str | None = None
) -> Removed:
    """Delete a sweep's folder, and the data sent along with its job, which lie beside it, unless another sweep there
    names them; with `keep_best` only the other trials' folders, so that journal and winner stay.

    with_runs: delete its MLflow runs too, in the store `uri`, by default the sweep's own; those of models that `train`
    has made of it stay. Raises UserError while a driver runs it.
    """
    opened = open_storage(storage)
    with opened.hold(name, to_remove=True) as held:
        sweep = fold(opened.lines(name), f"the journal of sweep {name}") if keep_best or with_runs else Sweep()
        if keep_best or with_runs:
            check_begun(sweep)
        runs = _delete_runs(store_of(sweep, str(held.place), uri), sweep) if with_runs else 0
        best = next((trial.id for trial in ranked_trials(sweep)), None) if keep_best else None
        if keep_best:
            return Removed(name, held.remove_trials(best), best, runs)
        data = _unshared_data(opened, name)
        freed = held.remove_all() + sum(map(opened.remove_data, data))
    return Removed(name, freed, None, runs, len(data))


def _unshared_data(storage: Storage, name: str) -> set[str]:
    """By their digests, the data that a sweep names and no other in its storage: a journal that cannot be read may name
    any."""
    try:
        named = _data_named(storage, name)
        return named.difference(*(_data_named(storage, other) for other in storage.names() if named and other != name))
    except UserError:
        return set()


def _data_named(storage: Storage, name: str) -> set[str]:
    lines = storage.lines(name)
    check_begun(fold(lines))
    return digests_in(json.dumps(lines[0]))


@in_a_sentence
def _delete_runs(uri: str, sweep: Sweep) -> int:
    from tuner.tracking.mlflow_store import Tag, find_runs, has_tags
    from tuner.tracking.reachability import open_existing

    client = open_existing(uri)
    found = client.get_experiment_by_name(sweep.header["spec"]["tracking"]["experiment"])
    identity = has_tags({Tag.SWEEP_ID: sweep.header["sweep_id"]})
    theirs = find_runs(client, found.experiment_id, identity) if found else ()
    runs = [run for run in theirs if run.data.tags.get(Tag.KIND) != "retrain"]
    for run in runs:
        client.delete_run(run.info.run_id)
    return len(runs)
