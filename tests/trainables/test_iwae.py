"""Several draws of z: the importance-weighted bound and the ELBO of a linear Gaussian model, where all is known.

x ~ N(0, S) on its axes; p(x|z) = N(Wz, σ²I) with W = √(S − σ²), so that p(x) has the covariance of the data, and the
posterior is N((S − σ²)^½ S⁻¹ x, σ²S⁻¹) (Tipping & Bishop 1999): the optimum of the linear VAE at β = 1.
"""

import math

import pytest
import torch
from stepping import inputs_of, members_of
from torch import distributions as td

from trainables.config.paths import parse_config
from trainables.program import build_program

S, SIGMA = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64), math.sqrt(0.5)
M = len(S)


LINEAR = {"kind": "linear-vae", "latent_dim": M, "sigma": 1.0}
MLP = {"kind": "mlp", "latent_dim": 2, "hidden": [3], "activation": "tanh", "output": "sigmoid", "sigma": 1.0}


def program_of(objective="iwae", samples=1, model=LINEAR, n_elements=M, likelihood="gaussian"):
    tree = {
        "data": {"name": "memory.npy", "likelihood": likelihood},
        "model": model,
        "objective": {"kind": objective, "samples": samples},
        "optimizer": {"kind": "sgd", "momentum": 0},
    }
    return build_program(parse_config(tree), (n_elements,), total_steps=1)


def initial(program, seed=0):
    return {name: value.double() for name, value in program.model.init(seed, torch.device("cpu")).items()}


def names_in(params):
    """Encoder, decoder and posterior of the linear VAE."""
    affine = [f"{side}.{part}" for side in ("encoder", "decoder") for part in ("weight", "bias")]
    return affine + [name for name in params if name not in affine]


def step_of(program, params, x, noise, beta=1.0, sigma=SIGMA):
    """By a step of plain SGD, which moves parameters by their gradient."""
    members = members_of([program], [params])
    hyper = {"beta": beta, "sigma": sigma, "progress": 0.0}
    record = members.step(inputs_of(members, [x], [noise], [hyper], [1.0]))
    moved = members.layout.views(members.params[0])
    return record, {name: value - moved[name] for name, value in params.items()}


def loss_of(*arguments, **options):
    return step_of(*arguments, **options)[0].loss[0]


def optimum(program, spread=1.0):
    """Where q is the posterior, but for its variance, which is `spread` times as large."""
    decoder, zero = torch.diag((S - SIGMA**2).sqrt()), torch.zeros_like(S)
    values = (decoder / S, zero, decoder, zero, (spread * SIGMA**2 / S).log())
    return dict(zip(names_in(initial(program)), values, strict=True))


def log_likelihood(x):
    return td.MultivariateNormal(torch.zeros(M, dtype=torch.float64), torch.diag(S)).log_prob(x)


@pytest.fixture
def draws():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_t6_under_the_posterior_the_bound_is_the_likelihood_for_every_k(samples, draws):
    program = program_of(samples=samples)
    x = draws(5, M) * S.sqrt()
    loss = loss_of(program, optimum(program), x, draws(samples, 5, M))
    torch.testing.assert_close(loss, -log_likelihood(x).mean())


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_of_one_draw_it_is_the_elbo_with_its_kl_by_that_draw(beta, draws):
    program = program_of(samples=1)
    params, x, noise = initial(program), draws(5, M), draws(1, 5, M)
    mean, log_variance = program.model.encode(params, x)
    q = td.Independent(td.Normal(mean, (0.5 * log_variance).exp()), 1)
    z = mean + q.base_dist.scale * noise[0]
    prior = td.Independent(td.Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    likelihood = td.Independent(td.Normal(program.model.decode(params, z), SIGMA), 1)
    expected = -(likelihood.log_prob(x) - beta * (q.log_prob(z) - prior.log_prob(z))).mean()
    torch.testing.assert_close(loss_of(program, params, x, noise, beta=beta), expected)


def test_of_one_draw_it_is_the_elbo_in_expectation(draws):
    elbo, iwae = program_of("elbo"), program_of("iwae")
    params = initial(elbo)
    x, noise = draws(1, M).repeat(50_000, 1), draws(1, 50_000, M)
    torch.testing.assert_close(
        loss_of(iwae, params, x, noise, beta=0.7), loss_of(elbo, params, x, noise, beta=0.7), rtol=0, atol=0.02
    )


def test_the_bound_rises_with_k_to_the_likelihood(draws):
    """With q of v times the posterior's variance: KL(q ‖ posterior) below it at K = 1, Var(w/p(x))/2K at large K.

    w/p(x) is the ratio of the posterior to q: E w² = (v/√(2v − 1))^M p(x)².
    """
    v, n = 2.0, 20_000
    x = (draws(1, M) * S.sqrt()).repeat(n, 1)
    gaps = {}
    for samples in (1, 2, 5, 20):
        program = program_of(samples=samples)
        loss = loss_of(program, optimum(program, spread=v), x, draws(samples, n, M))
        gaps[samples] = float(loss + log_likelihood(x).mean())
    assert gaps[1] > gaps[2] > gaps[5] > gaps[20] > 0
    assert gaps[1] == pytest.approx(M / 2 * (v - 1 - math.log(v)), abs=0.03)
    assert gaps[20] == pytest.approx(((v / math.sqrt(2 * v - 1)) ** M - 1) / 40, rel=0.2)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("objective", ["iwae", "elbo"])
def test_the_gradient_is_that_of_finite_differences(objective, likelihood, draws):
    program = program_of(objective, 5, MLP, 4, likelihood)
    params = initial(program)
    given = (draws(6, 4) > 0).double(), draws(5, 6, 2), 0.7
    _, gradient = step_of(program, params, *given)
    for name, value in params.items():
        direction, size = draws(*value.shape), 1e-5
        ahead, behind = (
            loss_of(program, params | {name: value + shift * direction}, *given) for shift in (size, -size)
        )
        torch.testing.assert_close(
            (ahead - behind) / (2 * size), (gradient[name] * direction).sum(), rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("samples", [1, 4])
def test_the_gradient_of_a_single_latent_is_that_on_paper(samples, draws):
    """−Σ_k w̃_k ∇log w_k with w̃ the weights, normalised, log w = −(x − wz − b)²/2σ² − β(z² − ε² − ln s²)/2 + constant,
    z = vx + c + sε."""
    program, beta = program_of(samples=samples, model=LINEAR | {"latent_dim": 1}, n_elements=1), 0.6
    params = {name: draws(*value.shape) for name, value in initial(program).items()}
    x, noise = draws(1, 1), draws(samples, 1, 1)
    v, c, w, b, log_variance = (float(params[name]) for name in names_in(params))
    scale, epsilon = math.exp(log_variance / 2), noise.flatten()
    z = v * x[0] + c + scale * epsilon
    error = x[0] - w * z - b
    log_weight = -error.square() / (2 * SIGMA**2) - beta / 2 * (z.square() - epsilon.square() - log_variance)
    share = log_weight.softmax(0)
    by_z = error * w / SIGMA**2 - beta * z
    by_w, by_b = error * z / SIGMA**2, error / SIGMA**2
    by_log_variance = by_z * scale * epsilon / 2 + beta / 2
    expected = [-(share * by).sum() for by in (by_z * x[0], by_z, by_w, by_b, by_log_variance)]
    _, gradient = step_of(program, params, x, noise, beta=beta)
    torch.testing.assert_close([gradient[name].squeeze() for name in names_in(params)], expected)


@pytest.mark.parametrize(
    ("objective", "together"), [("elbo", torch.mean), ("iwae", lambda losses: -(-losses).exp().mean().log())]
)
def test_draws_are_averaged_by_the_elbo_and_their_weights_by_iwae(objective, together, draws):
    """Of one example, so that the loss of a draw is its own; what is recorded beside the loss are means for both."""
    one, several = program_of(objective), program_of(objective, samples=6)
    params, x, noise = initial(one), draws(1, M), draws(6, 1, M)
    losses, recon_nll, kl, *_ = zip(*(step_of(one, params, x, draw[None])[0] for draw in noise), strict=True)
    losses = torch.cat(losses)
    assert losses.std() > 0.01
    found = step_of(several, params, x, noise)[0]
    torch.testing.assert_close(found.loss[0], together(losses))
    torch.testing.assert_close(found.recon_nll[0], torch.cat(recon_nll).mean())
    torch.testing.assert_close(kl, (found.kl,) * 6)
