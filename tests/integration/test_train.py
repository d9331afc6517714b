"""`vae-tuner train` as it is typed."""

import json


def test_what_was_settled_of_the_data_is_told_on_stderr(tmp_path, cli):
    (tmp_path / "digits").mkdir()
    (tmp_path / "mine.yaml").write_text("{epochs: 1, threads: 1, data: {name: digits}}")
    done = cli(tmp_path, "train", "mine.yaml", "--format", "json")
    assert done.code == 0, done.err
    assert "likelihood gaussian (the values are gray)" in done.err
    assert "data.name: digits is the built-in set; the folder here is ./digits" in done.err
    assert json.loads(done.out)["config"]["data"]["likelihood"] == "gaussian"


def test_a_model_that_exits_is_one_sentence(nets, tmp_path, mistake):
    (tmp_path / "mine.yaml").write_text(f"{{epochs: 1, model: {{kind: '{nets}:exits'}}}}")
    assert mistake(tmp_path, "train", "mine.yaml").startswith(f"model.kind: {nets}:exits raised SystemExit: 3 (")
