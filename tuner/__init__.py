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
    from tuner.api import *  # noqa: F403  # `tuner.api.__all__` is the list


def __getattr__(name: str) -> Any:
    if name == "__all__" or not name.startswith("_"):
        api = import_module("tuner.api")
        if name in (*api.__all__, "__all__"):
            return getattr(api, name)
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*import_module("tuner.api").__all__]
