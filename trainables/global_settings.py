"""What torch and NumPy hold for a whole process: a model of the user's may set it, and the next trial finds it.

A trial is a function of its configuration and seed, whatever its process did before. So it begins with these settings
as a new process has them, and with what its own model sets when it is imported, made or called.

Left alone: the generators of random numbers, from which no trial draws; how many threads work between operations, which
torch lets nobody set twice; the device of CUDA that is current, and the part of its memory that may be taken; how
tensors are printed; what may be unpickled; settings of torch.compile and TorchScript; and of Python itself what is no
part of a computation, as its hooks of exceptions and signals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import backends
from torch._C import _autograd as autograd
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils import _device as devices
from torch.utils import _python_dispatch as dispatch

Settings = Mapping[str, Any]


class _Setting(NamedTuple):
    """A setting: how it is read and written, and its value in a new process."""

    get: Callable[[], Any]
    set: Callable[[Any], object]
    default: Any


def _attribute(owner: Any, name: str, default: Any = ...) -> _Setting:
    """default: by default the value at the import of this module, which an environment variable may have set."""
    began = getattr(owner, name) if default is ... else default
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), began)


def _called(owner: Any, get: str, set_: str) -> _Setting:
    """A setting that two functions read and write; by default its value at the import of this module."""
    return _Setting(getattr(owner, get), getattr(owner, set_), getattr(owner, get)())


def _hooks(owner: Any, name: str) -> _Setting:
    """A table of hooks of all modules, or optimisers. Torch keeps a reference to the table, so its entries are set."""
    table = getattr(owner, name)

    def write(entries: Mapping[Any, Any]) -> None:
        table.clear()
        table.update(entries)

    return _Setting(lambda: dict(table), write, {})


def _function_modes() -> tuple[Any, list[Any]]:
    """The modes that change calls of torch's functions, with the default device among them: the active one, and all."""
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None), _function_stack()


def _function_stack() -> list[Any]:
    return [torch._C._get_function_stack_at(place) for place in range(torch._C._len_torch_function_stack())]


def _set_function_modes(value: tuple[Any, list[Any]]) -> None:
    for _ in _function_stack():
        torch._C._pop_torch_function_stack()
    for mode in value[1]:
        torch._C._push_on_torch_function_stack(mode)
    torch._GLOBAL_DEVICE_CONTEXT.device_context = value[0]
    device = next((mode.device for mode in value[1] if isinstance(mode, devices.DeviceContext)), None)
    devices.CURRENT_DEVICE = device


def _set_dispatch_modes(value: list[Any]) -> None:
    for _ in dispatch._get_current_dispatch_mode_stack():
        dispatch._pop_mode()
    for mode in value:
        dispatch._push_mode(mode)


_inference: list[torch.inference_mode] = []


def _set_inference(value: bool) -> None:
    """Torch can set it only for a block; this block lasts as long as the process."""
    _inference.append(torch.inference_mode(value))
    _inference[-1].__enter__()


def _saved_tensors_hooks() -> tuple[str | None, list[Any]]:
    """The reason why no hooks are allowed, if there is one, and the active pairs, the outermost first."""
    found: list[Any] = []
    while top := autograd._top_saved_tensors_default_hooks(True):
        found.insert(0, top)
        autograd._pop_saved_tensors_default_hooks()
    for pair in found:
        autograd._push_saved_tensors_default_hooks(*pair)
    return autograd._saved_tensors_hooks_get_disabled_error_message(), found


def _set_saved_tensors_hooks(value: tuple[str | None, list[Any]]) -> None:
    autograd._saved_tensors_hooks_enable()
    while autograd._top_saved_tensors_default_hooks(True):
        autograd._pop_saved_tensors_default_hooks()
    for pair in value[1]:
        autograd._push_saved_tensors_default_hooks(*pair)
    if value[0] is not None:
        autograd._saved_tensors_hooks_disable(value[0])


def _set_warnings(filters: Sequence[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters.extend(filters)  # type: ignore[attr-defined]


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
    """Torch has no function that returns it; where it is on, the smallest number counts as 0."""
    return SMALLEST == 0


SMALLEST = 5e-324
PRECISIONS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
REDUCTIONS = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)
ATTENTIONS = ("flash", "mem_efficient", "math", "cudnn")
SPARSE = ("_check_sparse_tensor_invariants", "_set_check_sparse_tensor_invariants")
INFERENCE, WARNINGS = "inference mode", "Python's filters of warnings"
HOOKS = [name for name, value in vars(modules).items() if name.startswith("_global_") and isinstance(value, dict)]

SETTINGS: dict[str, _Setting] = {
    "default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "default device and function modes": _Setting(_function_modes, _set_function_modes, (None, [])),
    "dispatch modes": _Setting(dispatch._get_current_dispatch_mode_stack, _set_dispatch_modes, []),
    INFERENCE: _Setting(torch.is_inference_mode_enabled, _set_inference, False),
    "gradients": _Setting(torch.is_grad_enabled, torch.set_grad_enabled, True),
    "anomaly detection": _Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.set_anomaly_enabled(*value),
        (False, True),
    ),
    "saved tensors' hooks": _Setting(_saved_tensors_hooks, _set_saved_tensors_hooks, (None, [])),
    "autograd's threads": _called(torch._C, "_is_multithreading_enabled", "_set_multithreading_enabled"),
    "forward gradients": _called(torch._C, "_is_fwd_grad_enabled", "_set_fwd_grad_enabled"),
    "replay of views": _called(torch._C, "_is_view_replay_enabled", "_set_view_replay_enabled"),
    "autocast's cache": _called(torch, "is_autocast_cache_enabled", "set_autocast_cache_enabled"),
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
    "cudnn.benchmark_limit": _attribute(backends.cudnn, "benchmark_limit"),
    **{f"cuda.matmul.{name}": _attribute(backends.cuda.matmul, name) for name in REDUCTIONS},
    **{f"{name} attention": _called(backends.cuda, f"{name}_sdp_enabled", f"enable_{name}_sdp") for name in ATTENTIONS},
    "reduced precision in attention": _called(
        backends.cuda, "fp16_bf16_reduction_math_sdp_allowed", "allow_fp16_bf16_reduction_math_sdp"
    ),
    "order of attentions": _called(torch._C, "_get_sdp_priority_order", "_set_sdp_priority_order"),
    "fast path of attention": _called(backends.mha, "get_fastpath_enabled", "set_fastpath_enabled"),
    **{f"mkldnn.{name}": _attribute(backends.mkldnn, name) for name in ("enabled", "deterministic")},
    "nnpack": _called(torch._C, "_get_nnpack_enabled", "_set_nnpack_enabled"),
    "quantized.engine": _attribute(backends.quantized, "engine"),
    "linear algebra of CUDA": _called(torch._C, "_get_linalg_preferred_backend", "_set_linalg_preferred_backend"),
    "matrix products of CUDA": _called(torch._C, "_get_blas_preferred_backend", "_set_blas_preferred_backend"),
    **{f"opt_einsum.{name}": _attribute(backends.opt_einsum, name) for name in ("enabled", "strategy")},
    "new memory filled": _attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
    "sparse tensors checked": _called(torch._C, *SPARSE),
    "distributions' arguments checked": _attribute(torch.distributions.Distribution, "_validate_args"),
    **{
        f"{name} as modules are converted": _called(torch.__future__, f"get_{name}", f"set_{name}")
        for name in ("overwrite_module_params_on_conversion", "swap_module_params_on_conversion")
    },
    **{name: _hooks(modules, name) for name in HOOKS},
    **{name: _hooks(optimizers, name) for name in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")},
    "torch's warnings repeated": _called(torch, "is_warn_always_enabled", "set_warn_always"),
    WARNINGS: _Setting(lambda: list(warnings.filters), _set_warnings, list(warnings.filters)),
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
    """Set the settings that differ."""
    for name, value in settings.items():
        if SETTINGS[name].get() != value:
            SETTINGS[name].set(value)


def reset() -> None:
    """All settings as a new process has them."""
    apply({name: setting.default for name, setting in SETTINGS.items()})


@contextmanager
def fresh() -> Iterator[None]:
    """Settings of a new process while the block lasts, and after it those from before, the number of threads too.

    Which warnings are shown is left to the caller.
    """
    with torch.inference_mode(False):
        before, threads = current(), torch.get_num_threads()
        apply({name: setting.default for name, setting in SETTINGS.items() if name != WARNINGS})
        try:
            yield
        finally:
            apply(before)
            torch.set_num_threads(threads)
