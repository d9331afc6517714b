import os
import threading
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from trainables.config import DataConfig
from trainables.config.paths import parse_config
from trainables.data import examples
from trainables.data.dataset import data_facts, held_on_device, load
from trainables.data.examples import Examples
from trainables.errors import DataError
from trainables.likelihoods import likelihood_of
from trainables.resolve import resolve
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
PARTS = ("train", "val", "test")


@pytest.fixture
def user_file(tmp_path):
    """A user's .npz (or, of one array, .npy) file; its name as in `data.name`."""

    def write(x=None, /, **arrays):
        path = tmp_path / ("x.npz" if arrays else "x.npy")
        if arrays:
            np.savez(path, **arrays)
        else:
            np.save(path, x)
        return str(path)

    return write


def rows(tensor):
    return [tuple(row) for row in tensor.tolist()]


def on_device(dataset):
    """With the training examples copied into a tensor, as for a GPU."""
    return replace(dataset, train=dataset.train.tensor(CPU).clone(), ahead=False)


def loaded(root, **tree):
    return on_device(load(DataConfig(**tree), root, CPU))


# --- the split --------------------------------------------------------------------------------------------------------


def test_a_split_is_disjoint_and_complete(user_file, tmp_path):
    x = np.arange(60.0).reshape(30, 2)
    found = loaded(tmp_path, name=user_file(x))
    everything = [row for part in PARTS for row in rows(getattr(found, part))]
    assert sorted(everything) == sorted(map(tuple, x.tolist()))
    assert [len(getattr(found, part)) for part in PARTS] == [20, 5, 5]


def test_a_split_depends_on_split_seed(user_file, tmp_path):
    name = user_file(np.arange(60.0).reshape(30, 2))
    assert loaded(tmp_path, name=name).val.equal(loaded(tmp_path, name=name).val)
    assert not loaded(tmp_path, name=name).val.equal(loaded(tmp_path, name=name, split_seed=1).val)


def test_fewer_training_examples_are_a_part_of_more_and_leave_the_rest_alone(user_file, tmp_path):
    name = user_file(np.arange(60.0).reshape(30, 2))
    whole, twelve, five = (loaded(tmp_path, name=name, n_train=n) for n in (None, 12, 5))
    assert twelve.train.equal(whole.train[:12])
    assert five.train.equal(whole.train[:5])
    assert five.val.equal(whole.val)
    assert five.test.equal(whole.test)


@pytest.mark.parametrize("given", ["x", "x_train"])
def test_parts_that_are_given_are_not_split_again(given, user_file, tmp_path):
    x, val, test = (np.arange(12.0).reshape(6, 2) + shift for shift in (0, 100, 200))
    found = loaded(tmp_path, name=user_file(**{given: x, "x_val": val, "x_test": test}))
    assert rows(found.val) == list(map(tuple, val))
    assert rows(found.test) == list(map(tuple, test))
    assert sorted(rows(found.train)) == list(map(tuple, x))


def test_only_what_is_missing_is_split_off(user_file, tmp_path):
    x, test = np.arange(24.0).reshape(12, 2), np.full((3, 2), -1.0)
    found = loaded(tmp_path, name=user_file(x_train=x, x_test=test))
    assert sorted(rows(found.train) + rows(found.val)) == list(map(tuple, x))
    assert (len(found.val), len(found.test)) == (2, 3)


@pytest.mark.parametrize(("n", "used"), [(9_999, 9_999), (10_000, 10_000), (10_001, 10_000), (25_000, 10_000)])
def test_at_most_10_000_official_validation_examples_are_used_from_all_over(n, used, user_file, tmp_path):
    x = np.arange(n, dtype=float)[:, None]
    found = loaded(tmp_path, name=user_file(x_train=x[:5], x_val=x, x_test=x)).val.ravel()
    assert len(found) == used
    gaps = found.diff()
    assert (found[0], gaps.min()) == (0, n // used)
    assert gaps.max() <= -(-n // used)
    assert found[-1] >= n - gaps.max() - 1


def test_npz_with_x_is_the_npy_file(user_file, tmp_path):
    x = np.random.default_rng(0).random((12, 2, 3))
    alone, named = (loaded(tmp_path, name=name) for name in (user_file(x), user_file(x=x)))
    assert all(getattr(alone, part).equal(getattr(named, part)) for part in PARTS)
    assert alone.shape == (2, 3)


def test_digits_are_bytes_whose_values_are_sixteenths(vae_data_root):
    digits = loaded(vae_data_root, name="digits")
    assert digits.train.dtype == torch.uint8
    assert sum(len(getattr(digits, part)) for part in PARTS) == 1797
    values = digits.floats(digits.train)
    assert (values.min(), values.max()) == (0, 1)
    assert (values * 16 == digits.train).all()


def test_mnists_official_test_set_stays(data_dir):
    name = DataConfig(name="mnist", n_train=100).name
    mnist, other = (loaded(data_dir, name=name, split_seed=seed) for seed in (0, 1))
    assert [len(getattr(mnist, part)) for part in PARTS] == [55_000, 5_000, 10_000]
    assert mnist.test.equal(other.test)
    assert not mnist.val.equal(other.val)
    official = np.load(data_dir / "prepared" / "mnist" / "test.npy").reshape(10_000, -1)
    assert (mnist.test.numpy() == official).all()


# --- bits -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gray(user_file):
    return user_file(np.random.default_rng(0).random((40, 5), dtype=np.float32))


def test_fixed_bits_are_a_function_of_split_seed(gray, tmp_path):
    gray_data = loaded(tmp_path, name=gray)
    for part in PARTS:
        first, second, other = (
            getattr(loaded(tmp_path, name=gray, binarize="fixed", split_seed=seed), part) for seed in (0, 0, 1)
        )
        assert first.unique().tolist() == [0, 1]
        assert first.equal(second)
        assert not first.equal(other)
        assert not first.equal((getattr(gray_data, part) > 0.5).float())


def test_fixed_bits_of_bytes_are_0_and_1(vae_data_root):
    digits = loaded(vae_data_root, name="digits", binarize="fixed")
    assert digits.floats(digits.train).unique().tolist() == [0, 1]
    assert digits.train_batch(torch.arange(5), seed=0, step=0).equal(digits.train_batch(torch.arange(5), 1, 2))


def test_dynamic_bits_are_a_function_of_seed_and_step_and_validation_is_fixed(gray, tmp_path):
    found, fixed = (loaded(tmp_path, name=gray, binarize=how) for how in ("dynamic", "fixed"))
    index = torch.arange(20)
    first = found.train_batch(index, seed=0, step=3)
    assert first.unique().tolist() == [0, 1]
    assert first.equal(found.train_batch(index, seed=0, step=3))
    assert not first.equal(found.train_batch(index, seed=0, step=4))
    assert not first.equal(found.train_batch(index, seed=1, step=3))
    assert found.val.equal(fixed.val)
    assert found.test.equal(fixed.test)


def test_bits_have_the_gray_values_as_their_probability(gray, tmp_path):
    found = loaded(tmp_path, name=gray, binarize="dynamic")
    index = torch.arange(len(found.train))
    mean = torch.stack([found.train_batch(index, 0, step) for step in range(2000)]).mean(0)
    assert (mean - found.train).abs().max() < 0.06


def test_reading_values_does_not_change_them(vae_data_root):
    digits = loaded(vae_data_root, name="digits", binarize="fixed")
    before = digits.val.clone()
    digits.floats(digits.val)
    assert digits.val.equal(before)


def test_fixed_bits_are_kept_as_bytes(gray, vae_data_root, tmp_path):
    for root, name in ((tmp_path, gray), (vae_data_root, "digits")):
        found = loaded(root, name=name, binarize="fixed")
        assert {getattr(found, part).dtype for part in PARTS} == {torch.uint8}


# --- placement --------------------------------------------------------------------------------------------------------


BINARIZE = get_args(DataConfig.model_fields["binarize"].annotation)
KINDS = {"bytes": np.uint8, "floats": np.float32, "doubles": np.float64, "bits": np.bool_}


@pytest.fixture(params=KINDS)
def any_kind(request, user_file):
    """Arrays in [0, 1] of every kind that is kept differently; bytes whose scale is not 1 are the digits."""
    if request.param == "bytes":
        return "digits"
    values = np.random.default_rng(0).random((70, 3, 4))
    return user_file(
        (values > 0.5).astype(np.bool_) if request.param == "bits" else values.astype(KINDS[request.param])
    )


@pytest.mark.parametrize("binarize", BINARIZE)
def test_where_the_data_lie_does_not_show(binarize, any_kind, vae_data_root):
    config = DataConfig(name=any_kind, binarize=binarize, n_train=40)
    mapped, ahead = (load(config, vae_data_root, CPU, share) for share in (1.0, 0.0))
    assert (mapped.ahead, ahead.ahead) == (False, True)
    places = (on_device(mapped), mapped, ahead)
    assert len({place.train.shape for place in places}) == 1
    assert mapped.val.equal(ahead.val)
    order = torch.split(torch.randperm(40)[:39], 4)
    found = [list(data.train_batches(order, 5, 17)) for data in places]
    assert len(found[0]) == len(order)
    for step, (first, *others) in enumerate(zip(*found, strict=True), 17):
        assert first.dtype == torch.float32
        assert all(other.dtype == first.dtype and other.equal(first) for other in others)
        for data in places:
            assert data.train_batch(order[step - 17], 5, step).equal(first)


@pytest.mark.parametrize("tree", [{}, {"data": {"binarize": "dynamic"}}], ids=["gray", "dynamic"])
def test_a_trial_is_the_same_wherever_its_data_lie(tree, vae_data_root):
    config = parse_config({"epochs": 2, "device": "cpu", "threads": 1, **tree})
    config = resolve(config, data_facts(config.data, vae_data_root))
    mapped, ahead = (load(config.data, vae_data_root, CPU, share) for share in (1.0, 0.0))
    trainers = [Trainer(config, place) for place in (on_device(mapped), mapped, ahead)]
    for _ in range(2):
        first, *others = (
            {name: value for name, value in trainer.train_epoch().metrics.items() if not name.startswith("time/")}
            for trainer in trainers
        )
        assert others == [first, first]


def threads_ahead():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_an_epoch_that_is_abandoned_ends_its_thread(vae_data_root):
    found = load(DataConfig(), vae_data_root, CPU, memory_share=0)
    batches = found.train_batches(torch.split(torch.arange(1000), 10), 0, 0)
    next(batches)
    assert threads_ahead()
    batches.close()
    assert not threads_ahead()


def test_a_step_that_raises_ends_the_thread(vae_data_root):
    found = load(DataConfig(), vae_data_root, CPU, memory_share=0)

    def step():
        for _ in found.train_batches(torch.split(torch.arange(1000), 10), 0, 0):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        step()
    assert not threads_ahead()


def test_a_failure_to_read_is_raised_where_the_batch_is_taken(vae_data_root):
    found = load(DataConfig(), vae_data_root, CPU, memory_share=0)
    batches = found.train_batches([torch.arange(3), torch.tensor([10**6])], 0, 0)
    assert next(batches).shape == (3, 64)
    with pytest.raises(IndexError):
        next(batches)


def test_a_quarter_of_the_share_is_held_on_the_device():
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for share in (1.0, 0.5, 1 / 7):
        quarter = int(memory * share / 4)
        assert held_on_device(quarter, CPU, share)
        assert not held_on_device(quarter + 1, CPU, share)


def test_the_bytes_of_the_facts_are_those_that_are_placed(any_kind, vae_data_root):
    config = DataConfig(name=any_kind, n_train=40)
    facts, found = data_facts(config, vae_data_root), load(config, vae_data_root, CPU)
    assert facts.train_bytes == found.train.n_bytes == on_device(found).train.nbytes


def test_the_size_of_a_chunk_does_not_show(any_kind, vae_data_root, tmp_path, monkeypatch):
    tree = {"name": any_kind, "binarize": "fixed"}
    facts, found = data_facts(DataConfig(**tree), vae_data_root), loaded(vae_data_root, **tree)
    monkeypatch.setattr(examples, "CHUNK_VALUES", 150)
    small, in_parts = data_facts(DataConfig(**tree), vae_data_root), loaded(tmp_path / "anew", **tree)
    assert all(getattr(found, part).equal(getattr(in_parts, part)) for part in PARTS)
    assert small.kappa_max == {name: pytest.approx(value, rel=1e-12) for name, value in facts.kappa_max.items()}
    assert (small.low, small.high, small.bits) == (facts.low, facts.high, facts.bits)


def test_arrays_are_read_in_any_order_and_type(user_file, tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 2, 3)).astype(np.float32)
    plain, *others = (loaded(tmp_path, name=user_file(y)) for y in (x, np.asfortranarray(x), x.astype(">f8")))
    for other in others:
        assert all(getattr(plain, part).equal(getattr(other, part)) for part in PARTS)


@pytest.mark.gpu
@pytest.mark.parametrize("binarize", BINARIZE)
def test_pinned_batches_copied_without_waiting_are_those_on_the_device(binarize, vae_data_root):
    config, device = DataConfig(binarize=binarize), torch.device("cuda")
    copied, in_host_memory = (load(config, vae_data_root, device, share) for share in (1.0, 0.0))
    assert copied.train.is_cuda
    assert isinstance(in_host_memory.train, Examples)
    order = torch.split(torch.randperm(1000, device=device), 7)
    found = zip(*(data.train_batches(order, 0, 0) for data in (copied, in_host_memory)), strict=True)
    assert all(first.is_cuda and first.equal(second) for first, second in found)


@pytest.mark.gpu
def test_bits_drawn_once_are_the_same_on_every_device(vae_data_root):
    config = DataConfig(binarize="fixed")
    here, there = on_device(load(config, vae_data_root, CPU)), load(config, vae_data_root, torch.device("cuda"))
    assert all(getattr(here, part).equal(getattr(there, part).cpu()) for part in PARTS)


# --- facts ------------------------------------------------------------------------------------------------------------


def test_facts_of_arrays(user_file, tmp_path):
    x = np.random.default_rng(0).normal(2, 3, (30, 4, 5))
    found = data_facts(DataConfig(name=user_file(x_train=x, x_val=x[:3], x_test=x[:2])), tmp_path)
    assert (found.shape, found.n_elements) == ((4, 5), 20)
    assert (found.n_train, found.n_val, found.n_test) == (30, 3, 2)
    assert (found.low, found.high, found.bits) == (x.min(), x.max(), False)
    assert found.kappa_max == {"re": pytest.approx(np.sqrt(x.var(0).mean()))}


def test_kappa_max_of_the_digits(vae_data_root):
    assert data_facts(DataConfig(name="digits"), vae_data_root).kappa_max["re"] == pytest.approx(0.27, abs=0.002)


def test_kappa_max_of_mnist_as_a_users_array(data_dir, user_file):
    data_facts(DataConfig(name="mnist"), data_dir)
    x = np.load(data_dir / "prepared" / "mnist" / "train.npy", mmap_mode="r")[:10_000] / 255
    found = data_facts(DataConfig(name=user_file(x_train=x, x_val=x[:1], x_test=x[:1])), data_dir)
    assert found.kappa_max["re"] == pytest.approx(0.2594, abs=5e-5)


@pytest.mark.parametrize("binarize", ["none", "fixed"])
def test_kappa_max_is_what_the_mean_image_reaches(binarize, user_file, tmp_path):
    """With as many bits as here, those drawn have the mean and variance expected of them."""
    x = np.tile(np.random.default_rng(0).random((50, 3)), (2000, 1))
    config = DataConfig(name=user_file(x_train=x, x_val=x[:1], x_test=x[:1]), binarize=binarize)
    found = data_facts(config, tmp_path).kappa_max
    values = on_device(load(config, tmp_path, CPU)).train.double()
    mean = values.mean(0)
    assert found["re"] == pytest.approx((values - mean).square().mean().sqrt().item(), abs=0.002)
    nll = torch.nn.functional.binary_cross_entropy(mean.expand_as(values), values).item()
    assert found["nll"] == pytest.approx(nll, abs=0.002)


@pytest.mark.parametrize("binarize", ["none", "fixed", "dynamic"])
def test_the_pixel_noise_is_the_error_of_gray_values_against_bits_drawn_from_them(binarize, user_file, tmp_path):
    x = np.tile(np.random.default_rng(0).random((50, 3)), (2000, 1))
    gray = DataConfig(name=user_file(x_train=x, x_val=x[:1], x_test=x[:1]))
    config = gray.model_copy(update={"binarize": binarize})
    seen, expected = (
        on_device(load(each, tmp_path, CPU)).train_batch(torch.arange(len(x)), 0, 0).double() for each in (config, gray)
    )
    noise = (seen - expected).square().mean().sqrt().item()
    assert data_facts(config, tmp_path).pixel_noise == pytest.approx(noise, abs=0.002)


def test_binarised_mnist_has_a_pixel_noise_of_1365(data_dir):
    """Of all 60,000 images; a constraint on the squared error cannot be kept below it."""
    assert data_facts(DataConfig(name="mnist", binarize="dynamic"), data_dir).pixel_noise == pytest.approx(
        0.1365, abs=5e-4
    )


def test_bits_are_recognised(user_file, tmp_path):
    x = np.random.default_rng(0).integers(0, 2, (30, 4))
    for bits in (x, x.astype(bool), x.astype(float), x.astype(np.uint8)):
        assert data_facts(DataConfig(name=user_file(bits)), tmp_path).bits
    assert not data_facts(DataConfig(name=user_file(x + 1)), tmp_path).bits
    assert not data_facts(DataConfig(name=user_file(x * 0.5)), tmp_path).bits


@pytest.mark.parametrize("off", [1e-7, -1e-7, 2e-7])
@pytest.mark.parametrize("value", [0, 1])
def test_one_value_that_is_rounded_leaves_bits_bits_and_a_range_a_range(off, value, user_file, tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, size=(40, 6)).astype(np.float32)
    gray = np.random.default_rng(0).random(size=(40, 6)).astype(np.float32)
    for x, are_bits in ((bits, True), (gray, False)):
        x[7, 3], x[8, 3], x[9, 3] = 0, 1, np.float32(value + off)
        facts = data_facts(DataConfig(name=user_file(x)), tmp_path)
        assert (facts.low, facts.high, facts.bits) == (0, 1, are_bits)
        assert "nll" in facts.kappa_max
    assert likelihood_of(DataConfig(name="x", binarize="soft"), facts) == "bernoulli"


def test_a_value_that_is_off_by_more_is_not_rounded(user_file, tmp_path):
    x = np.random.default_rng(0).integers(0, 2, size=(40, 6)).astype(np.float32)
    x[7, 3] = 1 + 1e-5
    facts = data_facts(DataConfig(name=user_file(x)), tmp_path)
    assert (facts.bits, facts.high) == (False, x[7, 3])
    assert "nll" not in facts.kappa_max


@pytest.mark.parametrize("value", [0.1, 0.2, 0.3])
def test_data_that_do_not_vary_have_a_kappa_max_of_0(value, user_file, tmp_path):
    """Also where rounding makes their variance negative."""
    assert 0 <= data_facts(DataConfig(name=user_file(np.full((47, 4), value))), tmp_path).kappa_max["re"] < 1e-8


def test_a_users_bytes_are_not_rescaled(user_file, tmp_path):
    x = np.full((6, 2), 255, dtype=np.uint8)
    name = user_file(x)
    found = loaded(tmp_path, name=name)
    assert found.train.dtype == torch.uint8
    assert (found.floats(found.train) == 255).all()
    assert data_facts(DataConfig(name=name), tmp_path).high == 255


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_more_training_examples_than_there_are(user_file, tmp_path):
    name = user_file(np.zeros((30, 2)))
    with pytest.raises(DataError) as error:
        loaded(tmp_path, name=name, n_train=21)
    assert str(error.value) == (
        f"data.n_train: 21 is more than the 20 training examples of {name}; at most 20, or none for all"
    )


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_examples_to_split(n, user_file, tmp_path):
    name = user_file(np.zeros((n, 2)))
    with pytest.raises(DataError) as error:
        loaded(tmp_path, name=name)
    assert str(error.value) == f"data.name: {name} has {n} examples; at least 3 are needed to split them"


@pytest.mark.parametrize("unit", [1e-7, 1e-12])
@pytest.mark.parametrize("low", [0, -1])
def test_data_in_a_small_unit_are_no_bits(user_file, tmp_path, unit, low):
    """All of them are within a millionth of 0."""
    x = np.random.default_rng(0).uniform(low, 1, size=(40, 6)) * unit
    facts = data_facts(DataConfig(name=user_file(x)), tmp_path)
    assert (facts.low, facts.high, facts.bits) == (x.min(), x.max(), False)
    assert likelihood_of(DataConfig(), facts) == "gaussian"
