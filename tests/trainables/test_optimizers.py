import pytest
import torch

from trainables import optimizers
from trainables.paths import parse_config, variants

SHAPES = {"weight": (4, 3), "bias": (4,), "scalar": ()}
TORCHS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}


def steps():
    """20 gradients, each with its learning rate."""
    return [(list(tensors(seed).values()), 0.1 / seed) for seed in range(1, 21)]


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_pure_update_the_fused_one_and_torchs_agree(kind):
    config = parse_config({"optimizer": {"kind": kind, "beta1": 0.8, "eps": 1e-3}}).optimizer
    pure, fused, reference = (tensors(0) for _ in range(3))
    decay = {"weight_decay": config.weight_decay} if kind == "adamw" else {}
    torchs = TORCHS[kind](reference.values(), betas=(0.8, 0.999), eps=1e-3, **decay)
    state, fused_state = optimizers.init(pure), optimizers.init(fused)
    for gradients, lr in steps():
        pure, state = optimizers.update(config, pure, gradients, state, torch.tensor(lr, dtype=torch.float64))
        optimizers.update_in_place(config, fused, gradients, fused_state, lr)
        for parameter, gradient in zip(reference.values(), gradients, strict=True):
            parameter.grad = gradient
        torchs.param_groups[0]["lr"] = lr
        torchs.step()
    torch.testing.assert_close(pure, reference, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fused, reference, rtol=1e-12, atol=1e-12)
    for moment in ("first", "second", "count"):
        torch.testing.assert_close(getattr(fused_state, moment), getattr(state, moment), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bound", [0.1, 1.0, 100.0])
def test_clipping_is_torchs(bound):
    parameters = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES.values()]
    gradients = list(tensors(1).values())
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(parameters, bound)
    norm = optimizers.global_norm(gradients)
    torch.testing.assert_close(norm, expected)
    clipped = optimizers.clip_by_norm(gradients, norm, bound)
    torch.testing.assert_close(clipped, [parameter.grad for parameter in parameters])


def test_a_clipped_gradient_has_at_most_the_bound():
    gradients = list(tensors(1).values())
    norm = optimizers.global_norm(gradients)
    assert optimizers.global_norm(optimizers.clip_by_norm(gradients, norm, 0.5)).item() == pytest.approx(0.5, rel=1e-5)
    assert optimizers.clip_by_norm(gradients, norm, 1e6)[0].equal(gradients[0])
