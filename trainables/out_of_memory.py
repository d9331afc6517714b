"""Whether an error says that memory ran out, of a device or of the host."""

from __future__ import annotations

import torch

PHRASES = (
    "out of memory",  # CUDA's own words, in errors of libraries beside torch too
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one it was raised from or over, is of memory that ran out."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in PHRASES):
            return True
        error = error.__cause__ or error.__context__
    return False
