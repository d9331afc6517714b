"""Ctrl-C and SIGTERM stop a sweep in order."""

import signal
import subprocess
import time

import pytest

from tuner.journal import fold, read_journal

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_sweep_with_every_run_closed(sent, code, tmp_path, command, environment):
    arguments = ["sweep", "--name", "long", "--trials", "50", "--epochs", "400", "--scheduler", "none"]
    process = subprocess.Popen([command, *arguments], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "sweeps" / "long" / "journal.jsonl"
    _wait_for(lambda: journal.exists() and b'"report"' in journal.read_bytes(), seconds=120)
    process.send_signal(sent)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == code, printed
    assert "Traceback" not in printed
    sweep = fold(read_journal(journal))
    assert sweep.finished == "interrupted"
    assert "interrupted" in {trial.stop_reason for trial in sweep.trials.values()}
    assert None not in {trial.stop_reason for trial in sweep.trials.values()}
    assert set(_statuses(tmp_path)) <= {"KILLED", "FINISHED"}


def _wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)


def _statuses(folder):
    from tuner.mlflow_store import open_client

    client = open_client(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("vae-tuner")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]
