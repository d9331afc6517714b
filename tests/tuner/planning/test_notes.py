"""What a plan says of its data."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.data.dataset import held_on_device
from tuner.cluster.capacity import Capacity, Node
from tuner.planning import resources
from tuner.planning.cost import seconds_per_epoch
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import parse_spec


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(data, device="cpu", **resources):
        config = {"data": data, "device": device}
        return make_plan(parse_spec({"config": config, "resources": resources}), tmp_path)

    return make


@pytest.fixture
def notes(plan):
    return lambda *arguments, **resources: plan(*arguments, **resources).notes


def write(name, x):
    np.save(name, x)
    return f"./{name}"


GRAY, BITS = np.random.default_rng(0).random((400, 3, 4, 4)), np.random.default_rng(0).integers(0, 2, (400, 8))


@pytest.mark.parametrize(
    ("x", "data", "said"),
    [
        (GRAY, {}, "likelihood gaussian (the values are gray)"),
        (BITS, {}, "likelihood bernoulli (the values are bits)"),
        (BITS, {"likelihood": "gaussian"}, "likelihood gaussian (as configured, the values are bits)"),
        (GRAY, {"binarize": "fixed"}, "likelihood bernoulli (gray values drawn as bits once)"),
        (GRAY, {"binarize": "dynamic"}, "likelihood bernoulli (gray values drawn as bits at every step)"),
        (GRAY, {"binarize": "soft"}, "likelihood bernoulli (gray values taken as they are)"),
    ],
)
def test_the_likelihood_is_told_with_its_reason(x, data, said, notes):
    shape = "×".join(map(str, x.shape[1:]))
    assert notes({"name": write("x.npy", x), **data})[0].startswith(
        f"x.npy: 268 training, 66 validation and 66 test examples of {shape}; {said}; κ_max re "
    )


def test_workers_find_files_and_folders_by_their_absolute_paths(plan, tmp_path):
    (tmp_path / "faces").mkdir()
    for i in range(300):
        Image.fromarray(np.full((3, 3), i % 256, np.uint8)).save(tmp_path / "faces" / f"{i}.png")
    assert plan({"name": "faces"}).default.data.name == str(tmp_path / "faces")
    assert plan({"name": write("x.npy", GRAY)}).default.data.name == str(tmp_path / "x.npy")
    assert plan({"name": "digits"}).default.data.name == "digits"


def test_a_folder_named_like_a_built_in_set_is_pointed_out(notes, tmp_path):
    (tmp_path / "digits").mkdir()
    assert "data.name: digits is the built-in set; the folder here is ./digits" in notes({"name": "digits"})


def test_data_that_stay_in_host_memory_are_told(notes, monkeypatch):
    assert not [note for note in notes({"name": "digits"}) if "host memory" in note]
    shares = []

    def small(n_bytes, device, share):
        shares.append((n_bytes, device.type, share))
        return held_on_device(n_bytes + 2**60, device, share)

    monkeypatch.setattr(resources, "held_on_device", small)
    (note,) = [note for note in notes({"name": "digits"}, lanes=4) if "host memory" in note]
    assert shares == [(1199 * 64, "cpu", 1 / 4)]
    assert note.endswith("they stay in host memory, and batches are fetched ahead of their steps")


@pytest.mark.parametrize(
    ("gpus", "lanes", "share"), [(0.0, 4, 0.25), (0.0, 1, 1.0), (0.25, 8, 0.25), (1.0, 2, 1.0), (2.0, 1, 1.0)]
)
def test_a_lanes_share_of_its_device(gpus, lanes, share):
    assert resources.memory_share(gpus, lanes) == share


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows a machine without a GPU, and this one has one")
def test_a_cluster_with_gpus_can_be_planned_for_from_a_machine_without(tmp_path):
    spec = parse_spec({"resources": {"ray_address": "elsewhere:6379"}})
    made = make_plan(spec, tmp_path, Capacity((Node(0), Node(8, 2)), "elsewhere:6379"))
    assert made.default.device == "cuda"
    assert not [note for note in made.notes if "host memory" in note]
    assert seconds_per_epoch(made) is None, "what is not here cannot be timed"


@pytest.mark.parametrize(("unit", "told"), [(1.0, False), (0.1, True), (1e-2, True), (1e-4, True)])
def test_data_in_a_small_unit_are_told_with_what_to_divide_by(unit, told, notes):
    """Of values that vary by .27."""
    x = np.clip(np.random.default_rng(0).normal(0.5, 0.27, (400, 16)), 0, 1) * unit
    found = [note for note in notes({"name": write("x.npy", x)}) if "order 1" in note]
    assert len(found) == told
    if told:
        divisor = float(re.search(r"divide the values by (\S+) once", found[0])[1])
        assert divisor == pytest.approx(x.std(), rel=0.05)


@pytest.mark.parametrize(
    ("space", "epochs", "batches", "told"),
    [
        ("geco", 40, {}, None),
        ("geco", 10, {}, "370 updates (10 epochs of 37 steps at batch_size 32)"),
        ("geco-vs-annealing", 10, {}, "370 updates (10 epochs of 37 steps at batch_size 32)"),
        ("linear", 10, {}, None),
        ("geco", 40, {"batch_size": {"choice": [32, 128]}}, "360 updates (40 epochs of 9 steps at batch_size 128)"),
        ("geco", 40, {"optimizer.kind": {"choice": ["adam", "sgd"]}}, "are fewer than the 2,000 that"),
        ("linear", 40, {"optimizer.kind": {"choice": ["adam", "sgd"]}}, None),
    ],
)
def test_a_plan_tells_of_a_budget_that_is_too_short_for_geco(space, epochs, batches, told, vae_data_root):
    spec = {"space": {"use": [space], **batches}, "config": {"epochs": epochs, "device": "cpu"}}
    found = [note for note in make_plan(parse_spec(spec), vae_data_root).notes if "that λ takes to settle" in note]
    assert [told in note for note in found] == ([True] if told else [])


@pytest.mark.parametrize(
    ("kinds", "told"), [(["elbo", "geco"], True), (["geco", "elbo"], True), (["elbo"], False)], ids=str
)
def test_a_plan_of_given_trials_tells_of_the_budget_of_those_under_geco(kinds, told, vae_data_root):
    points = [{"objective.kind": kind} for kind in kinds]
    spec = {"search": {"points": points}, "config": {"epochs": 10, "device": "cpu"}}
    notes = make_plan(parse_spec(spec), vae_data_root).notes
    assert any("370 updates (10 epochs of 37 steps at batch_size 32)" in note for note in notes) == told


def test_what_of_a_folder_is_skipped_or_stands_twice_is_told(notes, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(200):
        Image.fromarray(np.full((4, 4), 7 * (i % 2), np.uint8)).save(folder / f"{i}.png")
    (folder / "a.tif").touch()
    found = notes({"name": "./faces"})
    assert "faces: skipped 1 .tif, which are not images; allowed: .png, .jpg, .jpeg, .bmp, .webp" in found
    assert any(note.startswith("66 validation and test examples are also in another part") for note in found)
