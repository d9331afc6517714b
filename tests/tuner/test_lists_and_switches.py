"""Depths, widths and switches as dimensions, from the file to the figures: each keeps the type it was written in."""

import json
import sys
from typing import get_args

import pytest
import torch
import yaml

from search_spaces.domains import Choice
from search_spaces.space import Space
from trainables.config.paths import flatten, parse_config, plain
from trainables.models import build_model
from tuner.reports.figures.sweep import FIGURES, importances
from tuner.sweeps.spec import Search
from tuner.sweeps.status import known_sweep
from tuner.tracking.conditions import matches, parse_conditions
from tuner.tracking.params import to_params

MLP = {"kind": "mlp"}
SAMPLERS = get_args(Search.model_fields["sampler"].annotation)
SPACE = yaml.safe_load(
    """
model.hidden: {choice: [[16], [24, 16], [8, 8, 8]]}
model.learn_sigma: {choice: [true, false]}
lr.base: {float: [1e-4, 1e-2], log: true}
beta.end: {float: [0.5, 2], when: {model.learn_sigma: false}}
model.latent_dim: {int: [2, 6], when: {model.hidden: [24, 16]}}
"""
)
NET = """
import torch
def make(shape, latent_dim, wide=False, layers=[], norm=None, code="8"):
    assert isinstance(wide, bool) and isinstance(layers, list) and isinstance(code, str), (wide, layers, code)
    d, h = shape[0] * shape[1], 24 if wide else 8
    net = torch.nn.Module()
    net.encoder = torch.nn.Sequential(torch.nn.Linear(d, h), torch.nn.ReLU(), torch.nn.Linear(h, 2 * latent_dim))
    net.decoder = torch.nn.Linear(latent_dim, d)
    net.encode = lambda x: net.encoder(x.flatten(1)).chunk(2, 1)
    net.decode = lambda z: net.decoder(z)
    return net
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The kind of a model of the user's, of a module that no other test has imported."""
    name = f"nets_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield f"{name}:make"
    sys.modules.pop(name, None)


@pytest.fixture
def asked(sweeps):
    """The events of the trials that a sweep of a space has asked for."""

    def make(name, **paths):
        sweeps.run(name, **{"space": SPACE, "search.trials": 16, "scheduler.kind": "none", **paths})
        return [event for event in sweeps.events(name) if event["event"] == "ask"]

    return make


# --- a plan takes them, and a sweep trains what they say (verdict of field-07) ----------------------------------------


@pytest.mark.parametrize(
    ("path", "options", "model"),
    [
        ("model.hidden", [[128], [256, 128], [64, 64, 64]], MLP),
        ("model.channels", [[16, 32], [32, 64, 64]], {"kind": "conv"}),
        ("model.learn_sigma", [True, False], MLP),
        ("model.learn_sigma", ["true", "false"], MLP),
        ("model.kwargs.wide", [True, False], {}),
        ("model.kwargs.layers", [[], [3], [3, [4, True]]], {}),
        ("model.kwargs.norm", [None, "group", 4], {}),
        ("model.kwargs.code", ["8", "08"], {}),
    ],
)
def test_each_option_reaches_the_trials_in_its_own_type(path, options, model, asked, net):
    space = {path: {"choice": options}}
    events = asked(
        "s", space=space, **{"config.model": {"latent_dim": 4, **(model or {"kind": net})}, "search.sampler": "grid"}
    )
    drawn = [event["assignment"][path] for event in events]
    assert sorted(map(json.dumps, drawn)) == sorted(map(json.dumps, options))
    for event in events:
        value = event["assignment"][path]
        expected = value == "true" if value in ("true", "false") else value  # a field's words for a switch
        assert json.dumps(flatten(event["config"])[path]) == json.dumps(expected)


def test_the_models_of_a_switch_differ(sweeps, net):
    space = {"model.kwargs.wide": {"choice": [True, False]}}
    plan = sweeps.plan("s", space=space, **{"config.model": {"kind": net, "latent_dim": 4}})
    models = [build_model(plan.resolved({"model.kwargs.wide": wide}).model, (1, 8, 8)) for wide in (True, False)]
    wide, narrow = (sum(value.numel() for value in model.init(0, torch.device("cpu")).values()) for model in models)
    assert wide > narrow


# --- every sampler, the journal, a resume, warm starts ----------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_them_under_their_conditions_and_goes_on_where_it_was_cut(sampler, asked, sweeps):
    events = asked("whole", **{"search.sampler": sampler})
    space = Space.parse(SPACE)
    for event in events:
        assignment = event["assignment"]
        assert list(assignment) == space.active(assignment)
        assert all(space.dimensions[path].contains(value) for path, value in assignment.items())
        assert ("beta.end" in assignment) is (assignment["model.learn_sigma"] is False)
        assert ("model.latent_dim" in assignment) is (assignment["model.hidden"] == [24, 16])
        assert event["config"]["model"]["hidden"] == assignment["model.hidden"]
    assert {len(event["assignment"]["model.hidden"]) for event in events} == {1, 2, 3}
    sweeps.cut("whole", 30)
    sweeps.resume("whole")
    again = [event for event in sweeps.events("whole") if event["event"] == "ask"]
    assert [event["assignment"] for event in again] == [event["assignment"] for event in events]


def test_a_warm_start_and_given_trials_take_them(asked, sweeps):
    first = asked("first")
    plan = sweeps.plan("second", **{"space": SPACE, "search.warm_start": ["first"]})
    assert len(plan.priors) == len(first)
    assert plan.priors[0].assignment == first[0]["assignment"]
    points = [{"model.hidden": [16, 8], "model.learn_sigma": True}, {"model.hidden": [4], "model.learn_sigma": False}]
    given = asked("given", **{"search.points": points})
    assert [event["assignment"] for event in given] == points


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_figures_and_importance_take_them(asked, sweeps):
    asked("s", **{"search.trials": 24})
    sweep = known_sweep(sweeps.storage, "s")
    space = Space.parse(sweep.header["space"])
    assert set(importances(sweep, space)) == {"model.hidden", "model.learn_sigma", "lr.base"}
    texts = {
        text.get_text()
        for name in ("parallel", "slices")
        for axes in FIGURES[name].draw(sweep, space).axes
        for text in (*axes.texts, *axes.get_xticklabels())
    }
    assert {"[24, 16]", "true", "false"} <= texts
    assert '"[24, 16]"' not in texts


def test_parameters_and_conditions_speak_of_them_as_they_were_written():
    tree = {"model": {"kind": "nets:make", "kwargs": {"layers": [3, 4], "wide": True, "act": "tanh"}}}
    params = to_params(plain(parse_config(tree)))
    for text in ("layers = [3,4]", "layers = '[3, 4]'", "layers != [3]", "wide = true", "act = tanh", "act != relu"):
        assert matches(parse_conditions(f"model.kwargs.{text}"), {}, params), text
    for text in ("layers = [4,3]", "layers != '[3,4]'", "wide = false", "act = relu"):
        assert not matches(parse_conditions(f"model.kwargs.{text}"), {}, params), text
    hidden = to_params(plain(parse_config({"model": {"hidden": [256, 128]}})))
    assert matches(parse_conditions("model.hidden = [256,128]"), {}, hidden)


def test_a_space_shows_them_as_they_were_written():
    rows = {row.path: row for row in Space.parse(SPACE).describe()}
    assert rows["model.hidden"].varies == "[16] | [24, 16] | [8, 8, 8]"
    assert rows["model.learn_sigma"].varies == "true | false"
    assert rows["beta.end"].condition == "model.learn_sigma = false"
    assert rows["model.latent_dim"].condition == "model.hidden = [24, 16]"
    assert isinstance(Space.parse(SPACE).dimensions["model.hidden"], Choice)
