"""A comparison's run in MLflow, interrupted while it is sent."""

from types import SimpleNamespace

import pytest

from tuner.running.comparisons import record
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.run_files import RunFiles


def test_an_interrupted_record_is_ended_and_the_same_run_is_finished_by_the_next(sweeps, uri, tmp_path, monkeypatch):
    def interrupted(files, folder):
        raise KeyboardInterrupt

    sweeps.run("c.pilot")
    page = tmp_path / "page" / "index.html"
    page.parent.mkdir()
    page.write_text("page")
    given = (
        SimpleNamespace(name="c", dataset="digits", verdict="none"), page, [sweeps.storage / "c.pilot"], uri, "e"
    )  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(RunFiles, "send_folder", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record(*given)
    client = open_client(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert run.info.status == "KILLED"
    assert record(*given) == run.info.run_id
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
