"""Comparisons without training: what a run would end with is drawn."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from tuner.comparison.answer import concluded
from tuner.comparison.design import LEVELS, Design, Trained
from tuner.comparison.likelihood import measured_level
from tuner.comparison.methods import Scale

PRECISE = 0.1  # at which ten seeds tell at each level
SPREAD = 0.35  # of J over seeds, in nats: the standard error of three seeds is .2 to .5 in the reference runs
KAPPA_MAX, N_PIXELS, EPOCHS = 0.25, 784, 4
SECONDARY = tuple(f"test/{name}" for name in ("agg_kl_gauss", "agg_kl_dims", "agg_c2st", "active_units", "marginal_kl"))


@dataclass
class Drawn:
    """Ends of runs: J is the level's, plus what the learning rate costs, the method's effect and the run's noise.

    cost: nats for each doubling of the learning rate away from 1e-3.
    effects: by method, in nats; at some levels others, by level as a share of κ_max. outcomes: by level, ok elsewhere.
    spread: of the noise. epochs: of which a run tells.
    """

    draw: np.random.Generator
    cost: float = 1.0
    effects: dict[str, float | dict[float, float]] = field(default_factory=dict)
    outcomes: dict[float, str] = field(default_factory=dict)
    spread: float = SPREAD
    epochs: int = 0

    def train(self, runs):
        noises = self.draw.normal(0, self.spread, size=(len(runs), 2)).tolist()
        return [self._end(run, noise) for run, noise in zip(runs, noises, strict=True)]

    def _end(self, run, noise):
        cost = self.cost * abs(math.log2(run.rate / 1e-3))
        level = run.kappa or 0.15
        kl = 10 / level + cost + self._effect(run.method, level)
        geco = run.method == "geco"
        end = {"val/kl": kl + noise[0], "val/mse": level**2, "val/elbo_cal": -kl + noise[0]}
        end |= {"train_eval/mse": level**2, "train/recon_nll": N_PIXELS * level}
        test = {"test/kl": kl + noise[1], "test/mse": level**2, "test/elbo_cal": -kl + noise[1]}
        bits = {"test/recon_nll": N_PIXELS * level, "test/elbo": -kl + noise[1], "test/mi_saturated": 0.0}
        schedules = {"val/recon_nll": 1.0, "schedule/beta": 0.5, "schedule/lr": run.rate, "geco/constraint": 0.1}
        return Trained(
            run,
            "completed",
            self.outcomes.get(round(level / KAPPA_MAX, 2), "ok") if geco else "ok",
            {**end, "val/recon_nll": N_PIXELS * level, "val/elbo": end["val/elbo_cal"]},
            1 / (2 * level**2) if geco else None,
            {**dict.fromkeys(SECONDARY, 0.5), **bits, **test},
            [{**end, **schedules, "epoch": epoch} for epoch in range(1, self.epochs + 1)],
        )

    def _effect(self, method, level):
        effect = self.effects.get(method, 0.0)
        return effect.get(round(level / KAPPA_MAX, 2), 0.0) if isinstance(effect, dict) else effect


def design_of(*methods, sigma=0.15, base=None, **changes):
    """A Design on data of 784 pixels with κ_max = .25. sigma: None for bits."""
    scale = Scale(KAPPA_MAX, sigma, N_PIXELS)
    return Design(base or {}, methods, scale, rates=(5e-4, 1e-3, 2e-3), **changes)


def follow(design, ends):
    """Q1's stages one after the other: levels, the pilots' ends, and the path's."""
    pilots = ends.train(design.pilot())
    levels = design.levels(pilots)
    pilots += ends.train(design.rival_pilots(levels))
    return levels, pilots, ends.train(design.path(levels, design.rival_rates(levels, pilots)))


def compared(*methods, exploratory=False, seed=0, dataset="mnist", pool=24, sigma=0.15, base=None, **given):
    """A finished comparison of drawn runs. given: what Drawn takes."""
    of = design_of(*methods, pool=pool, sigma=sigma, base=base)
    ends = Drawn(np.random.default_rng(seed), **given, epochs=EPOCHS)
    levels, pilots, path = follow(of, ends)
    by_stage = {stage: [each for each in pilots if each.run.stage == stage] for stage in ("pilot", "rivals")}
    trained = {**by_stage, "path": _with_nll(levels, path), "pool": ends.train(of.pools())}
    trained |= {"target": ends.train(of.targets()), "plain": ends.train(of.plain())}
    metric = "val/elbo" if sigma is None else "val/elbo_cal"
    found = concluded("c", dataset, "mlp", metric, exploratory, of, levels, trained)
    return replace(found, **(_of_models(methods) if path else {}))


def without_levels(*methods, **given):
    """A comparison in which GECO settles on no level."""
    return compared(*methods, outcomes=dict.fromkeys(LEVELS, "infeasible"), **given)


def _with_nll(levels, path):
    """The path's runs, those of the level at which it is taken with an NLL that is their KL."""
    level = measured_level(levels)
    taken = {
        "test/nll_bias": 0.2,
        "test/nll_drop": 0.01,
        "test/nll_samples": 1000.0,
        "test/nll_examples": 900.0,
        "test/nll_sigma": 0.3,
    }
    return [
        replace(each, test={**each.test, **taken, "test/nll": each.test["test/kl"]})
        if level and each.run.kappa == level.kappa
        else each
        for each in path
    ]


def _of_models(methods):
    """What a comparison finds by looking at its models: a run over its steps, and the KL of each latent."""
    steps = np.arange(0.0, 200.0, 10)
    moved = {"recon_nll": 900 - steps, "kl": 1 + steps / 10, "lambda": 1 + steps, "moving": 0.2 - steps / 1_000}
    trajectory = {name: values.tolist() for name, values in {"step": steps, **moved}.items()}
    return {"trajectory": trajectory, "kl_by_latent": {method: [3.0, 1.5, 0.1] for method in methods}}
