"""Whether each node of a cluster can train a sweep's trials: asked there, by one small task each, before a start."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from trainables.errors import StorageError, UserError
from trainables.folder import LocalFolder
from trainables.grouping import grouped
from trainables.object_storage import folder_at

PACKAGES = ("vae-tuner", "ray", "torch")
SECONDS = 60.0
SHARE = "mount one storage on every node, or choose one that all share with --storage"


class Question(NamedTuple):
    """What a node is to look at.

    versions: the driver's. storage: a folder that exists, or a URI; `token` is a file there that says its own name.
    data: a file or folder of the user's, None for a built-in set. models: the user's own, `package.module:factory`.
    """

    versions: Mapping[str, str]
    storage: str
    token: str
    data_dir: str
    data: str | None
    models: tuple[str, ...]
    working_dir: str


class Fault(NamedTuple):
    """What is wrong on a node, and what to do about it."""

    says: str
    fix: str


class NodeReport(NamedTuple):
    """What was found on a node. free: bytes on the disk of its data directory."""

    faults: tuple[Fault, ...]
    free: int = 0


# --- on a node --------------------------------------------------------------------------------------------------------


def look_around(question: Question) -> NodeReport:
    """Make every check, where this runs.

    Parameters
    ----------
    question
        What to look at.

    Returns
    -------
    NodeReport
        What is wrong, and the bytes that are free.
    """
    checks: tuple[Callable[[Question], Fault | None], ...] = (_versions, _storage, _data_dir, _data, _models)
    faults = [fault for check in checks if (fault := check(question))]
    return NodeReport(tuple(faults), LocalFolder(Path(question.data_dir)).free())


def versions() -> dict[str, str]:
    """What has to be the same on every node; `missing` for a package that is not there."""
    return {"Python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]  # a build for CPU alone is the same version
    except PackageNotFoundError:
        return "missing"


def _versions(question: Question) -> Fault | None:
    pairs = zip(versions().items(), question.versions.values(), strict=True)
    differing = ", ".join(f"{name} is {here}, not {wanted}" for (name, here), wanted in pairs if here != wanted)
    return Fault(differing, "install the same versions on every node") if differing else None


def _storage(question: Question) -> Fault | None:
    """Read what the driver wrote, and write beside it."""
    name = f".vae-tuner-{uuid.uuid4().hex}"
    try:
        storage = folder_at(question.storage)
        if storage.read(question.token) != question.token.encode():
            return Fault(f"storage {question.storage} is not the one that the driver writes to", SHARE)
        storage.write(name, b"")
        storage.delete(name)
    except StorageError as error:
        return Fault(f"storage {question.storage} cannot be used: {error}", SHARE)
    return None


def _data_dir(question: Question) -> Fault | None:
    try:
        LocalFolder(Path(question.data_dir)).try_writing()
    except OSError as error:
        says = f"the data directory {question.data_dir} cannot be written: {error.strerror}"
        return Fault(says, "choose another with --data-dir")
    return None


def _data(question: Question) -> Fault | None:
    if question.data is None or os.access(question.data, os.R_OK):
        return None
    return Fault(f"data.name: {question.data} cannot be read", "put it where every node reads it, as on the storage")


def _models(question: Question) -> Fault | None:
    if not question.models:
        return None
    from trainables.global_settings import fresh
    from trainables.models.user import imported, make_importable

    make_importable(Path(question.working_dir))
    for kind in question.models:
        try:
            with fresh():  # a trial may be trained in this very process
                imported(kind)
        except BaseException as error:
            says = f"model.kind: importing {kind} raised {type(error).__name__}: {error}"
            return Fault(says, "install it on every node, or send the sweep with `vae-tuner submit`")
    return None


# --- on the driver ----------------------------------------------------------------------------------------------------


@contextmanager
def asking(storage: str, data_dir: Path, data: str | None, models: tuple[str, ...]) -> Iterator[Question]:
    """A question to nodes; the storage holds the driver's file until it is answered.

    Parameters
    ----------
    storage
        A folder that exists, or a URI.
    data_dir
        Folder of the built-in data sets.
    data
        A file or folder of the user's; None for a built-in set.
    models
        The user's own, each `package.module:factory`.

    Returns
    -------
    context manager of Question
        It removes the file.
    """
    token, place = f".vae-tuner-{uuid.uuid4().hex}", folder_at(storage)
    place.write(token, token.encode())
    try:
        yield Question(versions(), storage, token, str(data_dir), data, models, str(Path.cwd()))
    finally:
        place.delete(token)


def ask_nodes(question: Question) -> list[tuple[str, NodeReport]]:
    """Ask each node of the cluster that was joined, all at once.

    Parameters
    ----------
    question
        What to look at.

    Returns
    -------
    list of tuple
        (address, NodeReport) of each node; one that does not answer in time has a fault.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(look_around)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(question)
        for node in nodes
    ]
    ready, _ = ray.wait(answers, num_returns=len(answers), timeout=SECONDS)
    return [
        (node["NodeManagerAddress"], _look(answer) if answer in ready else _silent())
        for node, answer in zip(nodes, answers, strict=True)
    ]


def _look(answer: Any) -> NodeReport:
    import ray

    try:
        look: NodeReport = ray.get(answer)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        return NodeReport((Fault(f"it cannot run vae-tuner: {last}", "install vae-tuner on every node"),))
    return look


def _silent() -> NodeReport:
    fix = "look at it with `ray status` and `ray list nodes`, or take it out of the cluster"
    return NodeReport((Fault(f"no answer within {SECONDS:g} seconds", fix),))


def faults_by_node(looks: list[tuple[str, NodeReport]]) -> list[UserError]:
    """The faults of all nodes.

    Parameters
    ----------
    looks
        (address, NodeReport) of each node.

    Returns
    -------
    list of UserError
        Each fault once, with the addresses of the nodes that have it.
    """
    nodes = grouped((fault, address) for address, look in looks for fault in look.faults)
    return [
        UserError(f"nodes: on {', '.join(dict.fromkeys(addresses))}: {fault.says}; {fault.fix}")
        for fault, addresses in nodes.items()
    ]
