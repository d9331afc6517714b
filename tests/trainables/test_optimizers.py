import math

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, variants
from trainables.layout import Layout
from trainables.likelihoods import LearnedSigma
from trainables.models import build_model
from trainables.optimizers import (
    ONE_GROUP,
    OPTIMIZERS,
    LrGroups,
    Optimizer,
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
LAYOUT = Layout(tuple(SHAPES), tuple(SHAPES.values()))
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
    return [({name: size * value.tanh() for name, value in tensors(seed).items()}, 0.1 / seed) for seed in range(1, 21)]


def moves(optimizer, size=1.0, scale=1.0):
    """After each step its learning rate, the parameters before and after, and the state."""
    flat = LAYOUT.flat(tensors(0))[None]
    state, taken = optimizer.init(flat), torch.empty_like(flat)
    step = optimizer.stepper(flat, taken, state, LAYOUT)
    for gradients, lr in steps(size):
        before = LAYOUT.views(flat[0].clone())
        taken[0] = LAYOUT.flat(gradients)
        step(torch.tensor([scale * lr], dtype=torch.float64))
        yield scale * lr, before, LAYOUT.views(flat[0].clone()), state


def run(optimizer, scale=1.0):
    *_, (_, _, after, state) = moves(optimizer, scale=scale)
    return after, state


def by_formula(optimizer, monkeypatch):
    """The same by the family's formula, which serves where torch has no fused kernel."""
    with monkeypatch.context() as patched:
        patched.setattr(type(optimizer), "mover", Optimizer.mover)
        return run(optimizer)


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
        for group, (name, value) in zip(stock.param_groups, params.items(), strict=True):
            value.grad, group["lr"] = gradients[name], lr * optimizer.groups.factor(name)
        stock.step()
    return params


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [LrGroups(), LrGroups(0.5, 3.0)], ids=["one rate", "two rates"])
@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_the_step_its_formula_and_torchs_agree(kind, tree, groups, monkeypatch):
    """No gradient has an element above 1, within which RAdam's bound does not bind."""
    optimizer = optimizer_of(kind, groups, **tree)
    (found, state), (formula, state_of_formula) = run(optimizer), by_formula(optimizer, monkeypatch)
    assert_close(found, run_torch(optimizer))
    assert_close(found, formula)
    assert_close(state, state_of_formula)


@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_members_with_their_own_learning_rates_are_separate_runs(kind, tree):
    optimizer = optimizer_of(kind, LrGroups(2.0, 0.5), **tree)
    rates = torch.tensor([0.3, 0.01, 0.1], dtype=torch.float64)
    begun = torch.stack([LAYOUT.flat(tensors(seed)) for seed in range(3)])
    gradients = torch.stack([LAYOUT.flat(tensors(seed)) for seed in range(3, 6)])
    together, state = begun.clone(), optimizer.init(begun)
    optimizer.stepper(together, gradients, state, LAYOUT)(rates)
    for i in range(3):
        one = slice(i, i + 1)
        alone, own = begun[one].clone(), optimizer.init(begun[one])
        optimizer.stepper(alone, gradients[one], own, LAYOUT)(rates[one])
        assert together[one].equal(alone)
        assert all(state[name][one].equal(value) for name, value in own.items())


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_a_factor_of_1_for_all_changes_no_bit(kind):
    plain, grouped = run(OPTIMIZERS[kind](optimizer_of(kind).config))[0], run(optimizer_of(kind, LrGroups(1.0, 1.0)))[0]
    assert all(plain[name].equal(grouped[name]) for name in SHAPES)


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_the_factors_of_the_groups_are_two_optimisers_with_scaled_rates(kind):
    """Encoder at 2·lr, decoder and likelihood at ½·lr, what is in neither at lr."""
    optimizer = optimizer_of(kind)
    grouped = run(optimizer_of(kind, LrGroups(2.0, 0.5)))[0]
    at_once = {factor: run(optimizer, scale=factor)[0] for factor in (2.0, 0.5)}
    encoder, decoder = ("encoder.weight", "encoder.bias"), ("decoder.weight", "likelihood.log_sigma")
    expected = {name: at_once[2.0][name] for name in encoder} | {name: at_once[0.5][name] for name in decoder}
    expected["z"] = run(optimizer)[0]["z"]
    assert_close(grouped, expected)
    assert not torch.equal(grouped["encoder.weight"], run(optimizer)[0]["encoder.weight"])


@pytest.mark.parametrize(("kind", "tree"), CASES)
def test_the_state_by_name_is_taken_back_as_it_was(kind, tree):
    optimizer = optimizer_of(kind, **tree)
    state = {name: value[0] for name, value in run(optimizer)[1].items()}
    named = optimizer.named(state, LAYOUT)
    assert all(values.keys() == SHAPES.keys() for values in named.values())
    assert_close(optimizer.unnamed(named, LAYOUT), state)
    assert named.keys() == optimizer.named(optimizer.init(LAYOUT.flat(tensors(0))), LAYOUT).keys()


def test_sgd_keeps_no_more_than_its_momentum():
    with_momentum, without = (optimizer_of("sgd", momentum=m).init(torch.zeros(3)) for m in (0.9, 0.0))
    assert with_momentum.keys() == {"first"}
    assert without == {}


@pytest.mark.parametrize("bound", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("element", [None, 0.05, 0.5])
def test_clipping_is_torchs_the_norm_before_the_elements(bound, element):
    parameters = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES.values()]
    gradients = tensors(1)
    for parameter, gradient in zip(parameters, gradients.values(), strict=True):
        parameter.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(parameters, bound)
    if element is not None:
        torch.nn.utils.clip_grad_value_(parameters, element)
    flat = LAYOUT.flat(gradients)[None]
    torch.testing.assert_close(global_norm(flat)[0], expected)
    optimizer_of("adam", clip_norm=bound, clip_value=element).clip(flat)
    torch.testing.assert_close(list(LAYOUT.views(flat[0]).values()), [parameter.grad for parameter in parameters])


def test_a_clipped_gradient_has_at_most_the_bound():
    gradients = torch.stack([LAYOUT.flat(tensors(1)), 1e-3 * LAYOUT.flat(tensors(2))])
    clipped = gradients.clone()
    clip_by_norm(clipped, 0.5)
    assert global_norm(clipped)[0].item() == pytest.approx(0.5, rel=1e-5)
    assert clipped[1].equal(gradients[1])


@pytest.mark.parametrize("kind", variants("optimizer"))
def test_without_bounds_gradients_stay_as_they_are(kind):
    gradients = LAYOUT.flat(tensors(1))[None]
    optimizer_of(kind).clip(gradients)
    assert gradients[0].equal(LAYOUT.flat(tensors(1)))


# --- RAdam's first steps ----------------------------------------------------------------------------------------------


def largest_move(before, after):
    return max((after[name] - before[name]).abs().max().item() for name in before)


@pytest.mark.parametrize("size", [1.0, 3.0, 1e6])
@pytest.mark.parametrize(("beta2", "unrectified"), [(0.999, 5), (0.9, 5), (0.6, 20)])
def test_no_unrectified_step_of_radam_is_larger_than_the_learning_rate(beta2, unrectified, size):
    """ρ ≤ 5 for five steps, and for ever where ρ∞ is; afterwards r/√v̂ bounds it as in Adam."""
    for t, (lr, before, after, _) in enumerate(moves(optimizer_of("radam", beta2=beta2), size), start=1):
        if t <= unrectified:
            assert largest_move(before, after) <= lr * (1 + 1e-12)
    assert t == 20


def test_radam_differs_from_torchs_only_where_the_bound_binds():
    """Elements of the running mean up to 3: those within 1 move as torch's do, the others by the learning rate."""
    optimizer, params = optimizer_of("radam"), tensors(0)
    torchs_own, bound = torchs(optimizer.config, params), 0
    for (lr, before, after, _), (gradients, _) in zip(list(moves(optimizer, 3.0))[:5], steps(3.0), strict=False):
        stock_before = {name: value.clone() for name, value in params.items()}
        for group, (name, value) in zip(torchs_own.param_groups, params.items(), strict=True):
            value.grad, group["lr"] = gradients[name], lr
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
    flat = trainer.flat.clone()
    stock = torch.optim.RAdam([flat], lr=1e-3)

    def stepper(optimizer, params, gradients, *rest):
        def step(lr):
            flat.grad = gradients[0].clone()
            stock.step()
            params[0] = flat

        return step

    monkeypatch.setattr(RAdamOptimizer, "stepper", stepper)
    assert math.isnan([record.loss.item() for record in trainer.steps()][-1])


# --- weight decay -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_weight_decay_leaves_what_has_at_most_one_axis_alone(kind):
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
    decayed = {name for name, value in params.items() if is_decayed(value.shape)}
    assert decayed == {name for name in params if name.endswith(".weight") and ".norm." not in name}
