import math

import pytest
import torch

from trainables.config.paths import parse_config, variants
from trainables.layout import Layout
from trainables.models.priors import STANDARD_NORMAL
from trainables.objectives import (
    ElboObjective,
    FreeBitsObjective,
    GecoObjective,
    IwaeObjective,
    Terms,
    Violation,
    build_objective,
)
from trainables.optimizers import build_optimizer

D, M, T = 20, 4, 1000


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def terms(seed=0, n=6):
    generator = torch.Generator().manual_seed(seed)
    recon_nll, sse, kl = (
        torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((n,), (n,), (n, M))
    )
    return cost(10 * recon_nll, sse.requires_grad_(), kl.requires_grad_())


def cost(recon_nll, sse, kl):
    """Of objectives that do not look at the draws."""
    return Terms(recon_nll, sse, kl, *[torch.full_like(kl, math.nan)] * 3, STANDARD_NORMAL)


def hyper(objective, beta=1.0, progress=0.5):
    values = {**objective.constants(), "beta": beta, "progress": progress}
    return {name: tensor(value) for name, value in values.items()}


def state_of(objective, **values):
    return {name: tensor(value) for name, value in (objective.init() | values).items()}


def geco(kappa=0.1, constraint="re", bounded=False, total_steps=T, settling_steps=1000):
    return GecoObjective(kappa, constraint, D, M, total_steps, settling_steps, bounded)


# --- ELBO and free bits -----------------------------------------------------------------------------------------------


def test_elbo_weighs_the_kl_with_beta():
    given = terms()
    loss, _ = ElboObjective().step(given, {}, hyper(ElboObjective(), beta=0.3))
    torch.testing.assert_close(loss, given.recon_nll.mean() + 0.3 * given.kl.sum(1).mean())


def test_free_bits_of_0_is_the_elbo_with_its_gradient():
    given, objective = terms(), FreeBitsObjective(0.0, groups=M)
    free, _ = objective.step(given, {}, hyper(objective, beta=0.7))
    elbo, _ = ElboObjective().step(given, {}, hyper(ElboObjective(), beta=0.7))
    torch.testing.assert_close(free, elbo)
    torch.testing.assert_close(torch.autograd.grad(free, given.kl), torch.autograd.grad(elbo, given.kl))


def test_free_bits_clips_the_mean_over_the_batch_and_not_each_image():
    """One image above λ = 1, one below: their mean of 1.5 counts in full; clipped one by one, .5 would be 1."""
    kl = tensor([[2.5], [0.5]])
    objective = FreeBitsObjective(1.0, groups=1)
    loss, _ = objective.step(cost(tensor([0.0, 0.0]), tensor([0.0, 0.0]), kl), {}, hyper(objective))
    assert loss.item() == 1.5


def test_below_its_free_bits_a_dimension_costs_them_and_has_no_gradient():
    kl = tensor([[0.1, 2.0], [0.3, 3.0]]).requires_grad_()
    objective = FreeBitsObjective(0.5, groups=2)
    loss, _ = objective.step(cost(tensor([0.0, 0.0]), tensor([0.0, 0.0]), kl), {}, hyper(objective))
    assert loss.item() == 0.5 + 2.5
    (gradient,) = torch.autograd.grad(loss, kl)
    assert gradient.tolist() == [[0, 0.5], [0, 0.5]]


def free_bits_loss(free_bits, groups):
    objective, given = FreeBitsObjective(free_bits, groups), terms()
    loss, _ = objective.step(given, {}, hyper(objective, beta=0.7))
    return loss - given.recon_nll.mean()


def test_free_bits_in_groups_clip_the_sum_over_neighbours():
    means = terms().kl.detach().mean(0)
    torch.testing.assert_close(free_bits_loss(0.9, groups=1), 0.7 * tensor(0.9).clamp(min=means.sum()))
    torch.testing.assert_close(free_bits_loss(9.0, groups=1), tensor(0.7 * 9))
    pairs = torch.stack([means[:2].sum(), means[2:].sum()])
    between = float(pairs.mean())
    torch.testing.assert_close(free_bits_loss(between, groups=2), 0.7 * pairs.clamp(min=between).sum())
    assert pairs.min() < between < pairs.max()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_equal_free_bits_of_each_group_are_one_for_all(groups):
    torch.testing.assert_close(free_bits_loss((0.6,) * groups, groups), free_bits_loss(0.6, groups), rtol=0, atol=0)


def test_each_group_has_its_own_free_bits():
    means = terms().kl.detach().mean(0)
    expected = 0.7 * (means[:2].sum() + 5)
    torch.testing.assert_close(free_bits_loss((0.0, 5.0), groups=2), expected)


def test_groups_left_open_are_the_dimensions():
    tree = {"model": {"latent_dim": M}, "objective": {"kind": "free-bits"}}
    assert build_objective(parse_config(tree), D, T) == FreeBitsObjective(0.25, groups=M)
    tree["objective"] |= {"groups": 2, "free_bits": [0.5, 1]}
    assert build_objective(parse_config(tree), D, T) == FreeBitsObjective((0.5, 1.0), groups=2)


@pytest.mark.parametrize("kind", ["elbo", "iwae"])
def test_the_configured_draws_are_taken(kind):
    config = parse_config({"objective": {"kind": kind, "samples": 3}})
    assert build_objective(config, D, T).samples == 3


def test_iwae_is_finite_where_the_weights_are_not():
    """exp(−10⁵) is 0 in any float; the sum over draws is taken of logarithms."""
    given = terms()
    zero = torch.zeros(len(given.kl), M, dtype=torch.float64)
    objective = IwaeObjective(2)
    given = Terms(given.recon_nll + 1e5, given.sse, given.kl, zero, zero, zero, STANDARD_NORMAL)
    loss, _ = objective.step(given, {}, hyper(objective))
    first, second = given.recon_nll.reshape(2, -1)
    expected = 1e5 - (0.5 * ((1e5 - first).exp() + (1e5 - second).exp())).log().mean()
    torch.testing.assert_close(loss, expected)


# --- GECO -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["re", "nll"])
def test_gecos_value_is_the_moving_average_and_its_gradient_this_batch(constraint):
    given, objective = terms(), geco(constraint=constraint)
    given = cost(given.recon_nll.requires_grad_(), given.sse, given.kl)
    distortion = given.sse if constraint == "re" else given.recon_nll
    state = state_of(objective, log_lambda=math.log(3), moving=0.2)
    loss, after = objective.step(given, state, hyper(objective))
    violation = distortion.mean() / D - objective.target
    average = 0.9 * 0.2 + 0.1 * violation
    torch.testing.assert_close(after["moving"], average)
    torch.testing.assert_close(loss, given.kl.sum(1).mean() + 3 * D * average)
    by_distortion, by_kl = torch.autograd.grad(loss, [distortion, given.kl])
    torch.testing.assert_close(by_distortion, torch.full_like(distortion, 3 / len(distortion)))
    torch.testing.assert_close(by_kl, torch.full_like(given.kl, 1 / len(given.kl)))
    assert not after["moving"].requires_grad


def test_the_moving_average_starts_at_the_first_violation():
    given, objective = terms(), geco()
    _, after = objective.step(given, state_of(objective), hyper(objective))
    torch.testing.assert_close(after["moving"], given.sse.mean() / D - 0.01)


@pytest.mark.parametrize(
    ("mse", "grows"), [(4.0, True), (1.01, True), (0.99, False), (0.0, False)], ids=["far", "violated", "met", "0"]
)
def test_a_violated_constraint_makes_lambda_grow_and_a_met_one_shrink(mse, grows):
    objective = geco()
    given = cost(tensor([0.0]), tensor([mse * objective.target * D]), tensor([[1.0]]))
    _, after = objective.step(given, state_of(objective), hyper(objective))
    assert (after["log_lambda"].item() > math.log(objective.initial_lambda)) == grows


@pytest.mark.parametrize(
    ("before", "violation", "change"),
    [
        (0.01, 0.01, 0.04 * 8 * 0.01),  # in proportion
        (0.1, 0.1, 0.04 * 0.125),  # up by an eighth of the rate at most
        (0.2, 0.2, 0.04 * 0.2),  # and by the violation where that is more
        (0.9, 0.9, 0.04 * 0.5),  # to half the rate
        (-0.02, -0.02, -0.04 * 8 * 0.02),
        (-0.9, -0.9, -0.04 * 2),  # down by twice the rate
        (0.0, 0.1, 0.04 * 8 * 0.01 + 0.01),  # and with the change of the average
        (0.3, -0.2, 0.04 * 0.25 - 0.05),
        (5.0, 4.0, 0.04 * 0.5),  # which is seen within 30 % of the target
        (0.3, -9.7, -0.04 * 2 - 0.6),
    ],
)
def test_log_lambda_moves_by_the_clipped_violation_and_its_change(before, violation, change):
    objective = geco()
    given = cost(tensor([0.0]), tensor([(1 + violation) * objective.target * D]), tensor([[1.0]]))
    state = state_of(objective, log_lambda=1.0, moving=before * objective.target)
    _, after = objective.step(given, state, hyper(objective))
    assert after["log_lambda"].item() == pytest.approx(1 + change)


@pytest.mark.parametrize(("progress", "gain"), [(0.2, 8), (0.9, 8), (0.95, 4.5), (1.0, 1)])
def test_the_gain_falls_over_the_last_tenth_of_the_budget(progress, gain):
    objective = geco()
    given = cost(tensor([0.0]), tensor([0.98 * objective.target * D]), tensor([[1.0]]))
    state = state_of(objective, log_lambda=1.0, moving=-0.02 * objective.target)
    _, after = objective.step(given, state, hyper(objective, progress=progress))
    assert after["log_lambda"].item() == pytest.approx(1 - 0.04 * gain * 0.02)


@pytest.mark.parametrize(("total_steps", "rate"), [(100, 0.05), (1000, 0.04), (100_000, 0.01)])
def test_the_rate_follows_the_budget_within_bounds(total_steps, rate):
    assert geco(total_steps=total_steps).constants()["rate"] == rate


@pytest.mark.parametrize(
    ("met", "progress", "sse", "moves"),
    [
        (0.0, 0.0, 1.0, False),  # held while the decoder learns
        (0.0, 0.099, 1.0, False),
        (0.0, 0.1, 1.0, True),  # until a tenth of the budget has passed
        (1.0, 0.0, 1.0, True),  # or the constraint was met
        (0.0, 0.0, 0.0, True),  # or is met now
    ],
)
def test_lambda_is_held_until_the_constraint_is_met_or_a_tenth_of_the_budget_has_passed(met, progress, sse, moves):
    objective = geco()
    given = cost(tensor([0.0]), tensor([sse]), tensor([[1.0]]))
    state = state_of(objective, met=met)
    _, after = objective.step(given, state, hyper(objective, progress=progress))
    assert (after["log_lambda"] != state["log_lambda"]).item() == moves


def test_lambda_starts_where_half_a_nat_a_latent_balances_the_accepted_error():
    assert geco(0.1).initial_lambda == pytest.approx(M / (2 * D * 0.01))
    assert geco(0.1, "nll").initial_lambda == 1


@pytest.mark.parametrize(
    ("n_elements", "latent_dim", "start"), [(784, 16, 16 / 1568), (4, 64, 0.5), (12_288, 8, 0.00125)]
)
@pytest.mark.parametrize("kappa", [1e-4, 0.16, 40.0])
def test_lambda_starts_within_bounds_that_have_no_unit(kappa, n_elements, latent_dim, start):
    objective = GecoObjective(kappa, "re", n_elements, latent_dim, T, settling_steps=1, bounded=False)
    assert objective.initial_lambda * kappa**2 == pytest.approx(start)


@pytest.mark.parametrize("unit", [0.05, 255.0])
def test_data_in_another_unit_are_trained_by_the_same_loss_with_lambda_in_theirs(unit):
    """λ multiplies squares of the data: what is scaled by c has λ/c² at every step, and the loss it had."""
    plain, scaled = geco(), geco(0.1 * unit)
    states = [state_of(plain), state_of(scaled)]
    for step in range(200):
        given = terms(seed=step)
        losses = []
        for i, (objective, c) in enumerate(((plain, 1.0), (scaled, unit))):
            of = cost(given.recon_nll, given.sse * c**2 / 100, given.kl)
            loss, states[i] = objective.step(of, states[i], hyper(objective, progress=step / 200))
            losses.append(loss.item())
        assert losses[1] == pytest.approx(losses[0], rel=1e-9)
        assert (states[0]["log_lambda"] - states[1]["log_lambda"]).item() == pytest.approx(2 * math.log(unit), rel=1e-9)
    assert states[0]["log_lambda"].item() != math.log(plain.initial_lambda)


@pytest.mark.parametrize(("sse", "bound"), [(1e6, 100.0), (0.0, 1e-3)])
def test_lambda_stays_within_its_bounds(sse, bound):
    objective = geco()
    given = cost(tensor([0.0]), tensor([sse]), tensor([[1.0]]))
    state = state_of(objective)
    for _ in range(500):
        _, state = objective.step(given, state, hyper(objective))
    assert state["log_lambda"].exp().item() == pytest.approx(bound * objective.initial_lambda)
    assert (state["ceiling_steps"] > 0).item() == (bound > 1)


def test_a_bounded_loss_is_divided_by_1_plus_lambda():
    given, plain, bounded = terms(), geco(), geco(bounded=True)
    state = state_of(plain, log_lambda=math.log(3))
    torch.testing.assert_close(
        bounded.step(given, state, hyper(bounded))[0], plain.step(given, state, hyper(plain))[0] / 4
    )


def late(mean, sd=0.0, count=50):
    """The sums of this many late steps whose relative violations have this mean and standard deviation."""
    squares = count * mean**2 + (count - 1) * sd**2
    return {"late_sum": count * mean, "late_squares": squares, "late_count": float(count)}


def examples(mean, stderr):
    """Errors of 8 examples whose relative violations have this mean, and a mean of this standard error."""
    wave = tensor([1.0, -1.0] * 4) * stderr * math.sqrt(7)
    return D * 0.01 * (1 + mean + wave)


CEILING, FLOOR = math.log(100), -math.log(1e3)


@pytest.mark.parametrize(
    ("state", "own", "expected"),
    [
        ({"met": 1.0, **late(0.0)}, (0.0, 0.0), "ok"),
        ({"met": 1.0, **late(0.019)}, (0.019, 0.0), "ok"),
        ({"met": 1.0, **late(0.021)}, (0.021, 0.0), "unsettled"),
        ({"met": 1.0, **late(-0.021)}, (-0.021, 0.0), "unsettled"),
        ({"met": 1.0, **late(0.0, sd=0.07)}, (-0.059, 0.014), "ok"),  # of these examples a third counts
        ({"met": 1.0, **late(0.0, sd=0.07)}, (-0.061, 0.014), "unsettled"),
        ({"met": 1.0, **late(0.0, sd=0.14)}, (-0.041, 0.042), "ok"),  # within two standard errors of what counts
        ({"met": 1.0, **late(0.078, sd=0.04 * math.sqrt(50))}, (0.0, 0.0), "ok"),
        ({"met": 1.0, **late(0.082, sd=0.04 * math.sqrt(50))}, (0.0, 0.0), "unsettled"),
        ({"met": 1.0, **late(0.0)}, (0.021, 0.0), "unsettled"),  # no iterate of a sequence without noise
        ({"met": 1.0, **late(0.0, sd=0.02)}, (0.1, 0.014), "unsettled"),  # nor one five standard deviations off
        ({"met": 1.0, **late(0.1, sd=0.02)}, (0.0, 0.014), "unsettled"),
        ({"met": 1.0, "moving": 0.005, **late(0.0)}, (0.0, 0.0), "ok"),  # whatever the last few batches were
        ({"met": 1.0, **late(9.0, count=9)}, (0.0, 0.0), "ok"),  # too few steps say nothing
        ({"met": 1.0}, (0.0, 0.0), "ok"),  # nor does a checkpoint from before there were sums
        ({"met": 1.0}, (0.1, 0.01), "unsettled"),
        ({"met": 0.0, **late(0.5)}, (0.5, 0.0), "unmet"),
        ({"met": 0.0, **late(0.01)}, (0.01, 0.0), "ok"),
        ({"met": 1.0, **late(-0.5), "shift": FLOOR}, (-0.5, 0.0), "slack"),
        ({"met": 1.0, **late(0.01), "shift": CEILING, "ceiling_steps": 50.0}, (0.01, 0.0), "ok"),
        ({"met": 1.0, **late(-0.1), "shift": CEILING, "ceiling_steps": 50.0}, (-0.1, 0.0), "unsettled"),
        ({"met": 0.0, **late(0.5), "shift": CEILING, "ceiling_steps": 50.0}, (0.5, 0.0), "infeasible"),
        ({"met": 0.0, **late(0.5), "shift": CEILING, "ceiling_steps": 49.0}, (0.5, 0.0), "unmet"),
    ],
    ids=str,
)
def test_the_outcome_says_how_the_constraint_stood(state, own, expected):
    objective = geco(total_steps=1000)
    log_lambda = math.log(objective.initial_lambda) + state.get("shift", 0.0)
    ended = objective.init() | state | {"log_lambda": log_lambda}
    violation = Violation.at_end(examples(*own), objective, ended)
    assert objective.outcome(ended, violation) == expected


@pytest.mark.parametrize(
    ("state", "own", "expected"),
    [
        ({"met": 1.0}, 0.019, "ok"),
        ({"met": 1.0}, 0.1, "unmet"),
        ({"met": 1.0}, -0.1, "unmet"),
        ({"met": 0.0}, 0.1, "unmet"),
        ({"met": 1.0, "shift": FLOOR}, -0.5, "slack"),
        ({"met": 0.0, "shift": CEILING, "ceiling_steps": 50.0}, 0.5, "unmet"),
    ],
    ids=str,
)
def test_below_the_budget_that_lambda_takes_a_constraint_off_its_target_is_unmet(state, own, expected):
    """Whether λ would have settled, or its ceiling held it, is not known then."""
    objective = geco(total_steps=999)
    log_lambda = math.log(objective.initial_lambda) + state.get("shift", 0.0)
    ended = objective.init() | state | {"log_lambda": log_lambda}
    assert objective.outcome(ended, Violation(own, 0.0)) == expected


@pytest.mark.parametrize(("total_steps", "n_late"), [(1, 1), (19, 1), (180, 9), (181, 10), (1000, 50), (1480, 74)])
def test_the_violation_is_summed_over_the_last_5_percent_of_the_steps(total_steps, n_late):
    objective = geco(total_steps=total_steps)
    errors = torch.rand(total_steps, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = state_of(objective)
    for step, error in enumerate(errors):
        given = cost(tensor([0.0]), error[None], tensor([[1.0]]))
        _, state = objective.step(given, state, hyper(objective, progress=step / total_steps))
    relative = errors[-n_late:] / (D * objective.target) - 1
    found = Violation.of_late_steps({name: value.item() for name, value in state.items()})
    assert state["late_count"] == n_late
    if n_late < 10:
        assert found.stderr == math.inf
    else:
        assert found.mean == pytest.approx(relative.mean().item())
        assert found.stderr == pytest.approx((relative.std() / math.sqrt(n_late)).item())


def test_noise_alone_is_called_unsettled_once_in_twenty_times():
    """Batches of 4 whose error scatters by 20 %: the mean of the last steps is judged by its own standard error."""
    draw = torch.Generator().manual_seed(0)
    objective = geco(total_steps=1000)
    noise = 0.2 * torch.randn(400, 50, generator=draw, dtype=torch.float64)
    settled = 0
    for row in noise:
        sums = {"late_sum": row.sum().item(), "late_squares": row.square().sum().item(), "late_count": 50.0}
        settled += Violation.of_late_steps(objective.init() | sums).settled
    assert 0.91 < settled / 400 < 0.98


@pytest.mark.parametrize(
    ("batch", "steps", "scatter"), [(32, 74, 0.02), (128, 156, 0.014), (32, 74, 0.0)], ids=("digits", "mnist", "still")
)
def test_a_noisy_last_update_is_no_violation_and_a_real_one_is_found(batch, steps, scatter):
    """Iterates scatter about a violation, examples by .45 about each; the last iterate is seen on 1,000 of them.

    False alarms at a violation of 0 are 5 % at most, and one of 5 % is missed as seldom.
    """
    draw, trials, spread = torch.Generator().manual_seed(0), 500, 0.45
    objective = geco(total_steps=20 * steps)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    iterates = scatter * normal(trials, steps + 1)
    batches = iterates[:, :-1] + spread / math.sqrt(batch) * normal(trials, steps)
    own = iterates[:, -1] + spread / math.sqrt(1000) * normal(trials)
    for violation, least, most in ((0.0, 0.95, 1.0), (0.05, 0.0, 0.05), (-0.05, 0.0, 0.05)):
        settled = 0
        for row, error in zip(violation + batches, violation + own, strict=True):
            sums = {"late_sum": row.sum(), "late_squares": row.square().sum(), "late_count": float(steps)}
            state = {name: float(value) for name, value in sums.items()}
            settled += Violation.at_end(examples(float(error), spread / math.sqrt(1000)), objective, state).settled
        assert least <= settled / trials <= most


def test_the_training_sets_own_violation_has_the_standard_error_of_its_examples():
    objective = geco(0.1)
    sse = tensor([0.1, 0.2, 0.3, 0.4])
    found = Violation.of_examples(sse, objective)
    assert found.mean == pytest.approx(0.25 / (D * 0.01) - 1)
    assert found.stderr == pytest.approx((sse / (D * 0.01)).std().item() / 2)
    one = Violation.of_examples(sse[:1], objective)
    assert one == (pytest.approx(0.1 / (D * 0.01) - 1), 0.0), "one example is all there is to know"


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.1}, {"clip_value": 0.1}], ids=str)
@pytest.mark.parametrize("kind", variants("optimizer"))
def test_geco_bounds_its_loss_where_a_larger_loss_would_make_a_larger_step(kind, clip):
    """Twenty equal gradients, and a hundredfold: what divides by their size moves the parameters alike, from the first
    step on.
    """
    config = parse_config({"objective": {"kind": "geco", "kappa": 0.1}, "optimizer": {"kind": kind, **clip}})
    optimizer, moves = build_optimizer(config), []
    for size in (1.0, 100.0):
        moved = []
        params, layout = torch.zeros(1, 3, dtype=torch.float64), Layout(("decoder.bias",), ((3,),))
        gradients = torch.empty_like(params)
        step = optimizer.stepper(params, gradients, optimizer.init(params), layout)
        for _ in range(20):
            before = params.clone()
            gradients[0] = size * tensor([0.01, 0.02, -0.5])
            step(tensor([1e-3]))
            moved.append(params - before)
        moves.append(torch.stack(moved))
    blind = torch.allclose(*moves, rtol=1e-4) and not clip
    assert build_objective(config, D, T).bounded == (not blind)
