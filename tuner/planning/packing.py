"""How many trials share a GPU, from what one takes of its memory."""

from __future__ import annotations

__all__ = ["CONTEXT_BYTES", "gpu_share", "trials_per_gpu"]

CONTEXT_BYTES = 3 * 2**28  # of a process on a GPU: CUDA's context and the kernels it has loaded
MARGIN = 0.1
MOST = 8  # beyond that trials wait for each other on the GPU longer than they gain


def trials_per_gpu(memory_bytes: int, peak_bytes: int, cpus_per_gpu: float, cpus_per_trial: float) -> int:
    """⌊memory·(1 − margin) / (peak + context)⌋, at least 1, at most 8 and what the CPUs beside a GPU allow.

    peak_bytes: what the largest configuration takes. cpus_per_gpu: of a node, for each of its GPUs.
    """
    by_memory = int(memory_bytes * (1 - MARGIN)) // (peak_bytes + CONTEXT_BYTES)
    by_cpus = int(cpus_per_gpu / cpus_per_trial)
    return max(1, min(by_memory, by_cpus, MOST))


def gpu_share(trials: int) -> float:
    """The GPUs of a trial, such that so many fit in the steps of 1e-4 that Ray counts in: 1/3 is 0.3333."""
    return 10_000 // trials / 10_000
