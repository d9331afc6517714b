"""Trials that share a GPU never need more than its memory, and Ray can give each its share."""

from hypothesis import given
from hypothesis import strategies as st

from tuner.cluster.capacity import Node
from tuner.planning.memory_probe import CONTEXT_BYTES, gpu_share, trials_per_gpu

GB = 10**9
memory = st.integers(4 * GB, 200 * GB)
peak = st.integers(1, 100 * GB)
cores = st.integers(1, 64)


@given(memory, peak, cores)
def test_what_is_packed_fits_or_is_one(memory, peak, cores):
    trials = trials_per_gpu(memory, peak, cores, 1.0)
    assert 1 <= trials <= 8
    assert trials == 1 or trials * (peak + CONTEXT_BYTES) <= 0.9 * memory
    assert trials == 1 or trials <= cores


@given(memory, peak, cores)
def test_more_memory_more_cores_and_smaller_trials_never_pack_fewer(memory, peak, cores):
    trials = trials_per_gpu(memory, peak, cores, 1.0)
    assert trials_per_gpu(memory + GB, peak, cores, 1.0) >= trials
    assert trials_per_gpu(memory, peak + GB, cores, 1.0) <= trials
    assert trials_per_gpu(memory, peak, cores + 1, 1.0) >= trials
    assert trials_per_gpu(memory, peak, cores, 2.0) <= trials


@given(st.integers(1, 8), st.integers(1, 8))
def test_as_many_shares_fit_on_each_gpu_as_were_packed(trials, gpus):
    assert Node(1000, gpus).slots(1, gpu_share(trials)) == trials * gpus
    assert trials * gpu_share(trials) <= 1


def test_a_trial_of_three_gigabytes_on_the_largest_of_gpus():
    assert trials_per_gpu(141 * GB, 31 * GB // 10, 16, 1.0) == 8
    assert trials_per_gpu(24 * GB, 31 * GB // 10, 16, 1.0) == 5
    assert trials_per_gpu(24 * GB, 31 * GB // 10, 3, 1.0) == 3
