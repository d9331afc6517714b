import shutil
from pathlib import Path

import pytest
import torch
from events import parsed
from tracking_server import TrackingServer

import tuner
from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts, load
from trainables.errors import UserError
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.worker.results import write_results
from tuner.sweeps.yaml_files import read_yaml
from tuner.tracking.best import best
from tuner.tracking.mlflow_store import Tag, open_client
from tuner.tracking.projection import Projection
from tuner.tracking.registry import register, run_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory, vae_data_root):
    """The files of two trials that completed."""
    folder = tmp_path_factory.mktemp("trials")
    for trial, seed in (("0000", 0), ("0001", 1)):
        config = parse_config({"data": {"n_train": 64}, "model": {"latent_dim": 2, "hidden": [8]}, "seed": seed})
        config = resolve(config, data_facts(config.data, vae_data_root))
        trainer = Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))
        trainer.train_epoch()
        write_results(folder / trial, trainer)
    return folder


def project(uri, journal, trained):
    for trial, value in (("0000", -2.0), ("0001", -1.0)):
        journal.trial(trial, [value], "completed", read_yaml(trained / trial / "config.yaml"))
    journal.trial("0002", [-0.5], "pruned")
    Projection(open_client(uri), "vae-tuner", trained).project(parsed(journal.events))
    return best(uri, top=5, include_pruned=True)


@pytest.fixture
def rows(uri, written_journal, trained):
    """The trials of a store: a pruned one, then the completed ones, best first."""
    return project(uri, written_journal(), trained)


def state_of(uri, name):
    client = open_client(uri)
    versions = {int(version.version): version for version in client.search_model_versions(f"name = '{name}'")}
    return versions, client.get_registered_model(name).aliases


def check_registered(uri, rows):
    """The whole life of a registered model."""
    _, first, second = rows
    made = register(uri, second, "digits vae")
    assert (made.name, made.version, made.alias, made.is_new) == ("digits vae", 1, "champion", True)
    assert register(uri, first, "digits vae").version == 2
    versions, aliases = state_of(uri, "digits vae")
    assert aliases == {"champion": 2} or aliases == {"champion": "2"}
    assert {number: version.run_id for number, version in versions.items()} == {1: second.run_id, 2: first.run_id}
    assert versions[2].tags == {
        Tag.SWEEP: "s",
        Tag.TRIAL: "0001",
        Tag.METHOD: "elbo",
        Tag.METRIC: "val/elbo_cal",
        Tag.VALUE: "-1.0",
    }
    again = register(uri, second, "digits vae")
    assert (again.version, again.is_new) == (1, False)
    assert len(state_of(uri, "digits vae")[0]) == 2
    seeds = {
        source: tuner.load(source, tracking_uri=uri).config.seed
        for source in (made.uri, "models:/digits vae/1", "models:/digits vae/2", "models:/digits vae")
    }
    assert list(seeds.values()) == [0, 0, 1, 1]


def test_a_run_is_one_version_and_the_alias_follows_the_last_asked_for(uri, rows):
    check_registered(uri, rows)


def test_a_registered_model_is_the_trials_model(uri, rows, trained):
    register(uri, rows[1], "m")
    model, same = (
        tuner.load("models:/m@champion", tracking_uri=uri),
        tuner.load(trained / "0001/checkpoint.safetensors"),
    )
    assert plain(model.config) == plain(same.config)
    assert torch.equal(model.sample(3, seed=0), same.sample(3, seed=0))


def test_files_that_are_not_of_the_run_are_neither_loaded_nor_registered(uri, rows, trained):
    _, first, second = rows
    folder = Path(open_client(uri).get_run(first.run_id).info.artifact_uri)
    shutil.copy(trained / "0000" / "checkpoint.safetensors", folder)
    with pytest.raises(UserError, match=rf"checkpoint\.safetensors of run {first.run_id} is not this run's"):
        tuner.load(first.run_id, tracking_uri=uri)
    tuner.load(second.run_id, tracking_uri=uri)
    shutil.copy(trained / "0000" / "config.yaml", folder)
    wrong = rf"config\.yaml of run {first.run_id} \(trial 0001 of sweep s\) is not what was trained.*`vae-tuner sync s`"
    with pytest.raises(UserError, match=wrong):
        tuner.load(first.run_id, tracking_uri=uri)
    with pytest.raises(UserError, match=wrong):
        register(uri, best(uri)[0], "m")


def test_one_run_may_have_several_names(uri, rows):
    assert [register(uri, rows[1], name).version for name in ("one", "two", "one")] == [1, 1, 1]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a:b", "a@b", "a\nb", "x" * 257])
def test_a_name_that_cannot_be_is_refused_before_anything_is_made(name, uri, rows):
    with pytest.raises(
        UserError, match=r"--register .*: a model's name has 1 to 256 characters, and no '/', ':' or '@'"
    ):
        register(uri, rows[1], name)
    assert open_client(uri).search_registered_models() == []


def test_a_trial_without_a_checkpoint_is_not_registered(uri, rows):
    with pytest.raises(UserError, match=r"has no checkpoint\.safetensors; only trials that completed"):
        register(uri, rows[0], "m")
    assert open_client(uri).search_registered_models() == []


def test_what_mlflow_refuses_is_one_sentence(uri, rows):
    client = open_client(uri)
    client.register_prompt("taken", "a prompt {{ x }}")
    with pytest.raises(UserError, match=r"--register 'taken': MLflow refuses: .*") as refusal:
        register(uri, rows[1], "taken")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("models:/digit@champion", r"model 'digit' is not registered in sqlite:.*; did you mean `digits`"),
        ("models:/digits/7", "model 'digits' has no version 7; its latest is 1"),
        ("models:/digits@best", "model 'digits' has no alias 'best'; known: champion"),
        ("models:/digits/Production", "names no registered model; write models:/NAME@ALIAS"),
        ("models:/", "names no registered model"),
        ("models:/digits@", "names no registered model"),
    ],
)
def test_what_is_not_registered_is_named_with_what_is(source, message, uri, rows):
    register(uri, rows[1], "digits")
    with pytest.raises(UserError, match=message):
        tuner.load(source, tracking_uri=uri)


def test_an_empty_registry_says_how_to_fill_it(uri):
    with pytest.raises(
        UserError, match=r"model 'our m' is not registered in .*; `vae-tuner best --register 'our m'` registers one"
    ):
        run_of(uri, "models:/our m")


def test_a_version_that_others_made_without_a_run_is_named(uri, tmp_path):
    client = open_client(uri)
    client.create_registered_model("foreign")
    with pytest.raises(UserError, match="model 'foreign' has no version 0"):
        run_of(uri, "models:/foreign")
    client.create_model_version("foreign", str(tmp_path))
    with pytest.raises(UserError, match="version 1 of model 'foreign' was not made from a run"):
        run_of(uri, "models:/foreign")


@pytest.fixture
def server(migrated_database, tmp_path, environment):
    with TrackingServer(tmp_path, environment, migrated_database) as started:
        yield started.wait().uri


@pytest.mark.slow
def test_a_server_keeps_registered_models_too(server, written_journal, trained):
    check_registered(server, project(server, written_journal(), trained))
