import pytest
import torch
from torch import distributions as td

from trainables.config.paths import parse_config, variants
from trainables.program import build_program
from trainables.training.step import advance, members_step, train_step

D, B, STEPS = 6, 5, 6
BETA, RATE = (0.5, 1.0, 2.0), (1e-2, 3e-3, 1e-1)
DIALS = {
    "elbo": [{}, {}, {}],
    "free-bits": [{"free_bits": 0.0}, {"free_bits": 0.1}, {"free_bits": 5.0}],
    "geco": [{"kappa": kappa, "constraint": "re"} for kappa in (0.1, 0.5, 2.0)],
    "iwae": [{"samples": 4}, {"samples": 4}, {"samples": 4}],
}
SEVERAL_DRAWS = [{"samples": 2}] * 3
LISTED_FREE_BITS = [{"free_bits": [0.0, 0.1, 5.0]}, {"free_bits": [5.0, 0.0, 0.1]}, {"free_bits": [0.2, 0.2, 0.2]}]
GROUPS = [{"free_bits": free_bits, "groups": 1} for free_bits in (0.1, 0.3, 5.0)]
CASES = [*DIALS.items(), ("elbo", SEVERAL_DRAWS), ("free-bits", LISTED_FREE_BITS), ("free-bits", GROUPS)]
CLIPPED = {"clip_norm": 0.5, "clip_value": 0.02}


def config_of(kind="elbo", dials=None, optimizer="adam", clip=None, likelihood="gaussian", **model):
    return parse_config(
        {
            "data": {"name": "memory.npy", "likelihood": likelihood},
            "model": {"latent_dim": 3, "hidden": [4], "sigma": 0.8, "output": "sigmoid", **model},
            "objective": {"kind": kind, **(dials or {})},
            "optimizer": {"kind": optimizer, **(clip or {})},
            "lr": {"encoder": 0.5},
        }
    )


def double(values):
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}


class Member:
    """One trial by hand, in float64."""

    def __init__(self, config, seed=0, beta=1.0, lr=1e-2):
        self.program = build_program(config, (D,), STEPS)
        cpu = torch.device("cpu")
        self.params = double(self.program.model.init(seed, cpu) | self.program.likelihood.init(cpu))
        self.buffers = double(self.program.model.buffers(cpu))
        self.optimizer = self.program.optimizer.init(self.params)
        self.state = double(self.program.objective.init())
        self.lr = lr
        dials = {**self.program.objective.constants(), "sigma": config.model.sigma, "beta": beta, "lr": lr}
        self.dials = double(dials)

    def inputs(self, step, seed=0):
        """Batch, noise and hyper-parameters of a step."""
        generator = torch.Generator().manual_seed(100 * seed + step)
        batch = torch.rand(B, D, generator=generator, dtype=torch.float64)
        shape = (self.program.objective.samples, B, self.program.model.latent_dim)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        return batch, noise, {**self.dials, "progress": torch.tensor(step / STEPS, dtype=torch.float64)}

    def step(self, step, seed=0):
        self.params, self.buffers, self.optimizer, self.state, record = train_step(
            self.program, self.params, self.buffers, self.optimizer, self.state, *self.inputs(step, seed)
        )
        return record


def stacked(trees):
    return {name: torch.stack([tree[name].detach() for tree in trees]) for name in trees[0]}


def test_every_objective_is_among_the_cases():
    assert DIALS.keys() == variants("objective").keys()


@pytest.mark.parametrize("clip", [{}, CLIPPED], ids=str)
@pytest.mark.parametrize("optimizer", variants("optimizer"))
@pytest.mark.parametrize(("objective", "dials"), CASES, ids=str)
def test_three_members_in_one_vmapped_step_are_three_separate_runs(objective, dials, optimizer, clip):
    configs = [config_of(objective, own, optimizer, clip, learn_sigma=objective != "geco") for own in dials]
    members = [
        Member(config, seed, beta, lr) for seed, (config, beta, lr) in enumerate(zip(configs, BETA, RATE, strict=True))
    ]
    params, buffers, state = (stacked([getattr(m, part) for m in members]) for part in ("params", "buffers", "state"))
    moments = {moment: stacked([m.optimizer[moment] for m in members]) for moment in members[0].optimizer}
    for step in range(STEPS):
        batches, noises, hypers = zip(*(m.inputs(step, i) for i, m in enumerate(members)), strict=True)
        params, buffers, moments, state, record = members_step(
            members[0].program,
            params,
            buffers,
            moments,
            state,
            torch.stack(batches),
            torch.stack(noises),
            stacked(hypers),
        )
        alone = [m.step(step, i) for i, m in enumerate(members)]
        for together, separate in zip(record, zip(*alone, strict=True), strict=True):
            torch.testing.assert_close(together, torch.stack(separate))
    torch.testing.assert_close(params, stacked([m.params for m in members]), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(state, stacked([m.state for m in members]), rtol=1e-9, atol=1e-12)
    assert len({tuple(value.tolist()) for value in params["encoder.0.bias"]}) == 3


@pytest.mark.parametrize("optimizer", variants("optimizer"))
@pytest.mark.parametrize(("objective", "dials"), CASES, ids=str)
def test_the_step_in_place_is_the_pure_step(objective, dials, optimizer):
    config = config_of(objective, dials[1], optimizer, CLIPPED, learn_sigma=objective != "geco")
    pure, in_place = Member(config), Member(config)
    params = {name: value.requires_grad_() for name, value in in_place.params.items()}
    for step in range(STEPS):
        record = pure.step(step)
        in_place.buffers, in_place.state, other = advance(
            in_place.program,
            params,
            in_place.buffers,
            in_place.optimizer,
            in_place.state,
            *in_place.inputs(step),
            in_place.lr,
        )
        torch.testing.assert_close(tuple(other), tuple(record))
    torch.testing.assert_close(
        {name: value.detach() for name, value in params.items()}, pure.params, rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(in_place.state, pure.state)


def test_a_step_changes_none_of_its_arguments():
    member = Member(config_of("geco", DIALS["geco"][0]))
    before = {name: value.clone() for name, value in member.params.items()}
    params, state, moments = member.params, member.state, member.optimizer
    member.step(0)
    torch.testing.assert_close(params, before, rtol=0, atol=0)
    assert state["met"] == 0
    assert moments["count"]["encoder.0.bias"] == 0


def first_gradient(member, x, noise, hyper):
    """One step of Adam from zero moments has first moment (1 − β₁)·gradient."""
    arguments = member.program, member.params, member.buffers, member.optimizer, member.state, x, noise, hyper
    _, _, moments, *_ = train_step(*arguments)
    return [value / 0.1 for value in moments["first"].values()]


def hand_written_elbo(program, params, x, noise, sigma):
    """log p(x|z) − KL(q ‖ p) from torch's own distributions."""
    mean, log_variance = program.model.encode(params, x)
    q = td.Normal(mean, (0.5 * log_variance).exp())
    output = program.model.decode(params, q.loc + q.scale * noise[0])
    if program.likelihood.kind == "bernoulli":
        log_likelihood = td.Bernoulli(logits=output).log_prob(x).sum(1)
    else:
        log_likelihood = td.Normal(output.sigmoid(), sigma).log_prob(x).sum(1)
    return (log_likelihood - td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1)).mean()


@pytest.mark.parametrize(("objective", "dials"), [("elbo", {}), ("free-bits", {"free_bits": 0.0})])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_at_beta_1_the_loss_is_the_negative_elbo_and_so_is_its_gradient(objective, dials, likelihood):
    member = Member(config_of(objective, dials, likelihood=likelihood))
    x, noise, hyper = member.inputs(0)
    x = x.round() if likelihood == "bernoulli" else x
    params = {name: value.requires_grad_() for name, value in member.params.items()}
    expected = -hand_written_elbo(member.program, params, x, noise, hyper["sigma"])
    gradients = torch.autograd.grad(expected, list(params.values()))
    *_, record = train_step(member.program, params, {}, member.optimizer, member.state, x, noise, hyper)
    torch.testing.assert_close(record.loss, expected.detach())
    torch.testing.assert_close(record.recon_nll + record.kl, expected.detach())
    torch.testing.assert_close(first_gradient(member, x, noise, hyper), list(gradients))


def test_the_recorded_gradient_norm_is_that_before_clipping():
    free, clipped = Member(config_of()), Member(config_of(clip={"clip_norm": 1e-3}))
    assert free.step(0).grad_norm == clipped.step(0).grad_norm


@pytest.mark.parametrize("factor", [1.5, 20 / 7])
def test_at_a_sigma_sigma_t_the_gradient_points_where_that_of_beta_does(factor):
    """SSE/2σ_t² + KL = (σ/σ_t)²·(SSE/2σ² + (σ_t/σ)²·KL) + constants: GQN's annealing as a β."""
    member = Member(config_of())
    x, noise, hyper = member.inputs(0)
    at_sigma_t = first_gradient(member, x, noise, hyper | {"sigma": factor * hyper["sigma"]})
    at_beta = first_gradient(member, x, noise, hyper | {"beta": hyper["beta"] * factor**2})
    torch.testing.assert_close(at_sigma_t, [gradient / factor**2 for gradient in at_beta])
