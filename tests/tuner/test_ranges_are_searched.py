"""A range that the user wrote is searched, or refused, or left out by something that says so."""

import csv

import pytest
import yaml

import tuner
from trainables.errors import ConfigError
from tuner.cli.options import overlaid_spec
from tuner.cli.setup import STARTER
from tuner.planning.plans import make_plan
from tuner.running.handing_out import HandingOut
from tuner.sweeps.spec import parse_spec, spec_yaml, sweep_tree
from tuner.sweeps.state import fold

RANGE = {"float": [1e-3, 1e-2]}
FIXED = {"epochs": 2, "lr": {"base": 0.002}}
BOTH = {"config": FIXED, "space": {"lr.base": RANGE, "beta.end": {"float": [0.5, 1]}}}


def plan_of(tree, data_dir):
    return make_plan(parse_spec(tree), data_dir)


@pytest.mark.parametrize(
    ("path", "domain", "config", "places"),
    [
        ("lr.base", RANGE, {"lr": {"base": 0.002}}, ('{"float": [0.001, 0.01]}', "0.002")),
        ("lr.base", RANGE, {"lr.base": 0.002}, ('{"float": [0.001, 0.01]}', "0.002")),
        ("model.hidden", {"choice": [[8]]}, {"model": {"hidden": [16]}}, ('{"choice": [[8]]}', "[16]")),
        (
            "model.kwargs.wide",
            {"choice": [True]},
            {"model": {"kind": "nets:make", "kwargs": {"wide": False}}},
            ('{"choice": [true]}', "false"),
        ),
    ],
)
def test_a_file_that_searches_and_fixes_a_path_is_refused_with_both_places(path, domain, config, places, tmp_path):
    tree = {"config": config, "space": {"use": ["linear"], path: domain}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(tree))
    for read in (lambda: overlaid_spec(tmp_path / "s.yaml", None), lambda: tuner.plan(tree)):
        with pytest.raises(ConfigError) as error:
            read()
        assert str(error.value) == (
            f"{path} is searched under space ({places[0]}) and fixed under config ({places[1]}); leave one of the two "
            "out"
        )


@pytest.mark.parametrize("path", ["epochs", "data.n_train"])
def test_what_must_be_the_same_for_all_trials_is_said_to_be_so(path):
    config = {"epochs": 2, "data": {"n_train": 64}}
    with pytest.raises(ConfigError, match=f"^space: {path} must be the same for all trials; leave it to config$"):
        sweep_tree({"config": config, "space": {path: {"int": [1, 9]}}})


@pytest.mark.parametrize(
    ("space", "options", "settings"),
    [
        ({"lr.base": RANGE, "beta.end": {"float": [0.5, 1]}}, {}, ["lr.base=2e-3"]),
        ({"use": ["linear"], "lr.base": RANGE}, {}, ["lr.base=0.002"]),
        ({"use": ["clr"]}, {}, ["lr.base=5e-4"]),
        ({"beta.end": {"float": [0.5, 1]}, "model.kind": {"choice": ["mlp", "conv"]}}, {"model": "mlp"}, []),
    ],
)
def test_an_option_fixes_what_the_file_searches_and_the_plan_says_so(space, options, settings, tmp_path, vae_data_root):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"config": {"epochs": 2}, "space": space}))
    spec = overlaid_spec(tmp_path / "s.yaml", settings, **options)
    path = "model.kind" if options else "lr.base"
    plan = make_plan(spec, vae_data_root)
    assert path not in plan.space.dimensions
    assert f"{path} is fixed by the configuration and not searched" in plan.notes
    again = tmp_path / "again.yaml"
    again.write_text(spec_yaml(spec))
    assert make_plan(overlaid_spec(again, None), vae_data_root).space == plan.space


def test_a_value_beside_a_named_space_fixes_its_path_and_the_plan_says_so(vae_data_root):
    tree = {"config": {"epochs": 2, "lr": {"base": 5e-4}}, "space": {"use": ["clr"], "beta.end": {"float": [0.5, 1]}}}
    plan = plan_of(sweep_tree(tree), vae_data_root)
    assert "lr.base" not in plan.space.dimensions
    assert "lr.base is fixed by the configuration and not searched" in plan.notes


def test_a_sweep_from_before_that_did_both_goes_on(vae_data_root):
    plan = plan_of(BOTH, vae_data_root)
    assert list(plan.space.dimensions) == ["beta.end"]


@pytest.mark.parametrize(
    ("path", "domain"),
    [
        ("model.latent_dim", {"int": [4, 32]}),
        ("model.hidden", {"choice": [[32], [64, 32]]}),
        ("model.kind", {"choice": ["mlp", "linear-vae"]}),
        ("lr.base", RANGE),
        ("batch_size", {"choice": [32, 64]}),
        ("model.activation", {"choice": ["relu", "tanh"]}),
    ],
)
def test_a_range_added_to_the_starter_file_is_searched(path, domain, tmp_path, vae_data_root):
    tree = yaml.safe_load(STARTER)
    tree["space"][path] = domain
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(tree))
    plan = make_plan(overlaid_spec(tmp_path / "s.yaml", None), vae_data_root)
    assert path in plan.space.dimensions


# --- a draw that is refused after all ---------------------------------------------------------------------------------


@pytest.fixture
def half_refused(monkeypatch):
    """Plans whose check lets pass what half of the draws are refused for."""
    monkeypatch.setattr("tuner.planning.plans.check", lambda space, base, parse: None)
    space = {"objective.groups": {"choice": [2, 3]}, "lr.base": RANGE}
    config = {"config.objective": {"kind": "free-bits"}, "config.model": {"latent_dim": 4}}
    return {"space": space, **config, "scheduler.kind": "none"}


@pytest.fixture
def handed_out(monkeypatch):
    """The trials that the searcher gave to Tune, as they were."""
    found, next_trial = [], HandingOut.next_trial

    def recorded(self):
        given = next_trial(self)
        found.extend([given["trial"]] if isinstance(given, dict) else [])
        return given

    monkeypatch.setattr(HandingOut, "next_trial", recorded)
    return found


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid", "nsga2"])
def test_a_refused_draw_ends_one_trial_with_its_reason_and_not_the_sweep(sampler, sweeps, half_refused, handed_out):
    result = sweeps.run("s", **half_refused, **{"search.sampler": sampler, "search.trials": 12})
    trials = fold(sweeps.events("s")).trials.values()
    groups = [trial.assignment["objective.groups"] for trial in trials]
    refused = [trial for trial in trials if trial.assignment["objective.groups"] == 3]
    assert len(trials) == (11 if sampler == "grid" else 12)  # two options by five levels, and the default beside them
    assert {2, 3} == set(groups)
    assert result.stop_reasons == {"completed": len(trials) - len(refused), "error": len(refused)}
    assert handed_out == [trial.id for trial in trials if trial not in refused]
    for trial in refused:
        assert trial.failed
        assert trial.error.startswith("objective.groups: 3 groups of equal size cannot be made of model.latent_dim 4")
        assert (trial.config["objective"]["groups"], trial.method) == (3, "free-bits")
        assert (trial.config["data"]["name"], trial.config["model"]["latent_dim"]) == ("digits", 4)
    assert result.best.config.objective.groups == 2


def test_the_sampler_hears_of_a_refused_draw_as_of_a_trial_that_failed(sweeps, half_refused):
    sweeps.run("s", **half_refused, **{"search.sampler": "tpe", "search.trials": 30})
    trials = list(fold(sweeps.events("s")).trials.values())
    assert sum(trial.stop_reason == "error" for trial in trials[10:]) < 10


def test_a_sweep_of_nothing_but_refused_draws_ends(sweeps, monkeypatch):
    monkeypatch.setattr("tuner.planning.plans.check", lambda space, base, parse: None)
    space = {"objective.groups": {"choice": ["none", *range(5, 2000)]}}
    config = {"config.objective": {"kind": "free-bits"}, "config.model": {"latent_dim": 4}}
    result = sweeps.run("s", space=space, **config, **{"search.trials": 1050, "search.sampler": "grid"})
    assert result.stop_reasons == {"completed": 1, "error": 1049}, "more than Python calls within each other"
    assert sweeps.resume("s", more_trials=5).stop_reasons == {"completed": 1, "error": 1054}


def test_the_table_of_trials_gives_the_reason(sweeps, half_refused):
    sweeps.run("s", **half_refused, **{"search.sampler": "grid", "search.trials": 8})
    page = tuner.report("s", storage=sweeps.storage)
    rows = list(csv.DictReader((page.parent / "trials.csv").read_text(encoding="utf-8").splitlines()))
    told = {row["error"] for row in rows if row["objective.groups"] == "3"}
    assert len(told) == 1
    assert "objective.groups: 3 groups of equal size" in told.pop()
