"""The verbs as functions: what `vae-tuner` does, for a notebook or a script."""

from trainables.errors import StorageError
from tuner.api.comparisons import compare, compare_sweeps, export
from tuner.api.jobs import find_job, resume_job, submit
from tuner.api.models import best, load, lr_range, register, train
from tuner.api.sweeps import (
    history,
    plan,
    remove,
    report,
    resume,
    spaces,
    status,
    study,
    sweep,
    sync,
    trials,
)
from tuner.cluster.signals import StoppedError

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
