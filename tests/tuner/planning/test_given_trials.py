"""Sweeps whose trials are given one by one."""

import pytest

from trainables.errors import ConfigError, UserError

POINTS = [
    {"objective.kind": "geco", "objective.kappa": 0.2, "lr.base": 1e-3, "seed": 3},
    {"objective.kind": "elbo", "beta.kind": "linear", "beta.end": 0.5, "lr.base": 2e-3},
    {"objective.kind": "elbo", "beta.kind": "gqn", "model.sigma": 0.1},
]


@pytest.fixture
def with_points(sweeps):
    def run(points=POINTS, **paths):
        return sweeps.run("p", **{"search.points": points, "search.sampler": "grid", "scheduler.kind": "none", **paths})

    return run


def assigned(events):
    return [event["assignment"] for event in events if event["event"] == "ask"]


def test_they_are_the_trials_in_their_order(with_points, sweeps):
    result = with_points()
    assert result.stop_reasons == {"completed": 3}
    assert assigned(sweeps.events("p")) == POINTS
    configs = [event["config"] for event in sweeps.events("p") if event["event"] == "ask"]
    assert [config["seed"] for config in configs] == [3, 0, 0]
    assert configs[2]["model"]["sigma"] == 0.1


def test_a_sweep_cut_short_goes_on_with_the_rest(with_points, sweeps):
    with_points()
    whole = assigned(sweeps.events("p"))
    sweeps.cut("p", 5)
    assert sweeps.resume("p").stop_reasons == {"completed": 3}
    assert assigned(sweeps.events("p")) == whole


def test_there_are_no_more_than_were_given(with_points, sweeps):
    with_points()
    with pytest.raises(UserError, match=r"the 3 trials of sweep p are all that search\.points lists"):
        sweeps.resume("p", more_trials=1)


@pytest.mark.parametrize("path", ["data.n_train", "epochs", "device", "metrics.every"])
def test_what_makes_trials_incomparable_is_refused(path, with_points):
    with pytest.raises(ConfigError, match=f"search.points: {path} must be the same for all trials; set it in config"):
        with_points([{path: 5}])


def test_a_point_that_is_no_configuration_is_named(with_points):
    with pytest.raises(ConfigError, match=r"search\.points: trial 1: .*beta\.warmup"):
        with_points([POINTS[0], {"beta.kind": "constant", "beta.warmup": 0.1}])
