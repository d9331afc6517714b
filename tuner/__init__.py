"""A Ray Tune hyperparameter search service for variational autoencoders.

    import tuner

    result = tuner.sweep({"config": {"data": {"name": "mnist"}}, "space": "geco-vs-annealing"})
    best = tuner.best(sweep=[result.name])[0]
    model = tuner.load(best.run_id)
    images = model.sample(16)

Functions are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.api import (
        StoppedError,
        StorageError,
        best,
        compare,
        compare_sweeps,
        export,
        find_job,
        history,
        load,
        lr_range,
        plan,
        register,
        remove,
        report,
        resume,
        resume_job,
        spaces,
        status,
        study,
        submit,
        sweep,
        sync,
        train,
        trials,
    )

__all__ = [
    "StoppedError",
    "StorageError",
    "best",
    "compare",
    "compare_sweeps",
    "export",
    "find_job",
    "history",
    "load",
    "lr_range",
    "plan",
    "register",
    "remove",
    "report",
    "resume",
    "resume_job",
    "spaces",
    "status",
    "study",
    "submit",
    "sweep",
    "sync",
    "train",
    "trials",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tuner' has no attribute {name!r}")
    return getattr(import_module("tuner.api"), name)
