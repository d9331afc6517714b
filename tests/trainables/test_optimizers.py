import math

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, variants
from trainables.likelihoods import LearnedSigma
from trainables.models import build_model
from trainables.optimizers import (
    ONE_GROUP,
    OPTIMIZERS,
    LrGroups,
    RAdamOptimizer,
    build_optimizer,
    clip_by_norm,
    global_norm,
    is_decayed,
)

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


def optimizer_of(kind, groups=ONE_GROUP, **tree):
    lr = {"encoder": groups.encoder, "decoder": groups.decoder}
    return build_optimizer(parse_config({"optimizer": {"kind": kind, **tree}, "lr": lr}))


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}


def steps(size=1.0):
    """20 gradients of elements up to `size`, each with its learning rate."""
    return [([size * value.tanh() for value in tensors(seed).values()], 0.1 / seed) for seed in range(1, 21)]


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def run_pure(optimizer, scale=1.0):
    params = tensors(0)
    state = optimizer.init(params)
    for gradients, lr in steps():
        params, state = optimizer.update(params, gradients, state, scalar(scale * lr))
    return params, state


def run_in_place(optimizer, scale=1.0):
    params = tensors(0)
    state = optimizer.init(params)
    for gradients, lr in steps():
        optimizer.update_in_place(params, gradients, state, scale * lr)
    return params, state


def torchs(config, params):
    """torch's own optimiser, with a parameter group for each tensor; biases and scales are not decayed."""
    options = {name: value for name, value in config if name in ("eps", "momentum")}
    if config.kind != "sgd":
        options["betas"] = (config.beta1, config.beta2)
    groups = [{"params": [value]} for value in params.values()]
    if config.kind in ("adamw", "sgd"):
        decays = [config.weight_decay if name.endswith(".weight") else 0.0 for name in params]
        groups = [{**group, "weight_decay": decay} for group, decay in zip(groups, decays, strict=True)]
    return TORCHS[config.kind](groups, lr=0.0, **options)


def run_torch(optimizer):
    params = tensors(0)
    stock = torchs(optimizer.config, params)
    for gradients, lr in steps():
        for group, (name, value), gradient in zip(stock.param_groups, params.items(), gradients, strict=True):
            value.grad, group["lr"] = gradient, lr * optimizer.groups.factor(name)
        stock.step()
    return params


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [LrGroups(), LrGroups(0.5, 3.0)], ids=["one rate", "two rates"])
@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_the_pure_update_the_one_in_place_and_torchs_agree(kind, tree, groups):
    """No gradient has an element above 1, within which RAdam's bound does not bind."""
    optimizer = optimizer_of(kind, groups, **tree)
    expected = run_torch(optimizer)
    (pure, state), (in_place, state_in_place) = run_pure(optimizer), run_in_place(optimizer)
    assert_close(pure, expected)
    assert_close(in_place, expected)
    assert_close(state_in_place, state)


@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_members_with_their_own_learning_rates_are_separate_runs(kind, tree):
    optimizer, rates = optimizer_of(kind, LrGroups(2.0, 0.5), **tree), (0.3, 0.01)
    params, gradients = tensors(0), list(tensors(1).values())
    state = optimizer.init(params)

    def step(lr):
        return optimizer.update(params, gradients, state, lr)

    together = torch.func.vmap(step)(torch.tensor(rates, dtype=torch.float64))
    for member, rate in enumerate(rates):
        assert_close(torch.utils._pytree.tree_map(lambda value, member=member: value[member], together), step(rate))


@pytest.mark.parametrize("run", [run_pure, run_in_place])
@pytest.mark.parametrize("kind", variants("optimizer"))
def test_a_factor_of_1_for_all_changes_no_bit(kind, run):
    plain, grouped = run(OPTIMIZERS[kind](optimizer_of(kind).config))[0], run(optimizer_of(kind, LrGroups(1.0, 1.0)))[0]
    assert all(plain[name].equal(grouped[name]) for name in SHAPES)


@pytest.mark.parametrize("run", [run_pure, run_in_place])
@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_factors_of_the_groups_are_two_optimisers_with_scaled_rates(kind, run):
    """Encoder at 2·lr, decoder and likelihood at ½·lr, what is in neither at lr."""
    optimizer = optimizer_of(kind)
    grouped = run(optimizer_of(kind, LrGroups(2.0, 0.5)))[0]
    at_once = {factor: run(optimizer, scale=factor)[0] for factor in (2.0, 0.5)}
    encoder, decoder = ("encoder.weight", "encoder.bias"), ("decoder.weight", "likelihood.log_sigma")
    expected = {name: at_once[2.0][name] for name in encoder} | {name: at_once[0.5][name] for name in decoder}
    expected["z"] = run(optimizer)[0]["z"]
    assert_close(grouped, expected)
    assert not torch.equal(grouped["encoder.weight"], run(optimizer)[0]["encoder.weight"])


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_state_after_a_step_has_the_tensors_of_the_first(kind):
    """What is saved and restored by name is complete from the start."""
    for tree in OTHER_VALUES[kind]:
        optimizer, params = optimizer_of(kind, **tree), tensors(0)
        before = optimizer.init(params)
        _, after = optimizer.update(params, list(tensors(1).values()), before, scalar(0.1))
        assert before.keys() == after.keys()
        assert all(before[moment].keys() == after[moment].keys() for moment in before)


def test_sgd_keeps_no_more_than_its_momentum():
    with_momentum, without = (optimizer_of("sgd", momentum=m).init(tensors(0)) for m in (0.9, 0.0))
    assert with_momentum.keys() == {"first"}
    assert with_momentum["first"].keys() == SHAPES.keys()
    assert without == {}


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
    norm = global_norm(gradients)
    torch.testing.assert_close(norm, expected)
    clipped = optimizer_of("adam", clip_norm=bound, clip_value=element).clipped(gradients, norm)
    torch.testing.assert_close(clipped, [parameter.grad for parameter in parameters])


def test_a_clipped_gradient_has_at_most_the_bound():
    gradients = list(tensors(1).values())
    norm = global_norm(gradients)
    assert global_norm(clip_by_norm(gradients, norm, 0.5)).item() == pytest.approx(0.5, rel=1e-5)
    assert clip_by_norm(gradients, norm, 1e6)[0].equal(gradients[0])


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_without_bounds_gradients_stay_as_they_are(kind):
    gradients = list(tensors(1).values())
    assert optimizer_of(kind).clipped(gradients, global_norm(gradients)) is gradients


# --- RAdam's first steps ----------------------------------------------------------------------------------------------


def pure_steps(optimizer, size):
    params = tensors(0)
    state = optimizer.init(params)
    for gradients, lr in steps(size):
        before = params
        params, state = optimizer.update(params, gradients, state, scalar(lr))
        yield lr, before, params


def steps_in_place(optimizer, size):
    params = tensors(0)
    state = optimizer.init(params)
    for gradients, lr in steps(size):
        before = {name: value.clone() for name, value in params.items()}
        optimizer.update_in_place(params, gradients, state, lr)
        yield lr, before, {name: value.clone() for name, value in params.items()}


def largest_move(before, after):
    return max((after[name] - before[name]).abs().max().item() for name in before)


@pytest.mark.parametrize("size", [1.0, 3.0, 1e6])
@pytest.mark.parametrize("run", [pure_steps, steps_in_place])
@pytest.mark.parametrize(("beta2", "unrectified"), [(0.999, 5), (0.9, 5), (0.6, 20)])
def test_no_unrectified_step_of_radam_is_larger_than_the_learning_rate(run, beta2, unrectified, size):
    """ρ ≤ 5 for five steps, and for ever where ρ∞ is; afterwards r/√v̂ bounds it as in Adam."""
    for t, (lr, before, after) in enumerate(run(optimizer_of("radam", beta2=beta2), size), start=1):
        if t <= unrectified:
            assert largest_move(before, after) <= lr * (1 + 1e-12)
    assert t == 20


@pytest.mark.parametrize("run", [pure_steps, steps_in_place])
def test_radam_differs_from_torchs_only_where_the_bound_binds(run):
    """Elements of the running mean up to 3: those within 1 move as torch's do, the others by the learning rate."""
    optimizer, params = optimizer_of("radam"), tensors(0)
    torchs_own, bound = torchs(optimizer.config, params), 0
    for (lr, before, after), (gradients, _) in zip(list(run(optimizer, 3.0))[:5], steps(3.0), strict=False):
        stock_before = {name: value.clone() for name, value in params.items()}
        for group, value, gradient in zip(torchs_own.param_groups, params.values(), gradients, strict=True):
            value.grad, group["lr"] = gradient, lr
        torchs_own.step()
        for name in params:
            stock = params[name] - stock_before[name]
            bound += (stock.abs() > lr).sum().item()
            assert_close(after[name] - before[name], stock.clamp(-lr, lr))
    assert bound > 10


@pytest.fixture
def large(in_memory, trial):
    """A trial of 12 steps on images of 64×64×3, by RAdam at the default learning rate."""
    draw = np.random.default_rng(0)
    images = torch.tensor(draw.uniform(size=(60, 1)) * draw.uniform(size=(60, 12_288)), dtype=torch.float32)

    def build(objective):
        tree = {"optimizer": {"kind": "radam"}, "objective": {"kind": objective}, "model": {"hidden": [16]}}
        return trial(in_memory(images), **tree, lr={"base": 1e-3, "scaling": "none"}, batch_size=5, epochs=1)

    return build


@pytest.mark.parametrize("objective", variants("objective"))
def test_radam_trains_12_288_pixels(objective, large):
    trainer = large(objective)
    started = trainer.evaluation("val").sse.mean()
    assert not trainer.train_epoch().diverged
    assert trainer.evaluation("val").sse.mean() < started


def test_torchs_radam_ends_in_nan_on_12_288_pixels(large, monkeypatch):
    """Its unrectified steps are in the unit of the gradients."""
    trainer = large("elbo")
    stock = torch.optim.RAdam(trainer.params.values(), lr=1e-3)

    def step(optimizer, params, gradients, *rest):
        for value, gradient in zip(params.values(), gradients, strict=True):
            value.grad = gradient
        stock.step()

    monkeypatch.setattr(RAdamOptimizer, "update_in_place", step)
    assert math.isnan([record.loss.item() for record in trainer.steps()][-1])


# --- weight decay -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("run", [run_pure, run_in_place])
def test_weight_decay_leaves_what_has_at_most_one_axis_alone(run, kind):
    plain, decayed = (run(optimizer_of(kind, weight_decay=decay))[0] for decay in (0.0, 0.3))
    for name in SHAPES:
        assert plain[name].equal(decayed[name]) == (not name.endswith(".weight")), name


@pytest.mark.parametrize("kind", ["mlp", "conv", "linear-vae"])
def test_the_built_in_models_decay_their_weights_alone(kind):
    """Not their biases, the gains of their norms, the log-variances and the learned σ."""
    config = parse_config({"model": {"kind": kind, "sigma": 0.5}}).model
    params = build_model(config, (8, 8)).init(0, torch.device("cpu")) | LearnedSigma(0.5, "sigmoid").init(
        torch.device("cpu")
    )
    decayed = {name for name, value in params.items() if is_decayed(value)}
    assert decayed == {name for name in params if name.endswith(".weight") and ".norm." not in name}
