"""A trial's numbers do not depend on what trains beside it: bit for bit on a CPU.

At sizes that fill no vector register, where torch computes the last elements of a tensor otherwise than the first.
"""

from dataclasses import replace
from itertools import product

import pytest
import torch
from pairs import pairwise_cases

from trainables import elementwise
from trainables.config.paths import parse_config, variants
from trainables.data.dataset import Dataset
from trainables.models.activations import ACTIVATIONS
from trainables.training.members import cheapest_width, group_of, train_together
from trainables.training.step import Members
from trainables.training.trainer import Trainer

HEIGHT, WIDTH, N, BATCH, EPOCHS = 7, 5, 23, 5, 2
LIKELIHOODS = {
    "gaussian": {"data": {"likelihood": "gaussian"}},
    "learned sigma": {"data": {"likelihood": "gaussian"}, "model": {"learn_sigma": True}},
    "bernoulli": {"data": {"likelihood": "bernoulli"}},
}
MODELS = {
    "mlp": {"hidden": [9]},
    "conv": {"channels": [3], "hidden": 9},
    "linear-vae": {},
}
OBJECTIVES = {
    "elbo": {},
    "free-bits": {"free_bits": 0.2},
    "geco": {"kappa": 0.3},
    "iwae": {"samples": 1},
}
SHAPING = ("model", "objective", "optimizer")
CLIPPED = {"clip_norm": 5.0, "clip_value": 0.5}
CHOICES = {
    "model": MODELS,
    "activation": ACTIVATIONS,
    "objective": variants("objective"),
    "optimizer": variants("optimizer"),
    "beta": variants("beta"),
    "lr": variants("lr"),
    "likelihood": LIKELIHOODS,
}


def bits():
    return torch.rand(N, HEIGHT * WIDTH, generator=torch.Generator().manual_seed(0)).round()


DATA = Dataset((HEIGHT, WIDTH), bits(), bits()[:5], bits()[5:9], 1.0, dynamic=False)


def config_of(case, **more):
    """A configuration of a case; what a kind does not have is left out."""
    tree = {
        "data": {"name": "memory.npy", "n_train": N, **LIKELIHOODS[case["likelihood"]]["data"]},
        "model": {"kind": case["model"], "latent_dim": 2, **MODELS[case["model"]]},
        "objective": {"kind": case["objective"], **OBJECTIVES[case["objective"]]},
        "optimizer": {"kind": case["optimizer"]},
        "lr": {"kind": case["lr"]},
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "device": "cpu",
        "threads": 1,
    }
    model = tree["model"] | LIKELIHOODS[case["likelihood"]].get("model", {})
    if case["likelihood"] != "bernoulli":
        model["sigma"] = 0.4
    if case["model"] != "linear-vae":
        model |= {
            "activation": case["activation"],
            "output": "sigmoid",
        }
    if case["objective"] == "geco":
        tree["objective"]["constraint"] = "nll" if case["likelihood"] == "bernoulli" else "re"
        model.pop("learn_sigma", None)
    else:
        tree["beta"] = {"kind": case["beta"]}
    tree["model"] = model
    for section, fields in more.items():
        tree[section] = {**tree.get(section, {}), **fields} if isinstance(fields, dict) else fields
    return parse_config(tree)


def allowed(case):
    """A case without what a configuration refuses together."""
    if case["likelihood"] == "bernoulli" and case["beta"] == "gqn":
        return {**case, "beta": "constant"}
    if case["likelihood"] == "learned sigma" and (case["objective"] == "geco" or case["beta"] == "gqn"):
        return {**case, "likelihood": "gaussian"}
    return case


CASES = [allowed(case) for case in pairwise_cases(CHOICES)]


def neighbours(case):
    """Trials that share a step with one of the case, with other objectives, schedules, seeds and numbers."""
    objectives = [kind for kind in OBJECTIVES if kind != "geco" or case["likelihood"] != "learned sigma"]
    at = objectives.index(case["objective"])
    others = [objectives[(at + i) % len(objectives)] for i in (1, 2, 0)]
    numbers = [{"lr": {"base": 3e-3}}, {"optimizer": CLIPPED}, {"lr": {"encoder": 0.3}}]
    return [
        Trainer(config_of({**case, "objective": kind, "beta": "constant", "lr": "constant"}, seed=seed, **own), DATA)
        for seed, (kind, own) in enumerate(zip(others, numbers, strict=True))
    ]


def said(report):
    """A report but for the clock."""
    return replace(report, metrics={n: v for n, v in report.metrics.items() if not n.startswith("time/")})


def state_of(trainer):
    groups = trainer.checkpoint().groups
    return {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in found if not found[name].equal(expected[name])] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
def test_a_member_among_others_that_come_and_go_has_the_numbers_of_one_alone(case):
    assert_alone_as_among(case)


@pytest.mark.bench
@pytest.mark.parametrize(("model", "objective", "optimizer"), [*product(*(CHOICES[name] for name in SHAPING))])
def test_so_has_every_member_of_the_product_of_all_kinds(model, objective, optimizer):
    own = {"model": [model], "objective": [objective], "optimizer": [optimizer]}
    for values in product(*{**CHOICES, **own}.values()):
        assert_alone_as_among(allowed(dict(zip(CHOICES, values, strict=True))))


def assert_alone_as_among(case):
    """In the first epoch it is the last of three, in the second the first of three that have trained less or more."""
    alone, among = (Trainer(config_of(case, seed=1), DATA) for _ in range(2))
    expected = [said(alone.train_epoch()) for _ in range(EPOCHS)]
    one, two, three = neighbours(case)
    assert {each.group for each in (one, two, three)} == {among.group}
    found = [said(train_together([one, two, among])[-1]), said(train_together([among, three, one])[0])]
    assert found == expected
    assert_same(state_of(among), state_of(alone))


def test_every_kind_is_among_the_cases():
    assert MODELS.keys() == variants("model").keys()
    assert OBJECTIVES.keys() == variants("objective").keys()
    for name in ("model", "objective", "optimizer", "beta", "lr"):
        assert {case[name] for case in CASES} == variants(name).keys()


PLACE = {name: getattr(torch.nn.functional, name) for name in ("sigmoid", "softplus")}


@pytest.mark.parametrize("name", PLACE)
def test_torchs_own_functions_would_not_do(name, monkeypatch):
    """They give a number another last bit at another place, and ours give none."""
    values = torch.randn(31, generator=torch.Generator().manual_seed(0))
    for start in range(1, 31):
        own = getattr(elementwise, name)(values[start:].clone())
        assert own.equal(getattr(elementwise, name)(values.clone())[start:])
    moved = [
        not PLACE[name](values[start:].clone()).equal(PLACE[name](values.clone())[start:]) for start in range(1, 31)
    ]
    assert any(moved)


@pytest.mark.parametrize("name", PLACE)
def test_they_are_torchs_to_a_bit_or_two_and_so_are_their_gradients(name):
    x = torch.cat([torch.linspace(-20, 20, 401), torch.tensor([-1e4, 0.0, 1e4])]).double().requires_grad_()
    own, torchs = getattr(elementwise, name)(x), PLACE[name](x)
    torch.testing.assert_close(own, torchs, rtol=1e-6, atol=1e-15)
    pair = [torch.autograd.grad(value.sum(), x)[0] for value in (own, torchs)]
    torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-15)


def test_a_trial_of_another_shape_is_of_another_group():
    base = {name: next(iter(values)) for name, values in CHOICES.items()}
    own = group_of(config_of(base))
    assert group_of(config_of(base, seed=3, model={"sigma": 0.2}, lr={"base": 0.1}, beta={"end": 2.0})) == own
    for other in ({"model": {"hidden": [8]}}, {"batch_size": 6}, {"objective": {"samples": 2}}, {"device": "cuda"}):
        assert group_of(config_of(base, **other)) not in (own, None)
    assert group_of(config_of({**base, "optimizer": "sgd"})) != group_of(
        config_of({**base, "optimizer": "sgd"}, optimizer={"momentum": 0})
    )
    assert group_of(config_of(base, threads=2)) is None


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_one_latent_has_the_numbers_of_one_alone(model):
    """A product with a single column is computed by other code."""
    base = {name: next(iter(values)) for name, values in CHOICES.items()}
    configs = [config_of({**base, "model": model}, seed=seed, model={"latent_dim": 1}) for seed in range(3)]
    together, alone = ([Trainer(config, DATA) for config in configs] for _ in range(2))
    assert list(map(said, train_together(together))) == [said(each.train_epoch()) for each in alone]
    for found, expected in zip(together, alone, strict=True):
        assert_same(state_of(found), state_of(expected))


def test_a_trial_keeps_no_memory_of_those_that_trained_beside_it():
    base = {name: next(iter(values)) for name, values in CHOICES.items()}
    trainers = [Trainer(config_of(base, seed=seed), DATA) for seed in range(3)]
    sizes = {each.flat.untyped_storage().nbytes() for each in trainers}
    train_together(trainers)
    kept = [value for each in trainers for value in (each.flat, each.moments["first"])]
    assert {value.untyped_storage().nbytes() for value in kept} == sizes


@pytest.mark.parametrize("model", MODELS)
def test_where_one_of_several_raises_none_has_changed(model, monkeypatch):
    """Also where they take their steps one by one."""
    base = {name: next(iter(values)) for name, values in CHOICES.items()}
    trainers = [Trainer(config_of({**base, "model": model}, seed=seed), DATA) for seed in range(2)]
    before = [state_of(each) for each in trainers]
    step, taken = Members.step, []

    def breaking(members, inputs):
        taken.append(step(members, inputs))
        if len(taken) == (3 if trainers[0].program.model.batched else 6):
            raise RuntimeError("out of memory")
        return taken[-1]

    monkeypatch.setattr(Members, "step", breaking)
    with pytest.raises(RuntimeError):
        train_together(trainers)
    assert [each.epoch for each in trainers] == [0, 0]
    for each, expected in zip(trainers, before, strict=True):
        assert_same(state_of(each), expected)


def test_a_small_model_is_cheapest_beside_many_and_a_large_one_alone():
    base = {name: next(iter(values)) for name, values in CHOICES.items()}
    shape = (HEIGHT, WIDTH)
    widths = [cheapest_width(config_of(base, model={"hidden": [size]}), shape) for size in (16, 4_000, 40_000)]
    assert widths == sorted(widths, reverse=True)
    assert (widths[0], widths[-1]) == (16, 1)
    assert cheapest_width(config_of(base, threads=2), shape) == 1
    assert cheapest_width(config_of({**base, "model": "conv"}), shape) == 1
