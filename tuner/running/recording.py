"""A comparison's run in MLflow: its answer, its page, and the sweeps it is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tuner.comparison.answer import Comparison
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.state import fold

__all__ = ["record"]

PARTS = "vae_tuner.sweeps"
VERDICT = "vae_tuner.verdict"


def record(comparison: Comparison, page: Path, sweeps: Sequence[Path], uri: str, experiment: str) -> str:
    """Log the page's folder as artifacts of a run of kind `comparison`, once for each of its sweeps; returns its id."""
    from tuner.tracking.mlflow_store import Tag, ended_anyway, ensure_experiment, find_runs, has_tags, open_client
    from tuner.tracking.run_files import RunFiles

    client = open_client(uri)
    experiment_id = ensure_experiment(client, experiment)
    ids = [fold(read_journal(folder / JOURNAL)).header["sweep_id"] for folder in sweeps]
    identity = {Tag.KIND: "comparison", Tag.SWEEP_ID: ids[0]}
    known = next(find_runs(client, experiment_id, has_tags(identity)), None)
    tags = {**identity, Tag.SWEEP: comparison.name, Tag.DATASET: comparison.dataset, PARTS: json.dumps(ids)}
    run = known or client.create_run(experiment_id, tags=tags, run_name=comparison.name)
    run_id = str(run.info.run_id)
    with ended_anyway(client, run_id):
        client.set_tag(run_id, VERDICT, comparison.verdict)
        RunFiles(client, run.info.artifact_uri).send_folder(page.parent)
        client.set_terminated(run_id, "FINISHED")
    return run_id
