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
    assert not [note for note in notes if note.startswith("learning rate")]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        ({}, "0.017 = lr.base 0.006 × 2.83 (square-root scaling, batch 256 over base batch 32)"),
        ({"scaling": "linear"}, "0.048 = lr.base 0.006 × 8 (linear scaling, batch 256 over base batch 32)"),
    ],
)
def test_the_learning_rate_that_is_used_is_told(lr, said, uri, vae_data_root):
    """And is the one of the first report."""
    told = []
    config = parse_config({"batch_size": 256, "epochs": 1, "threads": 1, "lr": lr})
    retrained = retrain(config, uri, "vae-tuner", vae_data_root, told.append, told.append)
    notes, report = told
    assert f"learning rate {said}" in notes
    assert report.metrics["schedule/lr"] == pytest.approx(float(said.split()[0]), rel=2e-3)
    assert retrained.config.lr.scaling == ("linear" if lr else "sqrt")
