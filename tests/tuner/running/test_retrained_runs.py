"""The runs that `train` makes in MLflow."""

import shutil
import time
from pathlib import Path

import pytest
import yaml
from events import parsed

import tuner
from trainables.config.paths import parse_config
from trainables.errors import UserError
from tuner.cli.tables import exported
from tuner.running.single_run import retrain
from tuner.tracking.best import best
from tuner.tracking.configurations import config_of
from tuner.tracking.mlflow_store import Tag, ensure_experiment, find_runs, has_tags, open_client
from tuner.tracking.projection import Projection
from tuner.tracking.run_files import RunFiles


def test_a_retrained_run_is_found_by_its_sweep_and_took_as_long_as_it_took(uri, vae_data_root, written_journal):
    journal = written_journal("faces")
    tree = {"data": {"n_train": 64}, "epochs": 2, "model": {"hidden": [8]}, "threads": 1, "seed": 3}
    journal.trial("0000", [-1.0], "completed", tree)
    client = open_client(uri)
    Projection(client, "vae-tuner").project(parsed(journal.events))
    before = time.time()
    file = yaml.safe_load(exported(best(uri)[0]))
    retrained = tuner.train(file, tracking_uri=uri, data_dir=vae_data_root)
    after = time.time()
    of_sweep = has_tags({Tag.SWEEP: "faces", Tag.SWEEP_ID: "id-of-faces", Tag.TRIAL: "0000", Tag.KIND: "retrain"})
    (run,) = find_runs(client, ensure_experiment(client, "vae-tuner"), of_sweep)
    assert (run.info.run_id, run.info.run_name) == (retrained.run_id, "faces-0000-seed-3")
    assert before <= run.info.start_time / 1000 <= run.info.end_time / 1000 <= after
    points = client.get_metric_history(run.info.run_id, "time/epoch_s")
    took = sum(point.value for point in points)
    assert run.info.end_time - run.info.start_time >= 1000 * took
    assert [point.step for point in sorted(points, key=lambda point: point.timestamp)] == [1, 2]
    assert config_of(client, run) == retrained.config
    assert [row.run_id for row in best(uri, top=5)] != [retrained.run_id], "it is no trial"


def test_what_mlflow_does_not_take_is_kept_and_one_sentence(uri, vae_data_root, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied: http://me:SECRET@host")

    monkeypatch.setattr(RunFiles, "send_text", refuse)
    config = parse_config({"data": {"n_train": 64}, "epochs": 1, "model": {"hidden": [8]}, "threads": 1})
    with pytest.raises(UserError, match=r"did not accept the run: .*Permission denied.*its files are in ") as refusal:
        retrain(config, uri, "vae-tuner", vae_data_root)
    folder = Path(str(refusal.value).rpartition(" ")[2])
    assert tuner.load(folder / "checkpoint.safetensors").config.epochs == 1
    assert "SECRET" not in str(refusal.value)
    shutil.rmtree(folder)
