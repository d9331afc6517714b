"""The verbs of sweeps that run as jobs on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.api.sweeps import Spec, spec_of

if TYPE_CHECKING:
    from tuner.cluster.job import Job


def submit(spec: Spec, *, cluster: str | None = None, allow_changed: bool = False) -> Job:
    """Submit a sweep to a Ray cluster, with your model's code and your arrays, and return at once.

    Parameters
    ----------
    spec
        A SweepSpec, its YAML file, or the same as nested plain data.
    cluster
        URL of the cluster's dashboard, or `local` for a process of this machine; by default RAY_API_SERVER_ADDRESS,
        else local.
    allow_changed
        Go on although the data or the code of a model have changed; the change is recorded.

    Returns
    -------
    Job
        With `state`, `status()`, `logs()`, `result()` and `stop()`.

    Raises
    ------
    UserError
        The sweep cannot run there. Nothing was sent.

    Examples
    --------
    >>> job = tuner.submit("sweep.yaml", cluster="http://127.0.0.1:8265")  # doctest: +SKIP
    """
    from tuner.cluster.backend_choice import backend_of
    from tuner.cluster.submission import submit_sweep

    return submit_sweep(spec_of(spec), backend_of(cluster), Path.cwd(), allow_changed=allow_changed)


def find_job(job_id: str, *, cluster: str | None = None) -> Job:
    """Find a job that was submitted.

    Parameters
    ----------
    job_id
        The job's id, as `tuner.submit` returns it.
    cluster
        As for `tuner.submit`.

    Returns
    -------
    Job
        With `state`, `status()`, `logs()`, `result()` and `stop()`.

    Raises
    ------
    UserError
        The cluster has no such job, or cannot be reached.
    """
    from tuner.cluster.job import known_job

    return known_job(job_id, cluster)


def resume_job(
    name: str,
    *,
    cluster: str | None = None,
    storage: str | None = None,
    trials: int = 0,
    model: str | Sequence[str] | None = None,
    tracking_uri: str | None = None,
    allow_changed: bool = False,
) -> Job:
    """Go on with a submitted sweep in a new job.

    Parameters
    ----------
    name
        The sweep.
    cluster
        As for `tuner.submit`.
    storage
        Where the sweep is; by default where its last job had it.
    trials
        Number of trials to add to those planned.
    model
        For a sweep over your own models: each `package.module:factory` again. The journal says which code it needs, and
        you whether it may run.
    tracking_uri
        Another MLflow store than the sweep's own.
    allow_changed
        Go on although the data or the code of a model have changed; the change is recorded.

    Returns
    -------
    Job
        The new job.

    Raises
    ------
    UserError
        There is nothing to go on with, or the cluster cannot be reached.
    """
    from tuner.cluster.backend_choice import backend_of
    from tuner.cluster.submission import submit_resume

    return submit_resume(
        name,
        backend_of(cluster),
        Path.cwd(),
        storage=storage,
        more_trials=trials,
        model=model,
        tracking_uri=tracking_uri,
        allow_changed=allow_changed,
    )
