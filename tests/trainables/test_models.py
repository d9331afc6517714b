import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from trainables.models import build_model
from trainables.paths import parse_config, variants

D, B = 12, 5
CPU = torch.device("cpu")


def model_of(**tree):
    return build_model(parse_config({"data": {"name": "x.npy"}, "model": {"latent_dim": 3, **tree}}).model, (D,))


@pytest.fixture
def x():
    return torch.rand(B, D, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", variants("model"))
def test_shapes_and_that_gradients_reach_every_parameter(kind, x):
    model = model_of(kind=kind)
    params = {name: value.requires_grad_() for name, value in model.init(0, CPU).items()}
    mean, log_variance = model.encode(params, x)
    output = model.decode(params, mean + log_variance)
    assert mean.shape == log_variance.shape == (B, 3)
    assert output.shape == (B, D)
    for gradient in torch.autograd.grad(output.square().sum(), list(params.values())):
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("kind", variants("model"))
def test_initial_parameters_are_a_function_of_the_seed(kind):
    first, same, other = (model_of(kind=kind).init(seed, CPU) for seed in (0, 0, 1))
    torch.testing.assert_close(first, same, rtol=0, atol=0)
    assert all(not first[name].equal(other[name]) for name in first if name != "log_variance")


def test_models_share_their_initial_weights_where_shapes_allow():
    small, large = (model_of(hidden=[8], latent_dim=m).init(0, CPU) for m in (2, 4))
    assert small["encoder.0.weight"].equal(large["encoder.0.weight"])
    assert small["decoder.head.weight"].equal(large["decoder.head.weight"])


def test_initial_weights_are_uniform_within_torchs_default_bound():
    weight = model_of(hidden=[2000]).init(0, CPU)["encoder.0.weight"]
    bound = 1 / math.sqrt(D)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=0.01 * bound)


@pytest.mark.parametrize(
    ("activation", "layer"), [("relu", nn.ReLU()), ("tanh", nn.Tanh()), ("softplus", nn.Softplus())]
)
def test_the_mlp_is_torchs_stack_of_layers_there_and_back(activation, layer, x):
    model = model_of(hidden=[7, 4], activation=activation)
    params = model.init(0, CPU)

    def stack(side, *sizes):
        layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
        for name, linear in zip(("0", "1", "head"), layers, strict=True):
            linear.load_state_dict({part: params[f"{side}.{name}.{part}"] for part in ("weight", "bias")})
        return nn.Sequential(layers[0], layer, layers[1], layer, layers[2])

    mean, log_variance = stack("encoder", D, 7, 4, 6)(x).chunk(2, dim=1)
    torch.testing.assert_close(model.encode(params, x), (mean, log_variance))
    torch.testing.assert_close(model.decode(params, mean), stack("decoder", 3, 4, 7, D)(mean))


def test_the_linear_vae_is_affine_with_one_variance_for_all_examples(x):
    model = model_of(kind="linear-vae")
    params = model.init(0, CPU)
    mean, log_variance = model.encode(params, x)
    torch.testing.assert_close(mean, x @ params["encoder.weight"].T + params["encoder.bias"])
    assert (log_variance == params["log_variance"]).all()
    torch.testing.assert_close(model.decode(params, mean), mean @ params["decoder.weight"].T + params["decoder.bias"])
