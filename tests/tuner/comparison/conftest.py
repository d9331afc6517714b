"""Comparisons without training: what a run would end with is drawn."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from tuner.comparison.design import Design, Trained
from tuner.comparison.methods import Scale

SPREAD = 0.35  # of J over seeds, in nats: the standard error of three seeds is .2 to .5 in the reference runs


@dataclass
class Drawn:
    """Ends of runs: J is the level's, plus what the learning rate costs, the method's effect and the run's noise.

    cost: nats for each doubling of the learning rate away from 1e-3.
    effects: by method, in nats. outcomes: by level as a share of κ_max; ok elsewhere.
    """

    draw: np.random.Generator
    cost: float = 1.0
    effects: dict[str, float] = field(default_factory=dict)
    outcomes: dict[float, str] = field(default_factory=dict)

    def train(self, runs):
        return [self._end(run) for run in runs]

    def _end(self, run):
        cost = self.cost * abs(np.log2(run.rate / 1e-3))
        level = run.kappa or 0.15
        kl = 10 / level + cost + self.effects.get(run.method, 0.0)
        noise = self.draw.normal(0, SPREAD, size=2)
        geco = run.method == "geco"
        return Trained(
            run,
            "completed",
            self.outcomes.get(round(level / 0.25, 2), "ok") if geco else "ok",
            {"val/kl": kl + noise[0], "val/mse": level**2, "val/elbo_cal": -kl + noise[0]},
            1 / (2 * level**2) if geco else None,
            {"test/kl": kl + noise[1], "test/mse": level**2, "test/elbo_cal": -kl + noise[1]},
        )


@pytest.fixture
def design():
    """design(methods, …) → a Design on data of 784 pixels with κ_max = .25."""

    def make(*methods, **changes):
        return Design({}, methods, Scale(0.25, 0.15, 784), rates=(5e-4, 1e-3, 2e-3), **changes)

    return make


@pytest.fixture
def drawn():
    return lambda seed=0, **given: Drawn(np.random.default_rng(seed), **given)


@pytest.fixture
def follow():
    """Q1's stages one after the other: follow(design, ends) → levels, the pilots' ends, and the path's."""

    def run(design, ends):
        pilots = ends.train(design.pilot())
        levels = design.levels(pilots)
        pilots += ends.train(design.rival_pilots(levels))
        return levels, pilots, ends.train(design.path(levels, design.rival_rates(levels, pilots)))

    return run
