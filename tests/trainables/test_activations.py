import pytest
import torch

from trainables.config.models import Conv, Mlp
from trainables.config.paths import variants
from trainables.models.activations import (
    ACTIVATIONS,
    HIDDEN_BOUNDS,
    LOG_VARIANCE_BOUNDS,
    MEAN_BOUNDS,
    SHARPNESS,
    bounded_heads,
    soft_clip,
)

BOUNDS = [HIDDEN_BOUNDS, MEAN_BOUNDS, LOG_VARIANCE_BOUNDS]
X = torch.linspace(-80, 80, 16_001, dtype=torch.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_one_of_the_configuration(activation):
    for cls in (Mlp, Conv):
        assert cls(activation=activation).activation == activation


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_every_activation_of_the_configuration_exists(kind):
    assert set(variants("model")[kind].model_fields["activation"].annotation.__args__) == set(ACTIVATIONS)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_soft_clipping_is_its_formula(bounds):
    low, high = bounds
    x = torch.linspace(low - 10, high + 10, 501, dtype=torch.float64)
    s = SHARPNESS
    formula = low + torch.log((1 + torch.exp(s * (x - low))) / (1 + torch.exp(s * (x - high)))) / s
    torch.testing.assert_close(soft_clip(x, low, high), formula, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_soft_clipping_stays_between_its_bounds_rises_by_at_most_one_and_bends_by_at_most_a_quarter_of_s(bounds):
    low, high = bounds
    x = X.clone().requires_grad_()
    y = soft_clip(x, low, high)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    rounding = 1e-12
    assert low - rounding <= y.min() < low + 1e-3
    assert high - 1e-3 < y.max() <= high + rounding
    assert slope.min() >= 0
    assert slope.max() <= 1
    assert SHARPNESS / 4 * 0.999 < bend.abs().max() <= SHARPNESS / 4


def test_soft_clipping_becomes_the_hard_clip_as_it_sharpens():
    errors = [(soft_clip(X, -20, 20, s) - X.clamp(-20, 20)).abs().max() for s in (5.0, 50.0, 500.0)]
    assert errors[0] > 9 * errors[1] > 81 * errors[2]
    assert errors[2] == pytest.approx(torch.log(torch.tensor(2.0)).item() / 500, rel=1e-6)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_soft_clipping_is_finite_far_out(bounds, sign):
    x = torch.tensor(1e4 * sign, requires_grad=True)
    y = soft_clip(x, *bounds)
    assert y.item() == bounds[(sign + 1) // 2]
    assert torch.autograd.grad(y, x)[0] == 0


def test_soft_clip_bounds_the_heads_and_others_leave_them():
    mean, log_variance = 3 * X, X
    bounded = bounded_heads("soft-clip", mean, log_variance)
    assert bounded[0].equal(soft_clip(mean, *MEAN_BOUNDS))
    assert bounded[1].equal(soft_clip(log_variance, *LOG_VARIANCE_BOUNDS))
    assert bounded_heads("relu", mean, log_variance) == (mean, log_variance)
