"""`gpus_per_trial: auto`: which configuration is tried, and what its memory makes of a GPU."""

import subprocess
from types import SimpleNamespace

import pytest
from branches import branches

from search_spaces.catalogue import parse_space
from search_spaces.space import assemble
from trainables.config.paths import parse_config, plain, unflatten
from trainables.errors import UserError
from tuner.cluster.capacity import Capacity, Node
from tuner.planning import memory_probe, placement, resources
from tuner.planning.memory_probe import largest, measured_share, packed
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import parse_spec

GB = 10**9
BOX = Capacity((Node(64, 8),))
SIZES = {"model.latent_dim": {"int": [2, 64]}, "batch_size": {"choice": [32, 256, 64]}}


def largest_of(space, **base):
    return largest(parse_space(space), unflatten(base), parse_config, (1, 8, 8))


def test_the_largest_has_the_most_parameters_and_the_most_examples_at_once():
    config = largest_of({**SIZES, "lr.base": {"float": [1e-4, 1e-2]}})
    assert (config.model.latent_dim, config.batch_size) == (64, 256)


def test_the_largest_is_looked_for_in_every_branch():
    kinds = {"model.kind": {"choice": ["mlp", "linear-vae"]}, "model.latent_dim": {"int": [2, 40]}}
    config = largest_of(kinds)
    assert (config.model.kind, config.model.latent_dim) == ("mlp", 40)
    objectives = {"objective.kind": {"choice": ["elbo", "iwae", "geco"]}}
    assert largest_of(objectives).objective.kind == "iwae", "its samples are as many examples"


def test_the_largest_has_all_that_several_parents_switch_on():
    config = largest_of(
        {
            "optimizer.kind": {"choice": ["adam", "sgd"]},
            "lr.scaling": {"choice": ["linear", "sqrt"]},
            "model.latent_dim": {"int": [2, 40], "when": {"optimizer.kind": "sgd"}},
            "batch_size": {"int": [40, 80], "when": {"lr.scaling": "sqrt"}},
        }
    )
    assert (config.model.latent_dim, config.batch_size) == (40, 80)


@pytest.mark.parametrize("space", ["geco-vs-annealing", "batch-size+one-cycle", "optimizer"])
def test_nothing_a_space_can_draw_is_larger(space):
    parsed = parse_space(space)
    config = largest(parsed, {}, parse_config, (1, 8, 8))
    drawn = [parse_config(assemble({}, parsed, parsed.default(branch))) for branch in branches(parsed)]
    assert all(other.batch_size <= config.batch_size for other in drawn)
    assert plain(largest(parsed, {}, parse_config, (1, 8, 8))) == plain(config)


def test_the_decision_is_told():
    assert packed({"memory_bytes": 141 * GB, "peak_bytes": 31 * GB // 10}, BOX.biggest, 1.0) == (
        0.125,
        ["a trial of the largest configuration takes 3.1 GB of a GPU's 141 GB: 8 at once on each GPU"],
    )
    assert packed({"memory_bytes": 24 * GB, "peak_bytes": None}, BOX.biggest, 1.0) == (
        1.0,
        [
            "gpus_per_trial: auto is 1, as the largest configuration alone runs out of a GPU's 24 GB: such trials will "
            "fail; search smaller models or batches"
        ],
    )


@pytest.fixture
def process(monkeypatch):
    """process(answer on stdout, on stderr, exit code) stands for the probe's."""

    def make(out="", err="", code=0):
        done = SimpleNamespace(stdout=out, stderr=err, returncode=code)
        monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: done)

    return make


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (("", "Traceback:\nRuntimeError: no kernel image", 1), "RuntimeError: no kernel image"),
        (("", "", -9), "its process died"),
        (('{"memory_bytes": null, "peak_bytes": null}\n',), "there is no GPU where it ran"),
    ],
)
def test_a_probe_that_fails_asks_for_a_number(answer, cause, process, tmp_path):
    process(*answer)
    with pytest.raises(UserError) as raised:
        measured_share(parse_config({}), tmp_path, BOX, 1.0)
    assert str(raised.value) == (
        f"resources.gpus_per_trial: auto could not be measured: {cause}; give a number, such as 0.5"
    )


def test_without_a_gpu_a_real_probe_says_so(vae_data_root):
    config = parse_config({"device": "cpu", "threads": 1, "data": {"n_train": 1000}, "model": {"sigma": 0.1}})
    config = config.model_copy(update={"data": config.data.model_copy(update={"likelihood": "gaussian"})})
    with pytest.raises(UserError, match="auto could not be measured: there is no GPU where it ran"):
        measured_share(config, vae_data_root, BOX, 1.0)


def planned(monkeypatch, vae_data_root, capacity, answer=None, **paths):
    asked = []

    def here(request):
        asked.append(request)
        return answer

    monkeypatch.setattr(memory_probe, "measured_here", here)
    monkeypatch.setattr(resources, "held_on_device", lambda *arguments: True)
    paths = {"space": SIZES, "search.sampler": "random", "resources.gpus_per_trial": "auto", **paths}
    return make_plan(parse_spec(unflatten(paths)), vae_data_root, capacity), asked


def test_auto_plans_by_what_was_measured(monkeypatch, vae_data_root):
    answer = {"memory_bytes": 24 * GB, "peak_bytes": 6 * GB}
    plan, (request,) = planned(monkeypatch, vae_data_root, BOX, answer)
    assert '"batch_size": 256' in request["config"]
    assert '"device": "cuda"' in request["config"]
    assert (plan.gpus_per_trial, plan.concurrency) == (0.3333, 24)
    assert "a trial of the largest configuration takes 6 GB of a GPU's 24 GB: 3 at once on each GPU" in plan.notes


@pytest.mark.parametrize(("capacity", "paths"), [(Capacity((Node(4),)), {}), (BOX, {"config.device": "cpu"})])
def test_auto_without_a_gpu_is_none_and_measures_nothing(capacity, paths, monkeypatch, vae_data_root):
    plan, asked = planned(monkeypatch, vae_data_root, capacity, **paths)
    assert (plan.gpus_per_trial, plan.default.device, asked) == (0.0, "cpu", [])
    assert "gpus_per_trial: auto is 0, as trials run on the CPU" in plan.notes


@pytest.fixture
def growing(monkeypatch, vae_data_root):
    """growing(nodes, concurrency) → the plan on a cluster that gets a node with a GPU for the probe."""
    answer, probed = {"memory_bytes": 24 * GB, "peak_bytes": 6 * GB}, Node(2, 1)

    def make(nodes, concurrency):
        monkeypatch.setattr(memory_probe, "measured_on_cluster", lambda *arguments: (answer, probed, "NVIDIA L4"))
        monkeypatch.setattr(placement, "capacity_of", lambda address: Capacity((*nodes, probed), address))
        asked = {"gpus_per_trial": "auto", "ray_address": "head:6379", "concurrency": concurrency}
        spec = parse_spec({"space": SIZES, "search": {"sampler": "random"}, "resources": asked})
        return make_plan(spec, vae_data_root, Capacity(tuple(nodes), "head:6379"))

    return make


def test_a_cluster_without_nodes_grows_for_the_probe(growing, capsys):
    plan = growing([Node(0)], 6)
    assert (plan.default.device, plan.gpus_per_trial, plan.concurrency) == ("cuda", 0.5, 6)
    assert (
        "that was measured on NVIDIA L4; on a smaller GPU trials may run out of memory, then run alone"
    ) in plan.notes
    assert "is asked for one, to measure what a trial takes" in capsys.readouterr().err


def test_a_cluster_that_grows_for_the_probe_is_counted_after_it(growing):
    assert growing([Node(0), Node(2, 1)], "auto").concurrency == 4


def test_the_node_of_the_probe_alone_is_not_what_fills_a_cluster_that_scales_up(growing, capsys):
    with pytest.raises(UserError) as refusal:
        growing([Node(0)], "auto")
    assert str(refusal.value) == (
        "resources.lanes: auto: a lane of 1 CPU and 1 GPU fits on no node that the cluster at head:6379 has now, the "
        "biggest has 0 CPU and 0 GPU; if the cluster scales up, set how many lanes there are with --lanes"
    )
    assert "is asked for one" not in capsys.readouterr().err, "no machine is started for it"


@pytest.mark.gpu
def test_on_a_real_gpu_auto_packs_small_trials(vae_data_root):
    spec = parse_spec({"space": SIZES, "resources": {"gpus_per_trial": "auto"}})
    plan = make_plan(spec, vae_data_root)
    assert plan.default.device == "cuda"
    assert 0 < plan.gpus_per_trial <= 1
    assert plan.concurrency >= 2
