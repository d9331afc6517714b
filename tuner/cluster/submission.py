"""A sweep handed to a backend: what is known to fail there is refused here."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from search_spaces.catalogue import parse_space
from search_spaces.space import assemble, split_fixed
from trainables.config import DataConfig
from trainables.config.models import is_user_kind
from trainables.config.paths import flatten, parse_config, unflatten
from trainables.credentials import holds_secret, shown
from trainables.data.readers import check_known
from trainables.errors import ConfigError, UserError
from trainables.object_storage import checked_storage, is_remote
from tuner.cluster.backend import LOCAL, Backend, JobInfo, JobRequest, TakenError
from tuner.cluster.job import Job
from tuner.cluster.shipment import SPEC, Shipment, code_of, factories_of, shipment_of
from tuner.sweeps.folder import named_after, taken, unknown
from tuner.sweeps.resumable import check_named, check_resumable, named
from tuner.sweeps.spec import NAME, SweepSpec, check_public
from tuner.sweeps.state import fold
from tuner.sweeps.storage import open_storage
from tuner.sweeps.tracking_uri import resolve_uri, sqlite_path, without_secret

DEFAULT_STORAGE = "./sweeps"


ALLOWED = "--allow-changed"


@dataclass(frozen=True)
class Submission:
    """All that is decided of a job before a cluster is asked. arguments: of `vae-tuner`, as the job runs it.

    tracking_default: as of a JobRequest. tracking_uri: where its runs are recorded, None where that is not known here.
    """

    sweep: str
    storage: str
    shipment: Shipment
    arguments: tuple[str, ...]
    tracking_default: str | None
    factories: Sequence[str]
    tracking_uri: str | None

    @property
    def notes(self) -> list[str]:
        """What the user should know of what is sent."""
        unsent = [
            f"{kind} is not sent, as this folder holds no such module: it has to be installed where the job runs"
            for kind in self.shipment.without_code_of(self.factories)
        ]
        return [*self.shipment.notes, *unsent]


def submit_sweep(spec: SweepSpec, backend: Backend, here: Path, *, allow_changed: bool = False) -> Job:
    """Start a sweep as a job. here: the folder in which a user's model and relative paths are found. allow_changed: as
    of `sweep`, which the job runs.

    Raises UserError for what cannot run there, before anything is sent.
    """
    ready = planned_submission(spec, backend.cluster, here, allow_changed=allow_changed)
    _check_idle(ready.sweep, ready.storage, backend.jobs())
    if backend.cluster == LOCAL and ready.sweep in (sweeps := open_storage(ready.storage)).names():
        raise taken(sweeps, ready.sweep)
    return _submitted(ready, backend)


def planned_submission(spec: SweepSpec, cluster: str, here: Path, *, allow_changed: bool = False) -> Submission:
    """What `submit_sweep` would send to a cluster, which is not asked; raises UserError as it does."""
    _check_fixed(spec)
    is_local = cluster == LOCAL
    storage = _storage(spec.storage, is_local, here)
    name = spec.name or _new_name(spec)
    uri = _tracking_uri(spec.tracking.uri, is_local, here)
    tracking = spec.tracking.model_copy(update={"uri": uri})
    resources = spec.resources.model_copy(update={"ray_address": None if is_local else "auto"})
    whole = spec.model_copy(update={"name": name, "storage": storage, "tracking": tracking, "resources": resources})
    address = () if is_local else ("--ray-address", "auto")
    allowed = (ALLOWED,) if allow_changed else ()
    arguments = ("sweep", SPEC, *address, *allowed, "--storage", storage, "--format", "json")
    shipment = shipment_of(whole, here, storage, with_data=not is_local)
    default = None if uri else _default_uri(storage, is_local, here)
    known = uri or (default if is_local else None)
    return Submission(name, storage, shipment, arguments, default, factories_of(spec), known)


def submit_resume(
    sweep: str,
    backend: Backend,
    here: Path,
    *,
    storage: str | None = None,
    more_trials: int = 0,
    model: str | Sequence[str] | None = None,
    tracking_uri: str | None = None,
    allow_changed: bool = False,
) -> Job:
    """Go on with a sweep in a new job. storage: by default where its last job had it. model: of a sweep over a user's
    own models, each `package.module:factory` again, found in `here`. allow_changed: as of `resume`, which it runs."""
    if not NAME.fullmatch(sweep):
        raise UserError(f"name: {sweep!r} is not the name of a sweep; `vae-tuner jobs list` lists the jobs")
    models = _own_models(model)
    is_local = backend.cluster == LOCAL
    jobs = [job for job in backend.jobs() if job.sweep == sweep]
    storage = _storage(storage or _last_storage(sweep, jobs, backend), is_local, here)
    uri = _tracking_uri(tracking_uri, is_local, here)
    _check_idle(sweep, storage, jobs)
    if is_local and sweep not in (sweeps := open_storage(storage)).names():
        raise unknown(sweeps, sweep)
    _check_resumable(sweep, storage, more_trials)
    _check_models(models, storage, jobs)
    options = {"--tracking-uri": uri, "--trials": f"+{more_trials}" if more_trials else None}
    chosen = [word for kind in models for word in ("--model", kind)]
    chosen += [word for option, value in options.items() if value for word in (option, value)]
    chosen += [ALLOWED] if allow_changed else []
    arguments = ("resume", sweep, *chosen, "--storage", storage, "--format", "json")
    return _submitted(
        Submission(sweep, storage, Shipment(code_of(models, here)), arguments, None, models, uri), backend
    )


def _own_models(model: str | Sequence[str] | None) -> tuple[str, ...]:
    models = named(model)
    for kind in models:
        if not is_user_kind(kind):
            raise ConfigError(f"--model {kind}: name the sweep's own package.module:factory, or leave it out")
    return models


def _check_models(models: Sequence[str], storage: str, jobs: Sequence[JobInfo]) -> None:
    """Refuse what names all the models of no job that had any; the last one may have been refused for its own."""
    known = [job.factories for job in jobs if job.storage == storage and job.factories]
    if known and not any(set(factories) <= set(models) for factories in known):
        check_named(known[-1], models)


def _last_storage(sweep: str, jobs: Sequence[JobInfo], backend: Backend) -> str:
    if jobs:
        return jobs[-1].storage
    if backend.cluster == LOCAL:
        return DEFAULT_STORAGE
    raise UserError(
        f"{backend.cluster} knows no job of sweep {sweep}, as after the loss of its head; say where its state is, as "
        "in --storage /shared/sweeps, or --storage s3://bucket/sweeps"
    )


def _submitted(ready: Submission, backend: Backend) -> Job:
    sweep, storage, factories = ready.sweep, ready.storage, tuple(ready.factories)
    with TemporaryDirectory() as folder:
        ready.shipment.write(Path(folder))
        kept, default = ready.shipment.kept, ready.tracking_default
        job_id = _submit(
            JobRequest(sweep, sweep, storage, Path(folder), ready.arguments, default, kept, factories), backend
        )
    uri = without_secret(ready.tracking_uri) or ""
    return Job(job_id, sweep, storage, backend, factories, ready.notes, uri)


def _submit(request: JobRequest, backend: Backend) -> str:
    """Submit under the first id that is free: the sweep's name, then -2, -3, …; refused while a job holds the sweep."""
    refused: set[str] = set()
    while True:
        jobs = backend.jobs()
        _check_idle(request.sweep, request.storage, jobs)
        job_id = _free_id(request.sweep, {job.id for job in jobs} | refused)
        try:
            backend.submit(replace(request, id=job_id))
        except TakenError:  # by a job that is not a sweep's, or by one of just now
            refused.add(job_id)
            continue
        return job_id


def _check_idle(sweep: str, storage: str, jobs: Sequence[JobInfo]) -> None:
    for job in jobs:
        if (job.sweep, job.storage) == (sweep, storage) and not job.has_ended:
            raise UserError(f"sweep {sweep} runs in job {job.id}; stop that first, or wait for its end")


def _check_resumable(sweep: str, storage: str, more_trials: int) -> None:
    """Refuse what the job would, where the storage can be read from here."""
    try:
        found = fold(open_storage(storage).lines(sweep))
    except UserError:
        return
    if found.header:
        check_resumable(found, more_trials)


def _free_id(sweep: str, known: Set[str]) -> str:
    n, found = 1, sweep
    while found in known:
        n += 1
        found = f"{sweep}-{n}"
    return found


def _new_name(spec: SweepSpec) -> str:
    """SPACE-DATASET-RANDOM: which numbers are free is known only where the storage is."""
    stem = named_after(parse_space(spec.space).name, str(flatten(spec.config).get("data.name", DataConfig().name)))
    return f"{stem}-{secrets.token_hex(2)}"


def _check_fixed(spec: SweepSpec) -> None:
    """Refuse fields of a sweep's fixed part that are unknown or not allowed, and names that no data set has.

    What depends on the data, as a batch size larger than their number, is found where these are read.
    """
    check_public(spec)
    space, rest = split_fixed(parse_space(spec.space), flatten(spec.config))
    tree = unflatten(rest)
    check_known(parse_config(assemble(tree, space, space.default(tree))).data.name)


# --- where state and records go ---------------------------------------------------------------------------------------


def _storage(storage: str, is_local: bool, here: Path) -> str:
    """A storage as every job spells it: whether another one holds a sweep is seen by that."""
    if is_remote(storage):
        scheme, _, place = checked_storage(storage).partition("://")
        path, query, parameters = place.partition("?")
        return f"{scheme}://{path.rstrip('/') or path}{query}{parameters}"
    if is_local:
        return str((here / storage).resolve())
    if not Path(storage).is_absolute():
        raise ConfigError(
            f"storage: {storage} is a folder of this machine; name one that every node of the cluster sees, as in "
            "--storage /shared/sweeps, or --storage s3://bucket/sweeps"
        )
    return os.path.normpath(f"/{storage.lstrip('/')}")


def _tracking_uri(uri: str | None, is_local: bool, here: Path) -> str | None:
    """The store that was named, None where none was."""
    if uri is None:
        return None
    whole = resolve_uri(uri, here)
    if holds_secret(uri):
        where = "this shell" if is_local else "the head"
        raise ConfigError(
            f"tracking URI {shown(uri)} holds a name, a password or a key, which the job would show; "
            "leave them out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or all of it as "
            f"MLFLOW_TRACKING_URI, in the environment of {where}"
        )
    path = sqlite_path(uri)
    if path is not None and not is_local and not path.is_absolute():
        raise ConfigError(
            f"tracking URI {uri} is a file of this machine; name a server, or a file that the head keeps, as in "
            "sqlite:////shared/mlflow.db"
        )
    return whole


def _default_uri(storage: str, is_local: bool, here: Path) -> str:
    """The store of a sweep that names none: here a file in the folder where it was submitted, on a cluster one beside
    the sweeps; empty where these are in object storage."""
    if is_local:
        return resolve_uri(None, here)
    return "" if is_remote(storage) else f"sqlite:///{Path(storage)}/mlflow.db"
