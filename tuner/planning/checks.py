"""Everything that can be known to fail before a sweep starts, as `doctor` prints it and as every sweep checks it."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from trainables.config.models import is_user_kind
from trainables.cores import allotted_cores
from trainables.credentials import shown
from trainables.data.readers import is_path
from trainables.errors import StorageError, UserError
from trainables.object_storage import folder_at, is_remote
from tuner.cluster.ray_address import connect
from tuner.cluster.ray_folder import base_folder
from tuner.cluster.ray_session import quiet_ray
from tuner.planning.memory_probe import gigabytes
from tuner.planning.node_checks import ask_nodes, asking, faults_by_node
from tuner.planning.plans import Plan, make_plan
from tuner.sweeps.spec import SweepSpec
from tuner.sweeps.tracking_uri import resolve_uri, sqlite_path
from tuner.tracking.artifact_root import located, recorded_root
from tuner.tracking.reachability import check_reachable
from tuner.tracking.store_checks import begin_experiment, check_store

BYTES_PER_VALUE = 4
STATES_PER_PARAMETER = 3  # the parameter and two moments
COPIES_PER_TRIAL = 3  # two generations while it trains; at its end the last and MLflow's copy


@dataclass(frozen=True)
class Finding:
    """What one check found. state: `ok`, `warning` or `failure`. fix: what to do about it, empty where it is ok."""

    check: str
    state: Literal["ok", "warning", "failure"]
    says: str
    fix: str = ""


def examine(spec: SweepSpec, data_dir: Path | None = None) -> list[Finding]:
    """All checks of a sweep that could be started with this spec.

    Parameters
    ----------
    spec
        Of the sweep.
    data_dir
        Folder of the built-in data sets.

    Returns
    -------
    list of Finding
        Those of a plan only where there is one.
    """
    found = [_packages()]
    try:
        plan = make_plan(spec, data_dir)
    except UserError as error:
        return [*found, _failure(_check_of(error), error), *_of_spec(spec)]
    return [*found, Finding("data", "ok", plan.notes[0]), _model(plan), *_of_plan(plan)]


def require_ready(plan: Plan) -> list[Finding]:
    """Check all that can be known to fail before a plan starts, and make its experiment in MLflow.

    Parameters
    ----------
    plan
        Of the sweep.

    Returns
    -------
    list of Finding
        The warnings.

    Raises
    ------
    UserError
        A check fails; the message has each cause and its fix.
    """
    found = list(_of_plan(plan))
    failures = [finding for finding in found if finding.state == "failure"]
    if failures:
        raise UserError("; ".join(f"{finding.says}; {finding.fix}" for finding in failures))
    tracking = plan.spec.tracking
    if not tracking.offline:
        begin_experiment(resolve_uri(tracking.uri, Path.cwd()), tracking.experiment)
    return [finding for finding in found if finding.state == "warning"]


def _of_spec(spec: SweepSpec) -> Iterator[Finding]:
    yield _attempt("tracking", lambda: check_tracking(spec))
    yield _attempt("storage", lambda: _storage(spec.storage))


def _of_plan(plan: Plan) -> Iterator[Finding]:
    here = [*_of_spec(plan.spec), _attempt("disk", lambda: _disk(plan)), _attempt("device", lambda: _device(plan))]
    if plan.spec.resources.ray_address is None:
        here.append(_attempt("ray", lambda: Finding("ray", "ok", f"its files lie in {base_folder()} while it runs")))
    yield from here
    if plan.spec.resources.ray_address is not None and all(finding.state != "failure" for finding in here):
        yield from _nodes(plan)


def _attempt(check: str, run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except UserError as error:
        return _failure(check, error)


def _check_of(error: UserError) -> str:
    """What refuses a plan: its message begins with a path."""
    section = re.match(r"\w+", str(error))
    return section[0] if section and section[0] in ("data", "model") else "sweep"


def _failure(check: str, error: UserError) -> Finding:
    """A user's error names cause and fix, the fix last."""
    says, _, fix = str(error).rpartition("; ")
    return Finding(check, "failure", says or fix, fix if says else "")


# --- the checks -------------------------------------------------------------------------------------------------------


def _packages() -> Finding:
    """Installed packages against this project's pins."""
    differing = [
        f"{name} {found or 'is missing'} (tested with {pinned})"
        for name, pinned in pins()
        if (found := _installed(name)) != pinned
    ]
    if differing:
        return Finding("packages", "warning", ", ".join(differing), "make install restores the pinned versions")
    python = ".".join(map(str, sys.version_info[:3]))
    return Finding("packages", "ok", f"Python {python}, {', '.join(f'{name} {pin}' for name, pin in pins())}")


def pins() -> list[tuple[str, str]]:
    """The packages that this project pins, with their versions."""
    found = [re.match(r"([\w.-]+)(?:\[[^]]*\])?==([^;\s]+)$", line) for line in requires("vae-tuner") or ()]
    return [(match[1], match[2]) for match in found if match]


def _installed(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]  # 2.14.1+cpu is a build of 2.14.1
    except PackageNotFoundError:
        return None


def _model(plan: Plan) -> Finding:
    """What the plan notes of the user's own model; one that cannot be trained has no plan."""
    kind = plan.default.model.kind
    return Finding("model", "ok", "; ".join(note for note in plan.notes if note.startswith(f"{kind}: ")) or kind)


def _storage(storage: str) -> Finding:
    """Write a file, read it back, delete it: on this machine, which need not have the rights of the nodes."""
    name = f".vae-tuner-{uuid.uuid4().hex}"
    try:
        root = folder_at(storage).existing()
        root.write(name, b"probe")
        found = root.read(name)
        root.delete(name)
    except StorageError as error:
        raise UserError(f"storage: {error}, or choose another with --storage") from None
    if found != b"probe":
        raise UserError(f"storage: {root} does not give back what is written there; choose another with --storage")
    return Finding("storage", "ok", f"{storage} can be written and read")


def check_tracking(spec: SweepSpec) -> Finding:
    """Whether the store answers and takes what a sweep writes.

    Parameters
    ----------
    spec
        Of the sweep.

    Returns
    -------
    Finding
        `ok`.

    Raises
    ------
    UserError
        It does not; the message names cause and fix.
    """
    uri, experiment = resolve_uri(spec.tracking.uri, Path.cwd()), spec.tracking.experiment
    if uri.startswith("databricks") and not experiment.startswith("/"):
        raise UserError(
            f"tracking.experiment: {experiment!r} is not a path; Databricks needs one such as "
            f"--experiment /Users/you@example.com/{experiment}"
        )
    if spec.tracking.offline:
        return Finding("tracking", "ok", "offline; `vae-tuner sync` sends the records afterwards")
    database = sqlite_path(uri)
    is_new = database is not None and not database.exists()
    try:
        check_reachable(uri)
    except UserError as error:
        raise UserError(f"{error}, or begin with --offline and send the records later with `vae-tuner sync`") from None
    check_store(uri, experiment)
    return Finding("tracking", "ok", f"{uri} will be created") if is_new else _found_store(uri, experiment)


def _found_store(uri: str, experiment: str) -> Finding:
    database = sqlite_path(uri)
    recorded = recorded_root(database, experiment) if database else None
    if recorded and (today := located(uri, recorded)) != recorded:
        return Finding(
            "tracking",
            "warning",
            f"{uri} answers, and was moved or copied: the files of its runs were in {recorded}, and are in {today}",
            "nothing to do; the next sweep, sync or train records the new place",
        )
    return Finding("tracking", "ok", f"{shown(uri)} answers")


def _disk(plan: Plan) -> Finding:
    """Free space against what checkpoints and artifacts will take at most; object storage has no end."""
    needed = COPIES_PER_TRIAL * plan.n_trials * checkpoint_bytes(plan)
    free = folder_at(plan.spec.storage).free()
    if free is None:
        return Finding("disk", "ok", f"at most {gigabytes(needed)} of objects will lie in {plan.spec.storage}")
    says = f"{gigabytes(free)} free, at most {gigabytes(needed)} needed for checkpoints and artifacts"
    if free < needed:
        return Finding("disk", "failure", f"storage: {says}", "choose another --storage, or fewer --trials")
    return Finding("disk", "ok", says)


def checkpoint_bytes(plan: Plan) -> int:
    """What a checkpoint of the default configuration takes.

    Parameters
    ----------
    plan
        Of the sweep.

    Returns
    -------
    int
        Bytes.
    """
    from tuner.planning.memory_probe import n_parameters

    return STATES_PER_PARAMETER * BYTES_PER_VALUE * n_parameters(plan.default.model, plan.facts.shape)


def _device(plan: Plan) -> Finding:
    import torch

    if not plan.gpus_per_trial:
        return Finding("device", "ok", f"no GPU is used; {allotted_cores().says}")
    memory = [torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count())]
    shares = ", ".join(f"{gigabytes(free)} of {gigabytes(total)} free" for free, total in memory)
    return Finding("device", "ok", f"{len(memory)} GPU ({shares}); each trial gets {plan.gpus_per_trial:g}")


def _nodes(plan: Plan) -> Iterator[Finding]:
    """What each node of the cluster says of the storage, the data, the packages and the user's models there."""
    storage, data = plan.spec.storage, plan.default.data.name
    domain = plan.space.dimensions.get("model.kind")
    kinds = domain.levels() if domain else [plan.default.model.kind]
    quiet_ray()
    connect(plan.spec.resources.ray_address)
    with asking(
        str(folder_at(storage).existing()),
        plan.data_dir,
        data if is_path(data) and not is_remote(data) else None,
        tuple(kind for kind in map(str, kinds) if is_user_kind(kind)),
    ) as question:
        looks = ask_nodes(question)
    yield from (_failure("nodes", error) for error in faults_by_node(looks))
    if not faults_by_node(looks):
        free = gigabytes(min(look.free for _, look in looks))
        yield Finding("nodes", "ok", f"{len(looks)} share the storage and have the same versions; {free} free or more")
