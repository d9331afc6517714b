"""What a comparison trains: its stages as pure functions of what the stages before have found.

pilot    GECO at each level κ, each learning rate, two seeds     → λ̂ of the level, GECO's learning rate, feasibility
rivals   each rival ending at λ̂, each learning rate, two seeds   → the rival's learning rate
path     all of them at their learning rates, S fresh seeds      → Q1
pool     N random trials of each method over its own space       → Q2
target   GECO at κ*, random learning rates and seeds             → Q3, with the pools
plain    the ELBO itself, each learning rate, two seeds          → a point beside the others, no test
transfer the best of another data set's pools, unchanged, and of its own, S fresh seeds; transfer-back the other way
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import optuna

from search_spaces.catalogue import parse_space
from search_spaces.compile import suggest_trial
from search_spaces.geco import HARDLY_ANY_ROOM, LEAST_ROOM, constrained, in_numbers
from trainables.config.paths import parse_config, unflatten
from trainables.grouping import grouped
from trainables.objectives import MET_FROM, Violation
from tuner.comparison.methods import LR, PATH_RIVALS, Scale, ending_at, pool_space
from tuner.comparison.statistics import Cell, best_rate, selection_sds

N_LEVELS = 5
HIGHEST_LEVEL = 0.8
# Where κ_min is not known, as in comparisons that were begun before it was measured.
LEVELS = (0.45, 0.53, 0.61, 0.7, 0.8)
LEVELS_OF_BITS = (0.58, 0.63, 0.68, 0.74, 0.8)  # whose nats have a floor, most of κ_max
RATE_FACTORS = (0.5, 1.0, 2.0)
PILOT_SEEDS = 2
PLAIN = "elbo"
NEAR = ("ok", "unsettled", "unmet")  # whose violation says how far they are; else λ stands at a bound


@dataclass(frozen=True)
class Run:
    """One training: what it is for, and what it sets beyond the fixed part. kappa: the level, None in a pool."""

    stage: str
    method: str
    kappa: float | None
    rate: float
    seed: int
    assignment: Mapping[str, Any]

    @property
    def full(self) -> dict[str, Any]:
        """All that it sets, by configuration path."""
        return {**self.assignment, LR: self.rate, "seed": self.seed}


@dataclass(frozen=True)
class Trained:
    """What came of a run. val: its last epoch's metrics. weight: GECO's λ̂, the median of its last 10 % of steps.

    test: what the test set says, empty for a run that is only selected by. history: every epoch's metrics. folder:
    where its checkpoint is.
    """

    run: Run
    stop_reason: str
    outcome: str | None
    val: Mapping[str, float]
    weight: float | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = field(default=(), repr=False)
    folder: Path | None = None

    @property
    def completed(self) -> bool:
        """Whether it trained to its end with finite numbers."""
        return self.stop_reason == "completed"

    @property
    def violation(self) -> Violation | None:
        """By how much GECO's constraint is violated at the end; None where an older record does not have it."""
        mean, stderr = (self.val.get(name) for name in ("geco/violation", "geco/violation_se"))
        return None if mean is None or stderr is None else Violation(mean, stderr)


@dataclass(frozen=True)
class Level:
    """A κ and what the pilot says of it. weight: λ̂. rate: GECO's learning rate. outcome: `ok`, or why it is dropped."""

    kappa: float
    weight: float | None
    rate: float | None
    outcome: str

    @property
    def kept(self) -> bool:
        return self.outcome == "ok"


@dataclass(frozen=True)
class Design:
    """What is held fixed for all methods, and how much is trained.

    base: by configuration path; all else is at its default. rates: the small grid of learning rates.
    """

    base: Mapping[str, Any]
    methods: tuple[str, ...]
    scale: Scale
    rates: tuple[float, ...]
    seeds: int = 10
    pool: int = 64
    seed: int = 0

    @property
    def rates_in_use(self) -> str:
        """The grid of learning rates in words, and what its rates are multiplied by: "0.003, 0.006 × 2 (…)"."""
        config = parse_config(unflatten(self.base))
        return ", ".join(f"{rate:.3g}" for rate in self.rates) + config.lr.scaled_by(config.batch_size)

    @property
    def rivals(self) -> tuple[str, ...]:
        """The methods that can be made to end at GECO's λ."""
        return tuple(method for method in self.methods if method in PATH_RIVALS)

    @property
    def target(self) -> float:
        """κ*: the middle level."""
        return self.kappas[len(self.kappas) // 2]

    @property
    def kappas(self) -> list[float]:
        """The levels: from the least that the model can keep to, at equal ratios, to .8 of κ_max; from .75 to .95 where
        that leaves no room."""
        scale = self.scale
        if scale.kappa_min is None:
            return [share * scale.kappa_max for share in (LEVELS_OF_BITS if scale.sigma is None else LEVELS)]
        low, high = MET_FROM * scale.kappa_min / scale.kappa_max, HIGHEST_LEVEL
        if low >= LEAST_ROOM:
            low, high = HARDLY_ANY_ROOM.low, HARDLY_ANY_ROOM.high
        return [float(share) * scale.kappa_max for share in np.geomspace(low, high, N_LEVELS)]

    def reaching(self, kappa_min: Mapping[str, float]) -> Design:
        """The same design where it is known what the model reaches.

        Parameters
        ----------
        kappa_min
            By constraint; empty where it could not be measured.

        Returns
        -------
        Design
            With its levels from there on.
        """
        return replace(self, scale=replace(self.scale, kappa_min=kappa_min.get(self.scale.constraint)))

    # --- stages -------------------------------------------------------------------------------------------------------

    def pilot(self) -> list[Run]:
        """GECO at every level."""
        return [
            self._geco("pilot", kappa, rate, seed)
            for kappa in self.kappas
            for rate in self.rates
            for seed in self._pilots
        ]

    def rival_pilots(self, levels: Sequence[Level]) -> list[Run]:
        """Every rival at the λ̂ of each level that is kept.

        Parameters
        ----------
        levels
            All of them.

        Returns
        -------
        list of Run
            At each learning rate, on the pilots' seeds.
        """
        return [
            self._rival("rivals", method, level, rate, seed)
            for level in _kept(levels)
            for method in self.rivals
            for rate in self.rates
            for seed in self._pilots
        ]

    def path(self, levels: Sequence[Level], rates: Mapping[tuple[str, float], float]) -> list[Run]:
        """GECO and all rivals on seeds that no pilot has seen.

        Parameters
        ----------
        levels
            All of them.
        rates
            Of each rival, by rival and κ.

        Returns
        -------
        list of Run
            At the levels that are kept.
        """
        found = []
        for level in _kept(levels):
            assert level.rate is not None
            for seed in self.fresh:
                found.append(self._geco("path", level.kappa, level.rate, seed))
                found += [
                    self._rival("path", method, level, rates[method, level.kappa], seed) for method in self.rivals
                ]
        return found

    def pools(self) -> list[Run]:
        """Random, unpruned trials of each method."""
        return [run for method in self.methods for run in self._pool(method)]

    def targets(self) -> list[Run]:
        """GECO at κ* with a learning rate as its pool draws it."""
        return [
            self._geco("target", self.target, self.rates[k % len(self.rates)], self.seed + k) for k in range(self.pool)
        ]

    def plain(self) -> list[Run]:
        """The ELBO, which nobody has weighed: β = 1 and all else as by default."""
        assignment = {"objective.kind": "elbo", "beta.kind": "constant", "beta.end": 1.0}
        return [Run("plain", PLAIN, None, rate, seed, assignment) for rate in self.rates for seed in self._pilots]

    # --- runs ---------------------------------------------------------------------------------------------------------

    @property
    def fresh(self) -> range:
        """The S seeds by which nothing was chosen."""
        return range(self.seed + PILOT_SEEDS, self.seed + PILOT_SEEDS + self.seeds)

    @property
    def _pilots(self) -> range:
        return range(self.seed, self.seed + PILOT_SEEDS)

    def _geco(self, stage: str, kappa: float, rate: float, seed: int) -> Run:
        return Run(stage, "geco", kappa, rate, seed, {"objective.kind": "geco", "objective.kappa": kappa})

    def _rival(self, stage: str, method: str, level: Level, rate: float, seed: int) -> Run:
        assert level.weight is not None
        return Run(stage, method, level.kappa, rate, seed, ending_at(method, level.weight, self.scale))

    def _pool(self, method: str) -> list[Run]:
        space = parse_space(pool_space(method, self.scale, self.rates))
        scale = self.scale
        space = in_numbers(constrained(space, scale.constraint), scale.constraint, scale.kappa_max, scale.kappa_min)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self.seed))
        found = []
        for _ in range(self.pool):
            drawn = suggest_trial(study.ask(), space)
            assignment = {**space.fixed, **{path: value for path, value in drawn.items() if path != LR}}
            found.append(Run("pool", method, None, float(drawn[LR]), self.seed, assignment))
        return found

    # --- what the pilots say ------------------------------------------------------------------------------------------

    def levels(self, pilot: Iterable[Trained]) -> list[Level]:
        """What became of each κ.

        A level is kept where GECO settles on it at a learning rate, by all pilot seeds together; of several such rates
        it takes that of the lowest J by the λ of their runs, and λ̂ is of its runs.

        Parameters
        ----------
        pilot
            Ends of GECO's pilots.

        Returns
        -------
        list of Level
            In the order of the pilots.
        """
        by_kappa = grouped((trained.run.kappa, trained) for trained in pilot)
        return [self._level(kappa, found) for kappa, found in by_kappa.items() if kappa is not None]

    def _level(self, kappa: float, found: Sequence[Trained]) -> Level:
        candidates = _at_settled_rates(found) or found
        weights = [trained.weight for trained in candidates if trained.completed and trained.weight]
        if not weights:
            return Level(kappa, None, None, "diverged")
        rate = best_rate(self._cell(candidates, geometric_mean(weights)))
        at_rate = [trained for trained in found if trained.run.rate == rate]
        known = [trained.weight for trained in at_rate if trained.weight]
        weight = geometric_mean(known) if known else None
        failed = [trained.outcome or trained.stop_reason for trained in at_rate if trained.outcome != "ok"]
        return Level(kappa, weight, rate, "ok" if _settle(at_rate) else failed[0])

    def rival_rates(self, levels: Sequence[Level], pilots: Sequence[Trained]) -> dict[tuple[str, float], float]:
        """The learning rate of each rival at each level that is kept.

        Parameters
        ----------
        levels
            All of them.
        pilots
            Ends of the rivals' pilots.

        Returns
        -------
        dict of tuple to float
            By rival and κ.
        """
        return {
            (method, level.kappa): best_rate(self._cell_of(method, level, pilots))
            for level in _kept(levels)
            for method in self.rivals
        }

    def selection_sds(self, levels: Sequence[Level], pilots: Sequence[Trained]) -> dict[str, dict[float, float]]:
        """The standard deviation that the choice of both learning rates adds to a difference.

        Parameters
        ----------
        levels
            All of them.
        pilots
            Ends of all pilots.

        Returns
        -------
        dict of str to dict
            By rival and κ.
        """
        kept = _kept(levels)
        own = {
            method: selection_sds([self._cell_of(method, level, pilots) for level in kept])
            for method in ("geco", *self.rivals)
        }
        return {
            rival: {level.kappa: math.hypot(*both) for level, *both in zip(kept, own["geco"], own[rival], strict=True)}
            for rival in self.rivals
        }

    def _cell_of(self, method: str, level: Level, pilots: Sequence[Trained]) -> Cell:
        assert level.weight is not None
        own = [each for each in pilots if (each.run.method, each.run.kappa) == (method, level.kappa)]
        return self._cell(_at_settled_rates(own) if method == "geco" else own, level.weight)

    def _cell(self, found: Sequence[Trained], weight: float) -> Cell:
        return grouped(
            (each.run.rate, self.lagrangian(each.val, weight) if each.completed else math.inf) for each in found
        )

    def best_plain(self, plain: Sequence[Trained]) -> list[Trained]:
        """The ELBO's runs at the learning rate that suits it.

        Parameters
        ----------
        plain
            Ends of its runs.

        Returns
        -------
        list of Trained
            Those that trained to their end.
        """
        cell = self._cell(plain, self.scale.weight_of_one)
        return [each for each in plain if each.completed and each.run.rate == best_rate(cell)]

    def lagrangian(self, metrics: Mapping[str, float], weight: float, part: str = "val") -> float:
        """J = KL + λ·distortion, in nats per example.

        Parameters
        ----------
        metrics
            Of a run.
        weight
            λ.
        part
            `val` or `test`.

        Returns
        -------
        float
            J.
        """
        return metrics[f"{part}/kl"] + weight * self.distortion(metrics, part)

    def distortion(self, metrics: Mapping[str, float], part: str = "test") -> float:
        """The SSE of an example, or under bits its nats.

        Parameters
        ----------
        metrics
            Of a run.
        part
            `val` or `test`.

        Returns
        -------
        float
            The mean over examples.
        """
        if self.scale.sigma is None:
            return metrics[f"{part}/recon_nll"]
        return self.scale.n_elements * metrics[f"{part}/mse"]


def _at_settled_rates(found: Sequence[Trained]) -> list[Trained]:
    """The runs at the learning rates at which the seeds settle."""
    by_rate = grouped((each.run.rate, each) for each in found)
    return [each for each in found if _settle(by_rate[each.run.rate])]


def _settle(found: Sequence[Trained]) -> bool:
    """Whether runs that differ by their seeds alone settle: all do, or the mean of their violations is within bounds.

    An outcome is right 19 times in 20; of two seeds one is called unsettled by chance at every tenth rate.
    """
    if all(each.completed and each.outcome == "ok" for each in found):
        return True
    violations = [each.violation for each in found if each.completed and each.outcome in NEAR]
    known = [each for each in violations if each is not None]
    return len(known) == len(found) and Violation.mean_of(known).settled


def _kept(levels: Sequence[Level]) -> list[Level]:
    return [level for level in levels if level.kept]
