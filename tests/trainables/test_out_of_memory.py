import pytest
import torch

from trainables.out_of_memory import is_out_of_memory


def raised_over(outer, inner):
    try:
        try:
            raise inner
        except Exception:
            raise outer  # noqa: B904
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        raised_over(ValueError("the batch cannot be trained"), torch.OutOfMemoryError("CUDA out of memory")),
    ],
)
def test_memory_that_ran_out_is_known_by_type_and_by_words(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory is what I call this"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        raised_over(ValueError("a"), RuntimeError("b")),
        KeyError("x"),
    ],
)
def test_other_errors_are_none_of_it(error):
    assert not is_out_of_memory(error)


def test_torch_says_so_where_the_host_has_too_little():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
