"""How many trials fit on nodes, what a spec asks for of them, and what is refused."""

import os
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.paths import unflatten
from trainables.errors import ConfigError, UserError
from tuner.cluster.capacity import LOOK_SECONDS, Capacity, Node, capacity_of, growing
from tuner.planning import resources as placement
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import Resources, parse_spec

HEAD, WORKER = Node(2), Node(8, 2)
shares = st.sampled_from([0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0])


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "slots"),
    [
        ((Node(16), Node(16)), 1, 0, 32),
        ((Node(3), Node(3)), 2, 0, 2),  # six cores, and room for two trials of two
        ((Node(8, 2),), 1, 0.7, 2),  # a share lies on one GPU
        ((Node(8, 3),), 1, 2, 1),
        ((Node(8, 1), Node(8, 1)), 1, 2, 0),  # the GPUs of two nodes are no two GPUs
        ((Node(3, 8),), 1, 0.5, 3),  # the cores are too few
        ((Node(1),), 0.1, 0, 10),
        ((Node(0, 0),), 1, 0, 0),
        ((), 1, 0, 0),
    ],
)
def test_trials_are_counted_node_by_node(nodes, cpus, gpus, slots):
    assert Capacity(nodes, "head:6379").slots(cpus, gpus) == slots


@given(st.lists(st.builds(Node, st.integers(0, 16), st.integers(0, 8))), shares, st.one_of(st.just(0.0), shares))
def test_lanes_never_take_more_than_there_is_and_one_more_would(nodes, cpus, gpus):
    assert Capacity(tuple(nodes), "a:1").slots(cpus, gpus) == sum(node.slots(cpus, gpus) for node in nodes)
    for node in nodes:
        fit = node.slots(cpus, gpus)
        per_gpu = int(1.0001 / gpus) if gpus else 0
        assert fit * cpus <= node.cpus + 1e-3
        assert not gpus or fit <= node.gpus * per_gpu
        assert (fit + 1) * cpus > node.cpus - 1e-3 or (gpus and fit + 1 > node.gpus * per_gpu)


def test_of_this_machine_only_what_is_allotted_is_filled(plan, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    made = plan(capacity_of(None))
    assert made.placement.lanes == 3
    assert "3 of 64 cores, by SLURM_CPUS_PER_TASK, are used" in made.notes
    with pytest.raises(ConfigError) as raised:
        plan(capacity_of(None), **{"resources.cpus_per_trial": 4})
    assert str(raised.value) == (
        "resources.cpus_per_trial: 4 is not allowed; allowed: at most 3, the cores that SLURM_CPUS_PER_TASK allots"
    )


def test_this_machine_is_one_node_and_needs_no_ray():
    here = capacity_of(None)
    assert here.address is None
    assert len(here.nodes) == 1
    assert here.slots(here.most_cpus, 0) == 1


# --- as a cluster changes ---------------------------------------------------------------------------------------------


def test_the_trials_at_once_grow_with_the_cluster_and_do_not_fall_with_it():
    time, slots, looks = [0.0], [4], []

    def look():
        looks.append(time[0])
        return slots[0]

    at_once = growing(4, look, lambda: time[0])
    found = []
    for second, fit in enumerate([4, 4, 4, 4, 6, 6, 6, 2, 2, 2, 2, 9, 9, 9, 9, 9, 9]):
        time[0], slots[0] = float(second), fit
        found.append(at_once())
    assert found == sorted(found)
    assert set(found) == {4, 6, 9}
    assert all(later - sooner >= LOOK_SECONDS for sooner, later in pairwise(looks))


# --- what a spec asks for ---------------------------------------------------------------------------------------------


@pytest.fixture
def plan(vae_data_root, monkeypatch):
    """plan(capacity, **{path: value}); no GPU is asked for its memory."""
    monkeypatch.setattr(placement, "held_on_device", lambda *arguments: True)

    def make(capacity, **paths):
        return make_plan(
            parse_spec(unflatten({"space": "lr", "search.sampler": "random", **paths})), vae_data_root, capacity
        )

    return make


BOX, CLUSTER = Capacity((Node(8, 8),)), Capacity((HEAD, WORKER, WORKER), "head:6379")
ONE, SHARED, NONE = {}, {"resources.gpus_per_trial": 0.5}, {"resources.gpus_per_trial": 0}


@pytest.mark.parametrize(
    ("capacity", "paths", "expected"),
    [
        (BOX, SHARED, ("cuda", 0.5, 16)),  # two trials on each of eight GPUs, whatever the cores
        (BOX, ONE, ("cuda", 1.0, 8)),
        (BOX, NONE, ("cpu", 0.0, 8)),
        (BOX, {"config.device": "cpu"}, ("cpu", 0.0, 8)),
        (CLUSTER, SHARED, ("cuda", 0.5, 8)),
        (CLUSTER, ONE, ("cuda", 1.0, 4)),
        (CLUSTER, {**SHARED, "resources.cpus_per_trial": 3}, ("cuda", 0.5, 4)),
        (CLUSTER, NONE, ("cpu", 0.0, 18)),
        (CLUSTER, {"resources.concurrency": 100}, ("cuda", 1.0, 100)),
        (CLUSTER, {"resources.concurrency": 2}, ("cuda", 1.0, 2)),
        (CLUSTER, {"resources.lanes": 7}, ("cuda", 1.0, 7)),
        (Capacity((HEAD,), "head:6379"), ONE, ("cpu", 0.0, 2)),
    ],
)
def test_device_gpus_and_lanes(capacity, paths, expected, plan):
    address = {"resources.ray_address": capacity.address} if capacity.address else {}
    made = plan(capacity, **paths, **address)
    assert (made.default.device, made.gpus_per_trial, made.placement.lanes) == expected
    assert made.resolved(made.first) == made.default
    assert made.follows_cluster == (capacity.address is not None and "resources.lanes" not in paths)


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1, 1), (3.9, 3), (4, 4)])
def test_threads_are_the_share_of_cores_and_recorded(cpus, threads, plan):
    config, _ = (made := plan(CLUSTER, **{"resources.cpus_per_trial": cpus})).trial(made.first)
    assert config["threads"] == threads


def test_a_cluster_says_what_was_counted(plan):
    note = "4 lanes fit on the 3 nodes that the cluster has now, more where nodes are added; "
    assert [text.startswith(note) for text in plan(CLUSTER).notes].count(True) == 1
    assert not [text for text in plan(CLUSTER, **{"resources.lanes": 3}).notes if "lanes fit" in text]
    assert not [text for text in plan(BOX).notes if "lanes fit" in text]


def test_trials_that_wait_for_a_node_are_told(plan):
    note = (
        "a lane of 4 CPU fits on no node that the cluster at head:6379 has now, the biggest has 2 CPU and 0 GPU: "
        "trials wait until the cluster scales up"
    )
    wanted = {"resources.concurrency": 3, "resources.gpus_per_trial": 0, "resources.cpus_per_trial": 4}
    small = Capacity((HEAD, HEAD), "head:6379")
    assert [text.startswith(note) for text in plan(small, **wanted).notes].count(True) == 1
    assert not [text for text in plan(CLUSTER, **wanted).notes if "fits on no node" in text]


@pytest.mark.parametrize(
    ("capacity", "paths", "message"),
    [
        (
            CLUSTER,
            {"resources.gpus_per_trial": 4},
            "resources.gpus_per_trial: a lane of 1 CPU and 4 GPU fits on no node that the cluster at head:6379 has "
            "now, the biggest has 8 CPU and 2 GPU; ask for less with --gpus-per-trial, or if the cluster scales up, "
            "set how many lanes there are with --lanes",
        ),
        (
            CLUSTER,
            {"resources.cpus_per_trial": 64},
            "resources.cpus_per_trial: a lane of 64 CPU and 1 GPU fits on no node that the cluster at head:6379 has "
            "now, the biggest has 8 CPU and 2 GPU; ask for less with --cpus-per-trial, or if the cluster scales up, "
            "set how many lanes there are with --lanes",
        ),
        (
            Capacity((Node(8),), "head:6379"),
            {"resources.cpus_per_trial": 64},
            "resources.cpus_per_trial: a lane of 64 CPU fits on no node that the cluster at head:6379 has now, the "
            "biggest has 8 CPU and 0 GPU; ask for less with --cpus-per-trial",
        ),
        (
            Capacity((Node(8),), "head:6379"),
            {"resources.gpus_per_trial": 1},
            "resources.gpus_per_trial: a lane of 1 CPU and 1 GPU fits on no node that the cluster at head:6379 has "
            "now, the biggest has 8 CPU and 0 GPU; ask for less with --gpus-per-trial, or if the cluster scales up, "
            "set how many lanes there are with --lanes",
        ),
        (
            Capacity((Node(0),), "head:6379"),
            NONE,
            "resources.lanes: auto: a lane of 1 CPU fits on no node that the cluster at head:6379 has now, the "
            "biggest has 0 CPU and 0 GPU; if the cluster scales up, set how many lanes there are with --lanes",
        ),
        (
            Capacity((), "head:6379"),
            NONE,
            "resources.lanes: auto: the cluster at head:6379 has no nodes now; if the cluster scales up, set "
            "how many lanes there are with --lanes",
        ),
        (
            BOX,
            {"resources.gpus_per_trial": 9},
            "resources.gpus_per_trial: 9 needs 9 GPU and this machine has 8; use --device cpu --gpus-per-trial 0",
        ),
        (
            Capacity((Node(8),)),
            {"config.device": "cuda"},
            "device: cuda needs 1 GPU and this machine has 0; use --device cpu --gpus-per-trial 0",
        ),
        (
            Capacity((Node(8),)),
            {"config.device": "cuda", "resources.gpus_per_trial": "auto"},
            "device: cuda needs 1 GPU and this machine has 0; use --device cpu --gpus-per-trial 0",
        ),
        (
            CLUSTER,
            {"config.device": "cuda", "resources.gpus_per_trial": 0},
            "device: cuda needs a GPU and resources.gpus_per_trial is 0; use --set device=cpu or --gpus-per-trial 1",
        ),
        (
            BOX,
            {"resources.cpus_per_trial": 9},
            "resources.cpus_per_trial: 9 is not allowed; allowed: at most 8, the cores of this machine",
        ),
    ],
)
def test_what_fits_nowhere_is_refused(capacity, paths, message, plan):
    with pytest.raises(UserError) as raised:
        plan(capacity, **paths)
    assert str(raised.value) == message


# --- a cluster that scales up from nothing ----------------------------------------------------------------------------

NOTHING = [Capacity((), "head:6379"), Capacity((Node(0),), "head:6379")]


@pytest.mark.parametrize("capacity", NOTHING)
@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({"config.device": "cuda"}, ("cuda", 1.0)),
        ({"config.device": "cpu"}, ("cpu", 0.0)),
        (SHARED, ("cuda", 0.5)),
        (NONE, ("cpu", 0.0)),
    ],
)
def test_what_a_trial_is_given_decides_where_there_are_no_nodes_yet(paths, expected, capacity, plan):
    made = plan(capacity, **paths, **{"resources.concurrency": 64})
    assert (made.default.device, made.gpus_per_trial, made.concurrency) == (*expected, 64)


@pytest.mark.parametrize("capacity", NOTHING)
def test_trials_never_land_on_cpus_unasked(capacity, plan):
    with pytest.raises(ConfigError) as raised:
        plan(capacity, **{"resources.concurrency": 64})
    assert str(raised.value) == (
        "resources.gpus_per_trial: the cluster at head:6379 has no node for a lane of 1 CPU yet: say "
        "--gpus-per-trial 1 (or 0 to train on CPUs) and --lanes"
    )
    note = "the cluster has no GPU now: trials run on CPUs; if nodes with GPUs will join, pass "
    found = {asked: plan(Capacity((HEAD,), "head:6379"), **paths).notes for asked, paths in (("", ONE), ("0", NONE))}
    assert [text.startswith(note) for text in found[""]].count(True) == 1
    assert not [text for text in found["0"] if text.startswith(note)]


@pytest.mark.parametrize("value", ["1.5", -1, 0.001, "some", True, "nan", [1]])
def test_no_share_of_a_gpu_that_ray_cannot_give(value):
    with pytest.raises(ConfigError) as raised:
        parse_spec({"resources": {"gpus_per_trial": value}})
    assert str(raised.value).endswith(
        "is not allowed; allowed: auto, none, a share of a GPU from 0.01 to 1, or a whole number of them"
    )


@pytest.mark.parametrize(
    ("value", "parsed"), [("auto", "auto"), ("none", None), (None, None), ("0.5", 0.5), ("2", 2.0), (0, 0.0)]
)
def test_shares_of_a_gpu_as_words_and_numbers(value, parsed):
    assert Resources(gpus_per_trial=value).gpus_per_trial == parsed
