"""A model's module that was edited is noticed wherever its numbers would be set beside others."""

import json
from zipfile import ZipFile

import pytest
from events import parsed

import tuner
from trainables.config.paths import parse_config
from trainables.errors import ConfigError, UserError
from trainables.source import code_digest
from trainables.worker.results import write_results
from tuner.comparison.finished_sweeps import read_finished_sweeps
from tuner.reports.zip_file import export
from tuner.running.single_run import make_ready
from tuner.sweeps.status import known_sweep
from tuner.tracking.identity_tags import identity_of
from tuner.tracking.mlflow_store import Tag, find_runs, open_client
from tuner.tracking.projection import Projection

TINY = {"epochs": 1, "threads": 1, "device": "cpu", "data": {"n_train": 128}}


@pytest.fixture
def own(sweeps, nets, tmp_path):
    """own(name, further paths) runs a sweep over a user's model."""

    def run(name, **paths):
        further = {"config.data.n_train": 128, "scheduler.kind": "none", **paths}
        return sweeps.run(name, **{"config.model.kind": f"{nets}:make", **further})

    return run


@pytest.fixture
def edit(nets, tmp_path):
    """edit() changes the module's source, to the same parameters."""
    file = tmp_path / f"{nets}.py"
    return lambda: file.write_text(f"{file.read_text()}\n# another activation\n")


def test_a_resume_with_other_code_is_refused_or_recorded(own, edit, sweeps, nets, tmp_path, uri):
    own("s")
    kind, first = f"{nets}:make", code_digest(nets, tmp_path)
    assert sweeps.events("s")[0]["code"] == {kind: first}
    edit()
    second = code_digest(nets, tmp_path)
    with pytest.raises(UserError) as error:
        sweeps.resume("s", more_trials=1, model=kind)
    assert str(error.value) == (
        f"sweep s cannot go on: the code of {kind} is not that it had (digest {second} here, {first} there); put back "
        "what it had, or go on anyway with --allow-changed"
    )
    sweeps.resume("s", more_trials=1, model=kind, allow_changed=True)
    sweep = known_sweep(sweeps.storage, "s")
    assert [trial.code for trial in sweep.trials.values()] == [[first]] * 4 + [[second]]
    assert len(sweep.changed) == 1
    Projection(open_client(uri), "vae-tuner").project(parsed(sweeps.events("s")))
    runs = {run.data.tags.get(Tag.TRIAL): run.data.tags for run in find_runs(open_client(uri), "1", "")}
    assert json.loads(runs[None][Tag.CODE]) == {kind: f"{first}, {second}"}
    assert runs["0000"][Tag.CODE] == first
    assert identity_of(runs["0004"], kind) == sweep.trials["0004"].identity
    own("t")
    Projection(open_client(uri), "vae-tuner").project(parsed(sweeps.events("t")))
    with pytest.raises(UserError, match=r"trials that differ in the code of .* --allow-changed$"):
        tuner.best(tracking_uri=uri)


def test_a_warm_start_and_a_page_of_other_code_are_refused(own, edit, sweeps):
    own("old")
    edit()
    with pytest.raises(ConfigError, match=r"search\.warm_start: the code of .* is not that of sweep old \(digest "):
        own("new", **{"search.warm_start": ["old"]})
    own("new")
    with pytest.raises(UserError, match=r"sweeps: they differ in the code of .* with --allow-changed"):
        read_finished_sweeps(sweeps.storage, ["old", "new"])
    assert read_finished_sweeps(sweeps.storage, ["old", "new"], allow_changed=True).changed


def test_a_model_is_loaded_with_a_word_where_its_code_is_another_now(nets, edit, tmp_path, vae_data_root):
    kind = f"{nets}:make"
    trainer = make_ready(parse_config({**TINY, "model": {"kind": kind}}), vae_data_root).trainer
    assert trainer.identity.code == {kind: code_digest(nets, tmp_path)}
    trainer.train_epoch()
    write_results(tmp_path / "made", trainer)
    tuner.load(tmp_path / "made" / "checkpoint.safetensors", model=kind)  # warnings are errors here
    edit()
    with pytest.warns(UserWarning, match=rf"the code of {kind} is not that of the trained model \(digest"):
        tuner.load(tmp_path / "made" / "checkpoint.safetensors", model=kind)


@pytest.mark.parametrize("state", ["edited", "gone"])
def test_of_several_models_each_is_packed_or_named_by_itself(state, sweeps, nets, tmp_path):
    other = tmp_path / f"{nets}_too.py"
    other.write_bytes((tmp_path / f"{nets}.py").read_bytes())
    kinds = [f"{nets}:make", f"{nets}_too:make"]
    sweeps.run("s", space={"model.kind": {"choice": kinds}}, **{"config.data.n_train": 128, "search.sampler": "grid"})
    if state == "gone":
        other.unlink()
    else:
        other.write_text(f"{other.read_text()}\n# another activation\n")
    with ZipFile(export(sweeps.storage, "s", tmp_path / "s.zip").file) as zipped:
        names, text = zipped.namelist(), zipped.read("s/README.txt").decode()
    why = {"edited": "it is not what the sweep ran any more", "gone": "it does not lie in the folder from which"}
    assert f"s/code/{nets}.py" in names
    assert f"s/code/{nets}_too.py" not in names
    assert f"The code of {kinds[1]} is not in this file: {why[state]}" in text
    assert f"The code of {kinds[0]}" not in text


@pytest.mark.parametrize("state", ["same", "edited", "gone"])
def test_a_packed_sweep_holds_the_code_that_it_ran(state, own, edit, sweeps, nets, tmp_path):
    own("s")
    ran = (tmp_path / f"{nets}.py").read_bytes()
    if state == "edited":
        edit()
    if state == "gone":
        (tmp_path / f"{nets}.py").unlink()
    with ZipFile(export(sweeps.storage, "s", tmp_path / "s.zip").file) as zipped:
        found = {name: zipped.read(name) for name in zipped.namelist()}
    text = found["s/README.txt"].decode()
    assert found.get(f"s/code/{nets}.py") == (ran if state == "same" else None)
    assert (f"The code of {nets}:make is not in this file" in text) == (state != "same")
    assert ("  code/ " in text) == (state == "same")
