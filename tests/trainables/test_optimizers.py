import pytest
import torch

from trainables import optimizers
from trainables.optimizers import ONE_GROUP, LrGroups
from trainables.paths import parse_config, variants

SHAPES = {
    "encoder.weight": (4, 3),
    "encoder.bias": (4,),
    "decoder.weight": (3, 2),
    "likelihood.log_sigma": (),
    "z": (2,),
}
TORCHS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam, "sgd": torch.optim.SGD}
ADAPTIVE = {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3}
OTHER_VALUES = {
    "adam": [{}, ADAPTIVE],
    "adamw": [{}, {**ADAPTIVE, "weight_decay": 0.3}],
    "radam": [{}, ADAPTIVE, {"beta2": 0.6}, {"beta2": 0.0}],
    "sgd": [{}, {"momentum": 0.5, "weight_decay": 0.3}, {"momentum": 0.0}, {"momentum": 0.0, "weight_decay": 0.3}],
}
CASES = [(kind, tree) for kind in variants("optimizer") for tree in OTHER_VALUES[kind]]


def config_of(kind, **tree):
    return parse_config({"optimizer": {"kind": kind, **tree}}).optimizer


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}


def steps():
    """20 gradients, each with its learning rate."""
    return [(list(tensors(seed).values()), 0.1 / seed) for seed in range(1, 21)]


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def run_pure(config, groups=ONE_GROUP, scale=1.0):
    params = tensors(0)
    state = optimizers.init(config, params)
    for gradients, lr in steps():
        params, state = optimizers.update(config, params, gradients, state, scalar(scale * lr), groups)
    return params, state


def run_in_place(config, groups=ONE_GROUP, scale=1.0):
    params = tensors(0)
    state = optimizers.init(config, params)
    for gradients, lr in steps():
        optimizers.update_in_place(config, params, gradients, state, scale * lr, groups)
    return params, state


def run_torch(config, groups=ONE_GROUP):
    """torch's own optimiser, with a parameter group for each tensor."""
    params = tensors(0)
    options = {name: value for name, value in config if name in ("eps", "weight_decay", "momentum")}
    if config.kind != "sgd":
        options["betas"] = (config.beta1, config.beta2)
    optimizer = TORCHS[config.kind]([{"params": [value]} for value in params.values()], lr=0.0, **options)
    for gradients, lr in steps():
        for group, (name, value), gradient in zip(optimizer.param_groups, params.items(), gradients, strict=True):
            value.grad, group["lr"] = gradient, lr * groups.factor(name)
        optimizer.step()
    return params


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [LrGroups(), LrGroups(0.5, 3.0)], ids=["one rate", "two rates"])
@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_the_pure_update_the_one_in_place_and_torchs_agree(kind, tree, groups):
    config = config_of(kind, **tree)
    expected = run_torch(config, groups)
    (pure, state), (in_place, state_in_place) = run_pure(config, groups), run_in_place(config, groups)
    assert_close(pure, expected)
    assert_close(in_place, expected)
    for part in ("first", "second", "count"):
        assert_close(getattr(state_in_place, part), getattr(state, part))


@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_members_with_their_own_learning_rates_are_separate_runs(kind, tree):
    config, rates = config_of(kind, **tree), (0.3, 0.01)
    params, gradients = tensors(0), list(tensors(1).values())
    state = optimizers.init(config, params)

    def step(lr):
        moved, new = optimizers.update(config, params, gradients, state, lr, LrGroups(2.0, 0.5))
        return moved, new.first

    together = torch.func.vmap(step)(torch.tensor(rates, dtype=torch.float64))
    for member, rate in enumerate(rates):
        alone = step(scalar(rate))
        assert_close([{name: value[member] for name, value in tree.items()} for tree in together], list(alone))


@pytest.mark.parametrize("run", [run_pure, run_in_place])
@pytest.mark.parametrize("kind", variants("optimizer"))
def test_a_factor_of_1_for_all_changes_no_bit(kind, run):
    config = config_of(kind)
    plain, grouped = run(config)[0], run(config, LrGroups(1.0, 1.0))[0]
    assert all(plain[name].equal(grouped[name]) for name in SHAPES)


@pytest.mark.parametrize("run", [run_pure, run_in_place])
@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_factors_of_the_groups_are_two_optimisers_with_scaled_rates(kind, run):
    """Encoder at 2·lr, decoder and likelihood at ½·lr, what is in neither at lr."""
    config = config_of(kind)
    grouped = run(config, LrGroups(2.0, 0.5))[0]
    at_once = {factor: run(config, scale=factor)[0] for factor in (2.0, 0.5)}
    encoder, decoder = ("encoder.weight", "encoder.bias"), ("decoder.weight", "likelihood.log_sigma")
    expected = {name: at_once[2.0][name] for name in encoder} | {name: at_once[0.5][name] for name in decoder}
    expected["z"] = run(config)[0]["z"]
    assert_close(grouped, expected)
    assert not torch.equal(grouped["encoder.weight"], run(config)[0]["encoder.weight"])


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_state_after_a_step_has_the_tensors_of_the_first(kind):
    """What is saved and restored by name is complete from the start."""
    for tree in OTHER_VALUES[kind]:
        config, params = config_of(kind, **tree), tensors(0)
        before = optimizers.init(config, params)
        _, after = optimizers.update(config, params, list(tensors(1).values()), before, scalar(0.1))
        for part in ("first", "second", "count"):
            assert getattr(before, part).keys() == getattr(after, part).keys()


def test_sgd_keeps_no_more_than_its_momentum():
    with_momentum, without = (optimizers.init(config_of("sgd", momentum=m), tensors(0)) for m in (0.9, 0.0))
    assert with_momentum.first.keys() == SHAPES.keys()
    assert (with_momentum.second, with_momentum.count, without.first) == ({}, {}, {})


@pytest.mark.parametrize("bound", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("element", [None, 0.05, 0.5])
def test_clipping_is_torchs_the_norm_before_the_elements(bound, element):
    parameters = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES.values()]
    gradients = list(tensors(1).values())
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(parameters, bound)
    if element is not None:
        torch.nn.utils.clip_grad_value_(parameters, element)
    norm = optimizers.global_norm(gradients)
    torch.testing.assert_close(norm, expected)
    clipped = optimizers.clipped(config_of("adam", clip_norm=bound, clip_value=element), gradients, norm)
    torch.testing.assert_close(clipped, [parameter.grad for parameter in parameters])


def test_a_clipped_gradient_has_at_most_the_bound():
    gradients = list(tensors(1).values())
    norm = optimizers.global_norm(gradients)
    assert optimizers.global_norm(optimizers.clip_by_norm(gradients, norm, 0.5)).item() == pytest.approx(0.5, rel=1e-5)
    assert optimizers.clip_by_norm(gradients, norm, 1e6)[0].equal(gradients[0])


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_without_bounds_gradients_stay_as_they_are(kind):
    gradients = list(tensors(1).values())
    assert optimizers.clipped(config_of(kind), gradients, optimizers.global_norm(gradients)) is gradients
