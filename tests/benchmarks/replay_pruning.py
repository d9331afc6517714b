"""Replay ASHA on recorded curves: what pruning loses, and what it costs, by the value that it compares.

    python tests/benchmarks/replay_pruning.py          prints the table of docs/pruning.md

before: the value of the rung's epoch, and a first rung where warm-ups have ended. after: the value of the last complete
cycle, where a trial without one passes, and a first rung where one-cycle rates have risen, too. random: as many trials,
in the same order, as these epochs pay for. Means over 1,000 orders of arrival, one trial at a time. regret: the best
final value of all trials minus the best that was trained to its end, in nats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from search_spaces.catalogue import parse_space
from search_spaces.reach import longest_warmup
from search_spaces.space import assemble
from trainables.config.paths import parse_config
from trainables.phases import Phases, phases_of
from trainables.values import steps_per_epoch
from tuner.search.asha import Asha, grace_for, rungs_for
from tuner.sweeps.state import Sweep

CURVES = Path(__file__).parent / "curves"
DATA = {"data": {"name": "digits"}}
ORDERS = 1_000

Compared = Callable[[Phases, int], int | None]
COMPARED: dict[str, Compared] = {
    "before": lambda phases, epoch: epoch,
    "after": lambda phases, epoch: phases.compared_epoch(epoch),
}


@dataclass(frozen=True)
class Recorded:
    """A trial that trained to its end. curve: the metric after each epoch, up to where it diverged."""

    assignment: dict[str, Any]
    phases: Phases
    curve: list[float]
    epochs: int

    @property
    def final(self) -> float:
        return self.curve[-1] if len(self.curve) == self.epochs else -math.inf


@dataclass(frozen=True)
class Pruned:
    """regret in nats; cost: the share of all epochs; lost: whether the best trial was stopped."""

    regret: float
    cost: float
    lost: bool


def recorded(name: str) -> tuple[list[Recorded], dict[str, Asha]]:
    """The trials of a space, and the rules that a sweep over it pruned them by before and after."""
    found = json.loads((CURVES / f"{name}.json").read_text(encoding="utf-8"))
    space, trials = parse_space(found["space"]), []
    for each in found["trials"]:
        config = parse_config(assemble(DATA, space, each["assignment"]))
        per_epoch = steps_per_epoch(found["n_train"], config.batch_size)
        curve = [value for value in each["curve"] if value is not None]
        trials.append(Recorded(each["assignment"], phases_of(config, per_epoch), curve, config.epochs))
    longest = longest_warmup(space, DATA, config.epochs * per_epoch) / per_epoch
    warmups = {"before": 0.0 if "lr.pct_start" in space.dimensions else longest, "after": longest}
    return trials, {how: _rule(config.epochs, math.ceil(warmup)) for how, warmup in warmups.items()}


def _rule(epochs: int, warmup_epochs: int) -> Asha:
    grace, _ = grace_for(epochs, warmup_epochs)
    return Asha(rungs_for(epochs, grace, 3), 3, "max")


def pruned(trials: Sequence[Recorded], rule: Asha, compared: Compared) -> Pruned:
    """One sweep, its trials arriving in this order."""
    sweep, ended, epochs = Sweep(), [], 0
    for number, trial in enumerate(trials):
        stopped = _stopped(sweep, str(number), trial, rule, compared)
        epochs += stopped or len(trial.curve)
        ended += [] if stopped else [trial.final]
    cost = epochs / sum(len(trial.curve) for trial in trials)
    return Pruned(_regret(trials, ended), cost, _best(trials) not in ended)


def _stopped(sweep: Sweep, name: str, trial: Recorded, rule: Asha, compared: Compared) -> int | None:
    """The epoch at which it is stopped, None where it is not; its values are filed."""
    for epoch in range(1, len(trial.curve)):
        at = compared(trial.phases, epoch)
        value = None if at is None else trial.curve[at - 1]
        verdict = rule.decide(sweep, name, epoch, value)
        if verdict.rung is not None:
            sweep.rungs.setdefault(verdict.rung, {})[name] = value
        if verdict.decision == "stop":
            return epoch
    return None


def _best(trials: Sequence[Recorded]) -> float:
    return max(trial.final for trial in trials)


def _regret(trials: Sequence[Recorded], ended: Sequence[float]) -> float:
    return _best(trials) - max(ended)


def orders(trials: Sequence[Recorded]) -> list[list[Recorded]]:
    draw = np.random.default_rng(0)
    return [[trials[i] for i in draw.permutation(len(trials))] for _ in range(ORDERS)]


def replayed(trials: Sequence[Recorded], rule: Asha, how: str) -> Pruned:
    """The mean over orders of arrival; `lost` is a share."""
    found = [pruned(order, rule, COMPARED[how]) for order in orders(trials)]
    return Pruned(*(float(np.mean([getattr(each, name) for each in found])) for name in ("regret", "cost", "lost")))


def random_search(trials: Sequence[Recorded], cost: float) -> float:
    """The mean regret of a random search that trains this share of the trials to their ends."""
    n, part = divmod(cost * len(trials), 1)
    regrets = [
        (1 - part) * _regret(order, [each.final for each in order[: max(1, int(n))]])
        + part * _regret(order, [each.final for each in order[: int(n) + 1]])
        for order in orders(trials)
    ]
    return float(np.mean(regrets))


def correlation(
    trials: Sequence[Recorded], epoch: int, how: str, against: Callable[[Recorded], float]
) -> tuple[float, int]:
    """Spearman's ρ between what is compared at an epoch and something else, over the trials that have a value there."""
    having = [
        (trial.curve[at - 1], against(trial))
        for trial in trials
        if len(trial.curve) == trial.epochs and (at := COMPARED[how](trial.phases, epoch)) is not None
    ]
    return (float(spearmanr(*zip(*having, strict=True)).statistic), len(having)) if len(having) > 2 else (math.nan, 0)


def main() -> None:
    print("| space | rungs | value | regret | random | epochs | best lost | ρ with the end at each rung (trials) |")
    print("|---|---|---|---|---|---|---|---|")
    for file in sorted(CURVES.glob("*.json")):
        trials, rules = recorded(file.stem)
        for how, rule in rules.items():
            found = replayed(trials, rule, how)
            ranks = [correlation(trials, rung, how, lambda trial: trial.final) for rung in rule.rungs]
            shown = " · ".join(f"{rho:.2f} ({n})" for rho, n in ranks)
            rungs = "/".join(map(str, rule.rungs))
            print(
                f"| `{file.stem}` ({len(trials)}) | {rungs} | {how} | {found.regret:.2f} "
                f"| {random_search(trials, found.cost):.2f} | {found.cost:.0%} | {found.lost:.0%} | {shown} |"
            )


if __name__ == "__main__":
    main()
