from dataclasses import replace

import pytest
import torch
from stepping import initial, inputs_of, members_of
from torch import distributions as td

from trainables.config.paths import parse_config, variants
from trainables.program import build_program

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


def program_of(kind="elbo", dials=None, optimizer="adam", clip=None, likelihood="gaussian", **model):
    config = parse_config(
        {
            "data": {"name": "memory.npy", "likelihood": likelihood},
            "model": {"latent_dim": 3, "hidden": [4], "sigma": 0.8, "output": "sigmoid", **model},
            "objective": {"kind": kind, **(dials or {})},
            "optimizer": {"kind": optimizer, **(clip or {})},
            "lr": {"encoder": 0.5},
        }
    )
    return build_program(config, (D,), STEPS)


def drawn(program, step, seed=0):
    """Batch and noise of a step."""
    draw = torch.Generator().manual_seed(100 * seed + step)
    batch = torch.rand(B, D, generator=draw, dtype=torch.float64)
    shape = (program.objective.samples, B, program.model.latent_dim)
    return batch, torch.randn(shape, generator=draw, dtype=torch.float64)


def step(members, number, seeds, betas=BETA, rates=RATE):
    batches, noises = zip(*(drawn(members.program, number, seed) for seed in seeds), strict=True)
    hypers = [{"beta": betas[seed], "sigma": 0.8, "progress": number / STEPS} for seed in seeds]
    return members.step(inputs_of(members, batches, noises, hypers, [rates[seed] for seed in seeds]))


def test_every_objective_is_among_the_cases():
    assert DIALS.keys() == variants("objective").keys()


@pytest.mark.parametrize("clip", [{}, CLIPPED], ids=str)
@pytest.mark.parametrize("optimizer", variants("optimizer"))
@pytest.mark.parametrize(("objective", "dials"), CASES, ids=str)
def test_three_members_in_one_step_are_three_separate_runs_bit_for_bit(objective, dials, optimizer, clip):
    programs = [program_of(objective, own, optimizer, clip, learn_sigma=objective != "geco") for own in dials]
    params = [initial(program, seed) for seed, program in enumerate(programs)]
    together = members_of(programs, params)
    alone = [members_of([program], [own]) for program, own in zip(programs, params, strict=True)]
    for number in range(STEPS):
        record = step(together, number, (0, 1, 2))
        separate = [step(own, number, (seed,)) for seed, own in enumerate(alone)]
        for column, columns in zip(record[:4], zip(*(each[:4] for each in separate), strict=True), strict=True):
            assert column.equal(torch.cat(columns))
    for seed, own in enumerate(alone):
        assert together.params[seed].equal(own.params[0])
        assert all(value[seed].equal(own.moments[name][0]) for name, value in together.moments.items())
        assert all(value[seed].equal(own.states[0][name][0]) for name, value in together.states[0].items())
    assert len({tuple(row.tolist()) for row in together.params}) == 3


def test_a_member_that_becomes_nan_leaves_its_neighbours_as_they_are():
    programs = [program_of("geco", own) for own in DIALS["geco"]]
    params = [initial(program, seed) for seed, program in enumerate(programs)]
    healthy, broken = members_of(programs, params), members_of(programs, params)
    broken.params[1] = torch.nan
    for number in range(STEPS):
        step(healthy, number, (0, 1, 2)), step(broken, number, (0, 1, 2))
    assert broken.params[1].isnan().all()
    assert all(broken.params[i].equal(healthy.params[i]) for i in (0, 2))


def first_gradient(program, params, number=0, **numbers):
    """One step of Adam from zero moments has first moment (1 − β₁)·gradient."""
    members = members_of([program], [params])
    batch, noise = drawn(program, number)
    hyper = {"beta": 1.0, "sigma": 0.8, "progress": number / STEPS} | numbers
    record = members.step(inputs_of(members, [batch], [noise], [hyper], [1e-2]))
    return members.layout.views(members.moments["first"][0] / 0.1), record


def hand_written_elbo(program, params, x, noise, sigma):
    """log p(x|z) − KL(q ‖ p) from torch's own distributions."""
    mean, log_variance = program.model.encode(params, x)
    q = td.Normal(mean, (0.5 * log_variance).exp())
    output = program.model.decode(params, q.loc + q.scale * noise[0])
    if program.likelihood.kind == "bernoulli":
        log_likelihood = td.Bernoulli(logits=output, validate_args=False).log_prob(x).sum(1)
    else:
        log_likelihood = td.Normal(output.sigmoid(), sigma).log_prob(x).sum(1)
    return (log_likelihood - td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1)).mean()


@pytest.mark.parametrize(("objective", "dials"), [("elbo", {}), ("free-bits", {"free_bits": 0.0})])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_at_beta_1_the_loss_is_the_negative_elbo_and_so_is_its_gradient(objective, dials, likelihood):
    program = program_of(objective, dials, likelihood=likelihood)
    params = {name: value.requires_grad_() for name, value in initial(program).items()}
    expected = -hand_written_elbo(program, params, *drawn(program, 0), 0.8)
    gradients = torch.autograd.grad(expected, list(params.values()))
    found, record = first_gradient(program, params)
    torch.testing.assert_close(record.loss[0], expected.detach())
    torch.testing.assert_close((record.recon_nll + record.kl)[0], expected.detach())
    torch.testing.assert_close(list(found.values()), list(gradients))


def test_the_recorded_gradient_norm_is_that_before_clipping():
    free, clipped = (program_of(clip=clip) for clip in ({}, {"clip_norm": 1e-3}))
    norms = [first_gradient(program, initial(program))[1].grad_norm for program in (free, clipped)]
    assert norms[0] == norms[1]


@pytest.mark.parametrize("factor", [1.5, 20 / 7])
def test_at_a_sigma_sigma_t_the_gradient_points_where_that_of_beta_does(factor):
    """SSE/2σ_t² + KL = (σ/σ_t)²·(SSE/2σ² + (σ_t/σ)²·KL) + constants: GQN's annealing as a β."""
    program = program_of()
    at_sigma_t, _ = first_gradient(program, initial(program), sigma=factor * 0.8)
    at_beta, _ = first_gradient(program, initial(program), beta=factor**2)
    torch.testing.assert_close(at_sigma_t, {name: value / factor**2 for name, value in at_beta.items()})


def test_models_that_take_members_one_by_one_take_the_same_step():
    """`batched` decides on speed alone."""
    programs = [program_of("elbo", {}) for _ in range(3)]

    class OneByOne(type(programs[0].model)):
        batched = False

    slow = [replace(program, model=OneByOne(**vars(program.model))) for program in programs]
    params = [initial(program, seed) for seed, program in enumerate(programs)]
    together, one_by_one = members_of(programs, params), members_of(slow, params)
    for number in range(STEPS):
        step(together, number, (0, 1, 2)), step(one_by_one, number, (0, 1, 2))
    torch.testing.assert_close(together.params, one_by_one.params, rtol=1e-12, atol=1e-12)
