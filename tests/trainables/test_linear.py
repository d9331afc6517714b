"""The linear layer of several members: torch's, and the same to the last bit whatever stands beside a member."""

import pytest
import torch
from torch.nn import functional

from trainables.layout import Layout, aligned_matrices
from trainables.models.linear import linear

N = 5
SHAPES = [(rows, i, o) for rows in (4, 23, 100, 128) for i in (1, 2, 9, 35, 64) for o in (1, 2, 7, 16, 35)]


@pytest.fixture(autouse=True)
def one_thread():
    """Several share a product, and their pieces end where its size puts them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(rows, n_in, n_out, is_shared):
    """Weight, bias and x of N members, and what their outputs are weighed by."""
    draw = torch.Generator().manual_seed(0)
    shapes = (N, n_out, n_in), (N, n_out), (rows, n_in) if is_shared else (N, rows, n_in), (N, rows, n_out)
    return [torch.randn(shape, generator=draw) for shape in shapes]


def results(weight, bias, x, weights):
    """Output and gradients of some members, whose parameters lie as in a trial."""
    named = [{"a.weight": w, "a.bias": b} for w, b in zip(weight, bias, strict=True)]
    layout = Layout.of(named[0])
    params = layout.views(torch.stack([layout.flat(own) for own in named]))
    params, x = {name: value.requires_grad_() for name, value in params.items()}, x.clone().requires_grad_()
    output = linear(params, "a", x)
    gradients = torch.autograd.grad((output * weights).sum(), [*params.values(), x])
    return output.detach(), *gradients


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize(("rows", "n_in", "n_out"), SHAPES)
def test_a_member_has_the_bits_of_one_alone(rows, n_in, n_out, is_shared):
    weight, bias, x, weights = drawn(rows, n_in, n_out, is_shared)
    together = results(weight, bias, x, weights)
    for i in range(N):
        one = slice(i, i + 1)
        alone = results(weight[one], bias[one], x if is_shared else x[one], weights[one])
        names = ["y", "W", "b"] if is_shared else ["y", "W", "b", "x"]
        pairs = zip(names, together, alone, strict=False)
        assert [name for name, found, expected in pairs if not found[one].equal(expected)] == []


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize(("rows", "n_in", "n_out"), SHAPES[::5])
def test_it_is_torchs_layer_and_so_are_its_gradients(rows, n_in, n_out, is_shared):
    weight, bias, x, weights = (value.double() for value in drawn(rows, n_in, n_out, is_shared))
    found = results(weight, bias, x, weights)
    leaves = [value.clone().requires_grad_() for value in (weight, bias, x)]
    outputs = [
        functional.linear(leaves[2] if is_shared else leaves[2][i], leaves[0][i], leaves[1][i]) for i in range(N)
    ]
    output = torch.stack(outputs)
    torch.testing.assert_close(found, (output.detach(), *torch.autograd.grad((output * weights).sum(), leaves)))


def test_a_plain_batched_product_would_not_do():
    """Its last bits depend on where a member's matrices begin."""
    weight, bias, x, _ = drawn(23, 9, 7, is_shared=False)
    together = torch.baddbmm(bias[:, None], x, weight.mT)
    alone = [torch.baddbmm(bias[i : i + 1, None], x[i : i + 1].clone(), weight[i : i + 1].clone().mT) for i in range(N)]
    assert not together.equal(torch.cat(alone))


@pytest.mark.parametrize("shape", [(3,), (4, 4), (5, 7)])
def test_parameters_begin_at_multiples_of_64_bytes(shape):
    layout = Layout(("a", "b"), (shape, (2, 2)))
    flat = torch.zeros(3, layout.edges[-1])
    made = [*layout.views(flat).values(), aligned_matrices(torch.zeros(3, *shape))]
    assert all(view[i].data_ptr() % 64 == 0 for view in made for i in range(3))
