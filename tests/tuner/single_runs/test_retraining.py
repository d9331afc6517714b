"""What `train` tells of its data before it trains."""

import pytest

from trainables.paths import parse_config
from tuner.single_runs.retraining import retrain

SOFT = "data.binarize soft: gray values under a Bernoulli likelihood are never ranked with bits"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_notes_are_told_before_the_first_epoch(uri, vae_data_root, capsys):
    told = []
    config = parse_config({"data": {"binarize": "soft"}, "epochs": 1, "threads": 1})
    retrain(config, uri, "vae-tuner", vae_data_root, told.append, told.append)
    notes, report = told
    assert report.epoch == 1
    assert "likelihood bernoulli (gray values taken as they are)" in notes[0]
    assert {"data.name: digits is the built-in set; the folder here is ./digits", SOFT} <= set(notes)
    assert capsys.readouterr() == ("", "")
