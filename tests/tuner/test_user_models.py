"""Where a user's code is imported: where the user names it, and nowhere else."""

import sys

import numpy as np
import pytest
from events import parsed

import tuner
from trainables.config.paths import parse_config
from trainables.errors import ConfigError, UserError
from tuner.running.single_run import retrain
from tuner.sweeps.spec import parse_spec
from tuner.tracking.best import best
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.params import to_params
from tuner.tracking.projection import Projection

CONV = {"model": {"kind": "conv", "channels": [8, 8, 8, 8]}}
TOO_MANY = (
    "model.channels: 4 stages that each halve an image of 8×8 leave nothing; allowed: at most 3 here; shorten the list"
)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path, vae_data_root):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
    return tmp_path


def spec(kind, space=None, **model):
    return {
        "config": {"model": {"kind": kind, "latent_dim": 3, **model}, "epochs": 2},
        "space": space or {"lr.base": {"float": [1e-4, 1e-2]}},
    }


def test_a_plan_tries_the_model_and_tells_its_size(nets):
    width = {"model.kwargs.width": {"int": [8, 64], "log": True}}
    plan = tuner.plan(spec(f"{nets}:make", width))
    width = plan.default.model.kwargs["width"]
    n = (64 * width + width) + (width * 6 + 6) + (3 * width + width) + (width * 64 + 64)
    assert f"{nets}:make: {n:,} parameters" in plan.notes


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("raises", "raised ValueError: 16 heads do not divide 40 ("),
        ("dropout", "two calls on the same input differ; remove Dropout and own random draws"),
        ("mkae", "has no function mkae; did you mean"),
    ],
)
def test_a_plan_refuses_what_cannot_be_trained(factory, told, nets):
    with pytest.raises(ConfigError) as error:
        tuner.plan(spec(f"{nets}:{factory}"))
    assert str(error.value).startswith("model.kind: ")
    assert told in str(error.value)


def test_a_plan_tries_every_model_of_the_users_that_it_can_draw(nets):
    kinds = {"model.kind": {"choice": ["mlp", f"{nets}:make", f"{nets}:dropout"]}}
    with pytest.raises(ConfigError) as error:
        tuner.plan({"config": {"epochs": 2}, "space": kinds})
    assert str(error.value).startswith(f"model.kind: {nets}:dropout: two calls")


def test_a_plan_refuses_more_stages_than_the_image_has(folder):
    with pytest.raises(ConfigError) as error:
        tuner.plan({"config": CONV, "space": "lr"})
    assert str(error.value) == TOO_MANY


def test_a_plan_refuses_conv_for_vectors(folder):
    np.save(folder / "vectors.npy", np.random.default_rng(0).random((60, 6)))
    config = {"data": {"name": "vectors.npy"}, "model": {"kind": "conv"}, "batch_size": 16}
    with pytest.raises(
        ConfigError, match="conv needs images of H×W or C×H×W, these examples are of 6 numbers; use mlp"
    ):
        tuner.plan({"config": config, "space": "lr"})


@pytest.mark.parametrize("name", ["raises", "exits", "dropout", "NoParameters", "ExitsInEncode"])
def test_train_refuses_before_it_trains(name, nets, uri):
    with pytest.raises(ConfigError, match=rf"^model\.kind: {nets}:{name}"):
        retrain(parse_config({"model": {"kind": f"{nets}:{name}"}, "epochs": 1}), uri)


def test_train_refuses_more_stages_than_the_image_has(uri):
    with pytest.raises(ConfigError) as error:
        retrain(parse_config({**CONV, "epochs": 1}), uri)
    assert str(error.value) == TOO_MANY


def test_a_trained_model_is_loaded_where_its_factory_is_named_again(nets, uri):
    """From MLflow, whose records name code, nothing is imported that the caller does not name."""
    kind = f"{nets}:make"
    config = parse_config({"model": {"kind": kind, "kwargs": {"width": 9}}, "epochs": 1})
    run_id = retrain(config, uri).run_id
    del sys.modules[nets]
    with pytest.raises(UserError) as error:
        tuner.load(run_id, tracking_uri=uri)
    assert f'allow it with load(…, model="{kind}")' in str(error.value)
    assert nets not in sys.modules
    vae = tuner.load(run_id, tracking_uri=uri, model=kind)
    assert vae.config.model.kwargs == {"width": 9}
    assert vae.sample(2).shape == (2, 8, 8)


def test_a_spec_and_its_parameters_import_nothing(nets):
    tree = spec(f"{nets}:make", kwargs={"width": 7})
    parse_spec(tree)
    to_params(parse_config(tree["config"]).model_dump(mode="json"))
    assert nets not in sys.modules


def test_arguments_in_a_spec_keep_their_names(nets):
    with pytest.raises(ConfigError, match=r"^model\.kwargs: 'a\.b' is not allowed as the name of an argument"):
        parse_spec(spec(f"{nets}:make", kwargs={"a.b": 1}))


def test_best_imports_nothing(nets, uri, written_journal):
    journal = written_journal()
    model = {"kind": f"{nets}:make", "kwargs": {"width": "7", "depth": 7}}
    journal.trial("0000", [-1.0], "completed", {"model": model})
    Projection(open_client(uri), "vae-tuner").project(parsed(journal.events))
    assert best(uri)[0].config.model.kwargs == model["kwargs"]
    assert nets not in sys.modules
