"""The share of a GPU that `gpus_per_trial: auto` means: the largest configuration tried out on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from search_spaces.space import Space, assemble
from trainables.config import TrialConfig
from trainables.config.models import ModelConfig
from trainables.config.paths import plain
from trainables.errors import UserError
from trainables.global_settings import fresh
from trainables.models import build_model
from trainables.worker.probe import measure
from tuner.cluster.capacity import Capacity, Node, node_here
from tuner.cluster.worker_environment import seen_by_workers

WAIT_SECONDS = 900.0

Answer = Mapping[str, int | None]


def largest(
    space: Space, base: Mapping[str, Any], resolved: Callable[[Mapping[str, Any]], TrialConfig], shape: tuple[int, ...]
) -> TrialConfig:
    """The configuration of the most parameters × batch size × samples that the space can draw.

    Dimension by dimension, children before their parents, the level where that is most, with what is known of the
    others; a parent's options are compared with the largest of what they switch on.

    Parameters
    ----------
    space
        In numbers.
    base
        The fixed part of every trial, as a tree.
    resolved
        The configuration of a tree.
    shape
        Of an example.

    Returns
    -------
    TrialConfig
        Resolved.
    """
    best: dict[str, Any] = {}

    def drawn(values: Mapping[str, Any]) -> TrialConfig:
        chosen = space.walk(lambda path, domain, _: values.get(path, best.get(path, domain.levels()[0])))
        return resolved(assemble(base, space, chosen))

    for path, domain in reversed(list(space.dimensions.items())):
        draw = next(draw for draw in space.covering if path in draw)
        sizes = {i: _size(drawn({**draw, **best, path: value}), shape) for i, value in enumerate(domain.levels())}
        best[path] = domain.levels()[max(sizes, key=lambda i: sizes[i])]
    return drawn({})


@fresh()
def n_parameters(model: ModelConfig, shape: tuple[int, ...]) -> int:
    """The number of parameters of a model.

    Parameters
    ----------
    model
        Its configuration.
    shape
        Of an example.

    Returns
    -------
    int
        All numbers that it learns.
    """
    return sum(value.numel() for value in build_model(model, shape).init(0, torch.device("cpu")).values())


def _size(config: TrialConfig, shape: tuple[int, ...]) -> int:
    samples = getattr(config.objective, "samples", 1)
    return n_parameters(config.model, shape) * config.batch_size * samples


def measured_share(
    config: TrialConfig, data_dir: Path, capacity: Capacity, cpus_per_trial: float
) -> tuple[float, list[str]]:
    """The share of a GPU that a trial needs, measured on one of this machine or of the cluster.

    Parameters
    ----------
    config
        The largest that the sweep can draw.
    data_dir
        Folder of the built-in data sets.
    capacity
        Of this machine or the cluster.
    cpus_per_trial
        As in `resources`.

    Returns
    -------
    tuple of float and list of str
        GPUs of a trial, and notes that say how that was found.

    Raises
    ------
    UserError
        Nothing can be measured.
    """
    request = {"config": json.dumps(plain(config)), "data_dir": str(data_dir), "working_dir": str(Path.cwd())}
    if capacity.address is None:
        return packed(measured_here(request), capacity.biggest, cpus_per_trial)
    if not capacity.gpus:
        print(
            "No node of the cluster has a GPU yet: it is asked for one, to measure what a trial takes", file=sys.stderr
        )
    answer, node, gpu = measured_on_cluster(request, cpus_per_trial)
    share, notes = packed(answer, node, cpus_per_trial)
    return share, [*notes, f"that was measured on {gpu}; on a smaller GPU trials may run out of memory, then run alone"]


def packed(answer: Answer, node: Node, cpus_per_trial: float) -> tuple[float, list[str]]:
    """The share of a GPU that a trial needs, from what the probe has answered.

    Parameters
    ----------
    answer
        Bytes of memory, and of the trial at its peak; None where it ran out of them.
    node
        That it was measured on.
    cpus_per_trial
        As in `resources`.

    Returns
    -------
    tuple of float and list of str
        GPUs of a trial, and notes.

    Raises
    ------
    UserError
        The node has no GPU.
    """
    memory, peak = answer["memory_bytes"], answer["peak_bytes"]
    if memory is None:
        raise _failure("there is no GPU where it ran")
    if peak is None:
        return 1.0, [
            f"gpus_per_trial: auto is 1, as the largest configuration alone runs out of a GPU's {gigabytes(memory)}: "
            "such trials will fail; search smaller models or batches"
        ]
    trials = trials_per_gpu(memory, peak, node.cpus / node.gpus, cpus_per_trial)
    return gpu_share(trials), [
        f"a trial of the largest configuration takes {gigabytes(peak)} of a GPU's {gigabytes(memory)}: "
        f"{trials} at once on each GPU"
    ]


def measured_here(request: Mapping[str, str]) -> Answer:
    """What a trial takes of this machine's GPU, measured in a process of its own, which gives it back.

    Parameters
    ----------
    request
        The configuration, and where its data and code are.

    Returns
    -------
    dict of str to int
        Bytes, as `packed` takes them.

    Raises
    ------
    UserError
        The process failed; the message has its last words.
    """
    command = [sys.executable, "-m", "trainables.worker.probe"]
    environment, asked = seen_by_workers(os.environ, ""), json.dumps(request)
    done = subprocess.run(
        command,
        input=asked,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        start_new_session=True,
    )
    if done.returncode:
        raise _failure(done.stderr)
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer


def measured_on_cluster(request: Mapping[str, str], cpus: float) -> tuple[Answer, Node, str]:
    """What a trial takes of a GPU of the cluster that was joined.

    Parameters
    ----------
    request
        The configuration, and where its data and code are.
    cpus
        That the probe asks for.

    Returns
    -------
    tuple
        Bytes as `packed` takes them, the node that measured them, and the GPU's name.

    Raises
    ------
    UserError
        It failed, or no GPU became free.
    """
    import ray

    probe = ray.remote(num_gpus=1, num_cpus=cpus, max_retries=0, max_calls=1)(_there)
    asked = probe.remote(request)
    try:
        found: tuple[Answer, Node, str] = ray.get(asked, timeout=WAIT_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise _failure(f"no GPU of the cluster was free within {WAIT_SECONDS / 60:g} minutes") from None
    except ray.exceptions.RayError as error:
        raise _failure(str(error)) from None
    return found


def _there(request: Mapping[str, str]) -> tuple[Answer, Node, str]:
    """What a node of the cluster measures, the node, and its GPU's name."""
    answer = measure(request)
    return answer, node_here(), torch.cuda.get_device_name() if answer["memory_bytes"] else "no GPU"


def _failure(cause: str) -> UserError:
    last = (cause.strip() or "its process died").splitlines()[-1]
    return UserError(f"resources.gpus_per_trial: auto could not be measured: {last}; give a number, such as 0.5")


def gigabytes(n: float) -> str:
    """A number of bytes in words.

    Parameters
    ----------
    n
        Bytes.

    Returns
    -------
    str
        In GB.

    Examples
    --------
    >>> gigabytes(24_000_000_000)
    '24 GB'
    """
    return f"{n / 1e9:.3g} GB"


CONTEXT_BYTES = 3 * 2**28  # of a process on a GPU: CUDA's context and the kernels it has loaded
MARGIN = 0.1
MOST = 8  # beyond that trials wait for each other on the GPU longer than they gain


def trials_per_gpu(memory_bytes: int, peak_bytes: int, cpus_per_gpu: float, cpus_per_trial: float) -> int:
    """⌊memory·(1 − margin) / (peak + context)⌋, at least 1, at most 8 and what the CPUs beside a GPU allow.

    Parameters
    ----------
    memory_bytes
        Of the GPU.
    peak_bytes
        What the largest configuration takes.
    cpus_per_gpu
        Of a node, for each of its GPUs.
    cpus_per_trial
        As in `resources`.

    Returns
    -------
    int
        Trials at once on a GPU.

    Examples
    --------
    >>> trials_per_gpu(24 * 10**9, 6 * 10**9, cpus_per_gpu=8, cpus_per_trial=1)
    3
    """
    by_memory = int(memory_bytes * (1 - MARGIN)) // (peak_bytes + CONTEXT_BYTES)
    by_cpus = int(cpus_per_gpu / cpus_per_trial)
    return max(1, min(by_memory, by_cpus, MOST))


def gpu_share(trials: int) -> float:
    """The share of a GPU of which so many fit, in the steps of 1e-4 that Ray counts in.

    Parameters
    ----------
    trials
        At once on a GPU.

    Returns
    -------
    float
        Rounded down.

    Examples
    --------
    >>> gpu_share(3)
    0.3333
    """
    return 10_000 // trials / 10_000
