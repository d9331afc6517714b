"""How many lanes there are, how wide they are, and how many trials train at once."""

import pytest

from trainables.config.paths import unflatten
from tuner.cluster.capacity import Capacity, Node
from tuner.planning.placement import Placement
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import parse_spec

CORES = Capacity((Node(4),))
LARGE = {"config.model.hidden": [2000, 2000]}


@pytest.fixture
def placed(vae_data_root):
    """placed(**{path: value}) → the placement on a machine of four cores."""

    def make(capacity=CORES, **paths):
        spec = parse_spec(unflatten({"space": "lr", **paths}))
        return make_plan(spec, vae_data_root, capacity).placement

    return make


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({"search.trials": 20}, (4, 16, 5)),  # a quarter: TPE learns from finished trials
        ({"search.trials": 3}, (1, 16, 1)),
        ({"search.trials": 400}, (4, 16, 64)),  # all that find room
        ({"search.trials": 20, "search.repeats": 3}, (4, 16, 15)),
        ({"search.sampler": "nsga2", "search.metric": ["val/mse", "val/kl"]}, (4, 16, 5)),
        ({"search.sampler": "random"}, (4, 16, 64)),
        ({"search.sampler": "qmc"}, (4, 16, 64)),
        ({"search.sampler": "grid"}, (4, 16, 64)),
        ({"search.points": [{"lr.base": 1e-3}, {"lr.base": 2e-3}]}, (4, 16, 64)),
        ({"resources.concurrency": 1}, (1, 16, 1)),
        ({"resources.concurrency": 3}, (3, 16, 3)),
        ({"resources.concurrency": 6}, (4, 16, 6)),
        ({"resources.concurrency": 100}, (7, 16, 100)),  # as many as are asked for have room
        ({"resources.lanes": 2, "search.sampler": "random"}, (2, 16, 32)),
        ({"resources.lanes": 2, "resources.members": 3, "search.sampler": "random"}, (2, 3, 6)),
        ({"resources.lanes": 2, "resources.members": 3, "resources.concurrency": 100}, (2, 3, 6)),
        ({"resources.cpus_per_trial": 2, "search.sampler": "random"}, (2, 1, 2)),  # threads part what trains together
        ({**LARGE, "search.sampler": "random"}, (4, 1, 4)),
        ({**LARGE, "resources.concurrency": 6}, (6, 1, 6)),
    ],
    ids=str,
)
def test_trials_at_once_are_what_is_asked_for_and_find_room(paths, expected, placed):
    found = placed(**paths)
    assert (found.lanes, found.members, found.concurrency) == expected


def test_on_a_gpu_a_lane_trains_one_trial_unless_it_is_told_otherwise(vae_data_root, placed, monkeypatch):
    monkeypatch.setattr("tuner.planning.resources.held_on_device", lambda *arguments: True)
    box = Capacity((Node(8, 2),))
    found = placed(box, **{"search.sampler": "random"})
    assert (found.lanes, found.members) == (2, 1)
    notes = make_plan(parse_spec({"space": "lr"}), vae_data_root, box).notes
    assert any(note.startswith("members: auto is 1 on a GPU") for note in notes)
    found = placed(box, **{"search.sampler": "random", "resources.members": 8})
    assert (found.lanes, found.members, found.concurrency) == (2, 8, 16)


@pytest.mark.parametrize(
    ("lanes", "concurrency", "speedup"), [(1, 1, 1), (2, 2, 2), (1, 4, 4 * 1.2 / 1.8), (2, 5, 5 * 1.2 / 1.6)]
)
def test_what_lanes_gain_is_the_time_of_trials_one_by_one_over_that_side_by_side(lanes, concurrency, speedup):
    assert Placement(0.0, lanes, 16, None, concurrency).speedup == pytest.approx(speedup)
