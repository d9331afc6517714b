"""Tune's loop without Ray."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

from events import new_event

from search_spaces.catalogue import parse_space
from search_spaces.space import assemble
from trainables.config import method_of
from trainables.config.paths import parse_config, plain
from tuner.running.decisions import Decisions
from tuner.running.handing_out import HandingOut
from tuner.sweeps.events import line_of
from tuner.sweeps.journal import Journal
from tuner.sweeps.spec import Budget
from tuner.sweeps.state import Trial
from tuner.sweeps.status import is_spent

SPACE = parse_space("lr")


def _resolved(assignment: dict[str, Any]) -> tuple[dict[str, Any], str]:
    config = parse_config(assemble({"data": {"n_train": 1000}}, SPACE, assignment))
    return plain(config), method_of(config)


class TuneLoop:
    """Tune's loop without Ray: searcher, scheduler and journal; a trial's value is curve(number, epoch).

    Opens the journal where there is one, as a driver does after a death. peak: the most trials that ran at once.
    n_told: the epochs trained.
    """

    metric = "val/elbo"

    def __init__(
        self,
        path: Path,
        rule: Any,
        curve: Callable[[int, int], float],
        *,
        n_trials: int,
        epochs: int,
        concurrency: int | Callable[[], int] = 1,
        budget: Budget | None = None,
        retries: int = 0,
    ) -> None:
        self.curve, self.peak, self.n_told = curve, 0, 0
        self.running: list[tuple[str, int]] = []
        if path.exists():
            self.journal = Journal.open(path)
        else:
            self.journal = Journal.create(path)
            self.journal.append(
                new_event("header", format=1, metric="val/elbo", direction="max", epochs=epochs, rungs=[])
            )
        self.heard: list[Any] = []
        self.journal.listeners.append(self.heard.append)
        spent = partial(is_spent, budget or Budget(), self.journal)
        self.decisions = Decisions(self.journal, "val/elbo", epochs, rule, spent, retries)
        self.handing_out = HandingOut(
            self.journal,
            SPACE,
            {},
            _resolved,
            sampler="random",
            seed=0,
            n_trials=n_trials,
            concurrency=concurrency,
            settle=self.decisions.settle,
            is_spent=spent,
        )

    def fill(self) -> Any:
        """Start all that the searcher hands out; returns what it says then."""
        while isinstance(given := self.handing_out.next_trial(), dict):
            self.running.append((given["trial"], given["epochs_done"] + 1))
            self.peak = max(self.peak, len(self.running))
        return given

    def tell(self, trial: str, epoch: int) -> bool:
        """One epoch; the trainable leaves out what is not finite."""
        self.n_told += 1
        value = self.value(self.journal.sweep.trials[trial], epoch)
        return self.hear(trial, epoch=epoch, metrics={self.metric: value} if math.isfinite(value) else {})

    def value(self, trial: Trial, epoch: int) -> float:
        """What a trial reports after an epoch."""
        return self.curve(trial.number, epoch)

    def hear(self, trial: str, **report: Any) -> bool:
        """What the worker of a trial says; whether it goes on."""
        told = {"trial": trial, "metrics": {}, "diverged": False, "outcome": None, "checkpoint": None, **report}
        return self.decisions.hear(told)

    def run(self, next_one: Callable[[int], int] = lambda n: 0, n_results: float = math.inf) -> Self:
        """To the end, or to the death of the driver after n_results. next_one: which of n running trials reports."""
        while n_results > 0:
            said = self.fill()
            if not self.running:
                assert said == "FINISHED", "nothing runs, and nothing is to come"
                break
            trial, epoch = self.running.pop(next_one(len(self.running)))
            if self.tell(trial, epoch):
                self.running.append((trial, epoch + 1))
            n_results -= 1
        return self

    def ends(self) -> dict[int, tuple[str | None, int]]:
        """Number → stop reason and last epoch."""
        return {trial.number: (trial.stop_reason, trial.epochs) for trial in self.journal.sweep.trials.values()}

    def told(self) -> list[dict[str, Any]]:
        """What happened, in order, but for who wrote it and when."""
        kept = [line_of(event) for event in self.journal.events]
        return [{key: line[key] for key in line if key not in ("seq", "session", "t")} for line in kept]
