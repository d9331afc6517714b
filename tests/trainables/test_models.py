import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from trainables.config.models import USER_MODEL
from trainables.config.paths import parse_config, variants
from trainables.errors import ConfigError
from trainables.models import build_model
from trainables.models.activations import ACTIVATIONS

D, B, M = 12, 5, 3
SHAPES = [(7, 4), (4, 6, 9), (1, 5, 11), (3, 16, 16)]
CPU = torch.device("cpu")
LAYERS = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "softplus": nn.Softplus()}


def model_of(shape=(D,), **tree):
    return build_model(parse_config({"data": {"name": "x.npy"}, "model": {"latent_dim": M, **tree}}).model, shape)


def small(kind, **tree):
    sizes = {"mlp": {"hidden": [8]}, "conv": {"channels": [8, 12], "hidden": 16}}
    return {"kind": kind, **sizes.get(kind, {}), **tree}


def examples(shape, n=B, seed=0):
    return torch.rand(n, math.prod(shape), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def x():
    return examples((D,))


# --- laws of every model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", variants("model"))
def test_shapes_and_that_gradients_reach_every_parameter(kind, shape):
    model = model_of(shape, **small(kind))
    params = {name: value.requires_grad_() for name, value in model.init(0, CPU).items()}
    mean, log_variance = model.encode(params, examples(shape))
    output = model.decode(params, mean + log_variance)
    assert model.latent_dim == M
    assert mean.shape == log_variance.shape == (B, M)
    assert output.shape == (B, math.prod(shape))
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    for gradient in torch.autograd.grad((output * weights).sum(), list(params.values())):
        assert gradient.abs().max() > 1e-7


@pytest.mark.parametrize(
    ("kind", "activation"),
    [
        (kind, {"activation": name} if name else {})
        for kind, cls in variants("model").items()
        for name in (ACTIVATIONS if "activation" in cls.model_fields else [None])
    ],
)
def test_members_side_by_side_are_the_models_one_by_one(kind, activation):
    shape = (3, 6, 9)
    model = model_of(shape, **small(kind, **activation))
    members = [model.init(seed, CPU) for seed in (0, 1)]
    params = {name: torch.stack([member[name] for member in members]) for name in members[0]}
    x = torch.stack([examples(shape, seed=seed) for seed in (0, 1)])
    encoded = model.encode_members(params, x)
    decoded = model.decode_members(params, encoded[0])
    for i, member in enumerate(members):
        mean, log_variance = model.encode(member, x[i])
        torch.testing.assert_close((encoded[0][i], encoded[1][i]), (mean, log_variance), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(decoded[i], model.decode(member, mean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", variants("model"))
def test_initial_parameters_are_a_function_of_the_seed(kind):
    first, same, other = (model_of((4, 6), **small(kind)).init(seed, CPU) for seed in (0, 0, 1))
    torch.testing.assert_close(first, same, rtol=0, atol=0)
    drawn = [name for name, value in first.items() if value.unique().numel() > 1]
    assert {name.rpartition(".")[2] for name in drawn} == {"weight", "bias"}
    assert not any(first[name].equal(other[name]) for name in drawn)


@pytest.mark.parametrize("kind", variants("model"))
def test_every_parameter_says_on_which_side_it_is(kind):
    """The encoder's parameters are exactly those that the encoding depends on."""
    shape = (4, 6)
    model = model_of(shape, **small(kind))
    params = {name: value.requires_grad_() for name, value in model.init(0, CPU).items()}
    mean, log_variance = model.encode(params, examples(shape))
    loss = mean.sum() + log_variance.square().sum() + log_variance.sum()
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    reached = {name for name, gradient in zip(params, gradients, strict=True) if gradient is not None}
    assert reached == {name for name in params if name.startswith("encoder.")}
    assert params.keys() - reached == {name for name in params if name.startswith("decoder.")}


# --- mlp, linear-vae --------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("activation", LAYERS)
def test_the_mlp_is_torchs_stack_of_layers_there_and_back(activation, x):
    model = model_of(hidden=[7, 4], activation=activation)
    params = model.init(0, CPU)
    layer = LAYERS[activation]

    def stack(side, *sizes):
        layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
        for name, linear in zip(("0", "1", "head"), layers, strict=True):
            linear.load_state_dict({part: params[f"{side}.{name}.{part}"] for part in ("weight", "bias")})
        return nn.Sequential(layers[0], layer, layers[1], layer, layers[2])

    mean, log_variance = stack("encoder", D, 7, 4, 6)(x).chunk(2, dim=1)
    torch.testing.assert_close(model.encode(params, x), (mean, log_variance))
    torch.testing.assert_close(model.decode(params, mean), stack("decoder", 3, 4, 7, D)(mean))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_soft_clipped_heads_stay_in_their_bounds(kind):
    shape = (8, 8)
    model = model_of(shape, **small(kind, activation="soft-clip"))
    params = {name: 100 * value for name, value in model.init(0, CPU).items()}
    mean, log_variance = model.encode(params, examples(shape))
    assert 40 < mean.abs().max() <= 50
    assert 19 < log_variance.abs().max() <= 20


def test_the_linear_vae_is_affine_with_one_variance_for_all_examples(x):
    model = model_of(kind="linear-vae")
    params = model.init(0, CPU)
    mean, log_variance = model.encode(params, x)
    torch.testing.assert_close(mean, x @ params["encoder.weight"].T + params["encoder.bias"])
    assert (log_variance == params["encoder.log_variance"]).all()
    torch.testing.assert_close(model.decode(params, mean), mean @ params["decoder.weight"].T + params["decoder.bias"])


# --- conv -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", LAYERS)
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 13, 22)])
def test_the_conv_model_is_torchs_stack_of_layers_there_and_back(shape, activation):
    channels, height, width = shape
    model = model_of(shape, kind="conv", channels=[8, 12], hidden=10, groups=4, activation=activation)
    params = model.init(0, CPU)
    layer = LAYERS[activation]
    small = (height // 4, width // 4)
    features = 12 * math.prod(small)
    torch.manual_seed(0)

    def conv(n_in, n_out):
        return nn.Conv2d(n_in, n_out, 4, 2, 1, bias=False)

    def up(n_in, n_out, size, **bias):
        return nn.ConvTranspose2d(n_in, n_out, 4, 2, 1, output_padding=[n % 2 for n in size], **bias)

    encoder = nn.Sequential(
        *[nn.Unflatten(1, shape), conv(channels, 8), nn.GroupNorm(4, 8), layer, conv(8, 12), nn.GroupNorm(4, 12)],
        *[layer, nn.Flatten(), nn.Linear(features, 10), layer, nn.Linear(10, 2 * M)],
    )
    decoder = nn.Sequential(
        *[nn.Linear(M, 10), layer, nn.Linear(10, features), layer, nn.Unflatten(1, (12, *small))],
        *[up(12, 8, (height // 2, width // 2), bias=False), nn.GroupNorm(4, 8), layer],
        *[up(8, channels, (height, width)), nn.Flatten()],
    )
    for side, stack in {"encoder": encoder, "decoder": decoder}.items():
        ours = [value for name, value in params.items() if name.startswith(side)]
        theirs = list(stack.parameters())
        assert [value.shape for value in ours] == [value.shape for value in theirs]
        for mine, its in zip(ours, theirs, strict=True):
            if mine.dim() > 1 and mine.numel() > 100:  # both are drawn alike
                assert mine.std().item() == pytest.approx(its.std().item(), rel=0.2)
            its.data.copy_(mine)
    mean, log_variance = encoder(examples(shape)).chunk(2, dim=1)
    torch.testing.assert_close(model.encode(params, examples(shape)), (mean, log_variance), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.decode(params, mean), decoder(mean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 4), (6, 7), (7, 9), (28, 31), (33, 17)])
def test_a_decoded_image_has_the_size_of_the_image(height, width):
    model = model_of((height, width), kind="conv", channels=[4, 4], hidden=8)
    assert model.decode(model.init(0, CPU), torch.zeros(2, M)).shape == (2, height * width)


def test_the_published_sizes_can_be_written():
    """CelebA at 64×64: 3-64-128-256-512 and 8192 → 1024; CIFAR-100: 3-32-64-128 and 2048 → 256."""
    for shape, channels, hidden, features in [
        ((3, 64, 64), [64, 128, 256, 512], 1024, 8192),
        ((3, 32, 32), [32, 64, 128], 256, 2048),
    ]:
        params = model_of(shape, kind="conv", channels=channels, hidden=hidden).init(0, CPU)
        shapes = [tuple(params[f"encoder.{i}.weight"].shape) for i in range(len(channels))]
        assert shapes == [(n_out, n_in, 4, 4) for n_in, n_out in pairwise((3, *channels))]
        assert params["encoder.hidden.weight"].shape == (hidden, features)
        assert params["decoder.features.weight"].shape == (features, hidden)


@pytest.mark.parametrize(
    ("channels", "groups", "wanted"), [(12, 8, 6), (12, 5, 4), (7, 6, 1), (7, 8, 7), (8, 8, 8), (16, 8, 8)]
)
def test_groups_are_the_largest_divisor_allowed(channels, groups, wanted):
    """Scaling and shifting one group of the convolution's output leaves what GroupNorm makes of it."""
    model = model_of((8, 8), kind="conv", channels=[channels], hidden=8, groups=groups)
    params = model.init(0, CPU)
    x = examples((8, 8))
    size = channels // wanted

    def with_first_scaled(n):
        scale = torch.ones(channels, 1, 1, 1)
        scale[:n] = 3
        return model.encode({**params, "encoder.0.weight": scale * params["encoder.0.weight"]}, x)[0]

    reference = model.encode(params, x)[0]
    torch.testing.assert_close(with_first_scaled(size), reference, rtol=1e-3, atol=1e-3)
    for n in range(1, size):
        assert (with_first_scaled(n) - reference).abs().max() > 1e-3


def test_a_group_has_enough_values_to_say_something():
    """At 1×1, eight groups of eight channels would be eight constants."""
    model = model_of((2, 2), kind="conv", channels=[8], hidden=8, groups=8)
    means = model.encode(model.init(0, CPU), examples((2, 2)))[0]
    assert means.std(0).min() > 1e-3


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        (
            (8, 8),
            [4, 4, 4, 4],
            "model.channels: 4 stages that each halve an image of 8×8 leave nothing; allowed: at most 3 here; shorten "
            "the list",
        ),
        (
            (3, 64, 7),
            [4, 4, 4],
            "model.channels: 3 stages that each halve an image of 64×7 leave nothing; allowed: at most 2 here; shorten "
            "the list",
        ),
        (
            (1, 9),
            [4],
            "model.channels: 1 stages that each halve an image of 1×9 leave nothing; allowed: at most 0 here; use "
            "model.kind mlp",
        ),
        (
            (4, 4),
            [8, 2],
            "model.channels: [8, 2] leaves 2 values of an image of 4×4, too few to normalise; allowed: at least 4; use "
            "more channels or fewer stages",
        ),
        (
            (64,),
            [4],
            "model.kind: conv needs images of H×W or C×H×W, these examples are of 64 numbers; use mlp",
        ),
        (
            (2, 3, 4, 5),
            [4],
            "model.kind: conv needs images of H×W or C×H×W, these examples are of 2×3×4×5; use mlp",
        ),
    ],
)
def test_what_conv_cannot_take_is_answered_with_field_and_way_out(shape, channels, message):
    with pytest.raises(ConfigError) as error:
        model_of(shape, kind="conv", channels=channels)
    assert str(error.value) == message


def test_the_families_of_models_are_those_that_need_no_code_of_the_users():
    assert list(variants("model")) == ["mlp", "conv", "linear-vae"]
    assert USER_MODEL not in variants("model")
