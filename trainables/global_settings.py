"""What torch and NumPy hold for a whole process: a model of the user's may set it, and the next trial finds it.

A trial is a function of its configuration and seed, whatever its process did before. So it begins with these settings
as a new process has them, and with what its own model sets when it is imported, made or called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import backends
from torch.nn.modules import module as modules

__all__ = ["SETTINGS", "apply", "current", "fresh", "reset"]

Settings = Mapping[str, Any]


class _Setting(NamedTuple):
    """Read, written, and as a new process has it."""

    get: Callable[[], Any]
    set: Callable[[Any], object]
    default: Any


def _attribute(owner: Any, name: str, default: Any = ...) -> _Setting:
    """default: by default what it is as this module is imported, which a variable of the environment may have said."""
    began = getattr(owner, name) if default is ... else default
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), began)


def _hooks(name: str) -> _Setting:
    """A table of hooks of all modules. Torch holds on to the table itself: its entries are set."""
    table = getattr(modules, name)

    def write(entries: Mapping[Any, Any]) -> None:
        table.clear()
        table.update(entries)

    return _Setting(lambda: dict(table), write, {})


def _autocast(device: str) -> _Setting:
    def read() -> tuple[bool, torch.dtype]:
        return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def write(value: tuple[bool, torch.dtype]) -> None:
        torch.set_autocast_enabled(device, value[0])
        torch.set_autocast_dtype(device, value[1])

    return _Setting(read, write, (False, torch.get_autocast_dtype(device)))


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _flushes_denormal() -> bool:
    """Torch has no other way to ask."""
    return float(torch.tensor(5e-324, dtype=torch.float64, device="cpu") * 1.0) == 0


PRECISIONS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
HOOKS = [name for name, value in vars(modules).items() if name.startswith("_global_") and isinstance(value, dict)]

SETTINGS: dict[str, _Setting] = {
    "default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "default device": _Setting(
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device == torch.device("cpu") else device),
        torch.device("cpu"),
    ),
    "gradients": _Setting(torch.is_grad_enabled, torch.set_grad_enabled, True),
    "anomaly detection": _Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.set_anomaly_enabled(*value),
        (False, True),
    ),
    **{f"autocast on {device}": _autocast(device) for device in ("cpu", "cuda")},
    "deterministic algorithms": _Setting(
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
        (False, False),
    ),
    "denormal numbers flushed": _Setting(_flushes_denormal, torch.set_flush_denormal, False),
    "float32 matmul precision": _Setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()
    ),
    **{f"{name}.fp32_precision": _attribute(attrgetter(name)(backends), "fp32_precision") for name in PRECISIONS},
    **{f"cudnn.{name}": _attribute(backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")},
    "mkldnn.enabled": _attribute(backends.mkldnn, "enabled"),
    **{name: _hooks(name) for name in HOOKS},
    "_global_is_full_backward_hook": _attribute(modules, "_global_is_full_backward_hook", None),
    "NumPy's errors": _Setting(
        np.geterr,
        lambda value: np.seterr(**value),
        {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    ),
}
"""By name, in the order in which they are set: the precision of matrix products sets some of the others."""


def current() -> Settings:
    """All settings as they are."""
    return {name: setting.get() for name, setting in SETTINGS.items()}


def apply(settings: Settings) -> None:
    """Set what differs."""
    for name, value in settings.items():
        if SETTINGS[name].get() != value:
            SETTINGS[name].set(value)


def reset() -> None:
    """All settings as a new process has them."""
    apply({name: setting.default for name, setting in SETTINGS.items()})


@contextmanager
def fresh() -> Iterator[None]:
    """Settings of a new process while the block lasts, and after it those from before, the number of threads too."""
    before, threads = current(), torch.get_num_threads()
    with torch.inference_mode(False):
        reset()
        try:
            yield
        finally:
            apply(before)
            torch.set_num_threads(threads)
