"""`best` as a user asks it: conditions, fronts, pictures and the registry, on a real sweep."""

import json

import pytest
import torch
import yaml

import tuner

MISTAKES = {
    "best --where val/k<8": "--where: 'val/k' is neither a metric nor a configuration path; did you mean `val/kl`?",
    "best --where val/kl<8_or_val/kl>9": "--where: at character 10 `or` is not supported; join comparisons with `and`",
    "best --pareto val/mse": "--pareto val/mse: give two or more different metrics, as in --pareto val/mse,val/kl",
    "best --pareto ,": "--pareto ,: give two or more different metrics",
    "best --pareto val/mse,val/kl --metric val/kl": "--metric val/kl: a Pareto front is ordered by the first metric",
    "best --plot front.png": "--plot shows a Pareto front; name its metrics, as in --pareto val/mse,val/kl",
    "best --pareto val/mse,val/kl --plot front.pdf": "--plot front.pdf: the file must end in .png",
    "best --export best.txt": "--export best.txt: the file must end in .yaml",
    "best --register a/b": "--register 'a/b': a model's name has 1 to 256 characters",
    "best --tracking-uri sqlite:///empty.db": "{folder}/empty.db is not an MLflow database; pass the store",
    "train sweep.yaml": "sweep.yaml describes a sweep, not one configuration; run it with `vae-tuner sweep sweep.yaml`",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(line, tmp_path, mistake):
    (tmp_path / "empty.db").touch()
    (tmp_path / "sweep.yaml").write_text("space: geco\nsearch: {trials: 3}")
    said = mistake(tmp_path, *(word.replace("_", " ") for word in line.split()))
    assert said.startswith(MISTAKES[line].format(folder=tmp_path))


@pytest.mark.cluster
def test_a_front_is_printed_drawn_and_exported(swept, cli):
    folder = swept[0]
    question = ["best", "--pareto", "val/mse,val/kl", "--plot", "front.png", "--export", "front.yaml"]
    done = cli(folder, *question, "--format", "json")
    rows = json.loads(done.out)
    points = [(row["metrics"]["val/mse"], row["metrics"]["val/kl"]) for row in rows]
    assert points == sorted(points)
    assert [kl for _, kl in points] == sorted((kl for _, kl in points), reverse=True)
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    exported = (folder / "front.yaml").read_text()
    config = yaml.safe_load(exported)
    assert config.pop("origin")["run_id"] == rows[0]["run_id"]
    assert config == rows[0]["config"]
    origin = f"# sweep {rows[0]['sweep']}, trial {rows[0]['trial']}, MLflow run {rows[0]['run_id']}\n"
    assert exported.startswith(f"{origin}# val/mse: {rows[0]['metrics']['val/mse']!r}\n")
    assert f"trial {rows[0]['trial']}" in done.err
    shown = cli(folder, *question[:3]).out
    assert "Pareto set of val/mse, val/kl (sweep geco-vs-annealing-digits-1)" in shown
    assert "val/kl rewards" in shown
    assert len(json.loads(cli(folder, *question[:3], "--top", "1", "--format", "json").out)) == 1


@pytest.mark.cluster
def test_conditions_choose_on_the_command_line(swept, result, cli):
    question = ["best", "--top", "9", "--format", "json", "--where"]
    rows = json.loads(cli(swept[0], *question, f"trial = {result['best']['trial']} and val/kl > 0").out)
    assert [row["trial"] for row in rows] == [result["best"]["trial"]]
    done = cli(swept[0], *question, "val/kl < 0")
    assert (done.code, done.out) == (1, "")
    assert "meets --where val/kl < 0" in done.err
    assert "--include-pruned" in done.err


@pytest.mark.cluster
def test_the_best_model_is_registered_and_loaded_by_its_alias(swept, result, cli, monkeypatch):
    first = cli(swept[0], "best", "--top", "1", "--register", "digits", "--format", "json")
    assert json.loads(first.out)[0]["run_id"] == result["best"]["run_id"]
    assert "as digits version 1, alias champion" in first.err
    assert 'tuner.load("models:/digits@champion")' in first.err
    assert "Already registered" in cli(swept[0], "best", "--top", "1", "--register", "digits").err
    monkeypatch.chdir(swept[0])
    same = tuner.load(result["best"]["run_id"])
    assert torch.equal(tuner.load("models:/digits@champion").sample(2, seed=0), same.sample(2, seed=0))
