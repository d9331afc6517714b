"""A comparison run stage by stage: each stage is a sweep, so that nothing of it is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from trainables.paths import unflatten
from tuner.comparison.answer import Comparison, concluded
from tuner.comparison.design import Design, Run, Trained
from tuner.comparison.measuring import measured
from tuner.comparison.request import Request, design_of, remembered
from tuner.planning.plans import Plan, make_plan
from tuner.running.driver import ProgressFactory, resume_sweep, run_sweep
from tuner.running.ray_session import quiet_ray, start_ray, stdout_on_stderr
from tuner.spec import parse_spec
from tuner.storage.journal import JOURNAL, read_journal
from tuner.storage.sweep_state import Trial, fold

__all__ = ["STAGES", "Place", "StoppedError", "Testing", "run_comparison"]

STAGES = ("pilot", "rivals", "path", "pool", "target", "plain")
PATH_DRAWS, POOL_DRAWS = 16, 1
SETTLED_PART = 0.1

Testing = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


class StoppedError(Exception):
    """A signal ended a stage; repeating the command goes on. exit_code: 130 or 143."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Place:
    """Where a comparison runs. options: of its sweeps, by the path in a spec."""

    storage: Path
    data_dir: Path
    options: dict[str, Any]
    progress: ProgressFactory
    testing: Testing


def run_comparison(request: Request, place: Place) -> Comparison:
    """Train all stages, or what is left of them, and answer the three questions."""
    design, config = design_of(request, place.data_dir)
    remembered(request, place.storage / request.name)
    stage = _Stages(request, design, place)
    with _one_ray(stage.plan("pilot", design.pilot())):
        pilot = stage.trained("pilot", design.pilot())
        levels = design.levels(pilot)
        rivals = stage.trained("rivals", design.rival_pilots(levels))
        path = stage.trained("path", design.path(levels, design.rival_rates(levels, rivals)), PATH_DRAWS)
        pool = stage.trained("pool", design.pools(), POOL_DRAWS)
        target = stage.trained("target", design.targets(), POOL_DRAWS)
        plain = stage.trained("plain", design.plain(), PATH_DRAWS)
    trained = {"pilot": pilot, "rivals": rivals, "path": path, "pool": pool, "target": target, "plain": plain}
    metric = "val/elbo" if config.data.likelihood == "bernoulli" else "val/elbo_cal"
    return concluded(request.name, request.dataset, request.model, metric, request.quick, design, levels, trained)


@contextmanager
def _one_ray(plan: Plan) -> Iterator[None]:
    """Ray, started once for all stages."""
    import ray

    quiet_ray()
    with stdout_on_stderr():
        started_here = not ray.is_initialized()
        if started_here:
            start_ray(plan)
        try:
            yield
        finally:
            if started_here:
                ray.shutdown()


@dataclass(frozen=True)
class _Stages:
    request: Request
    design: Design
    place: Place

    def trained(self, stage: str, runs: Sequence[Run], draws: int = 0) -> list[Trained]:
        """The ends of a stage's runs, in their order. draws: of z on the test set, none for a stage that selects."""
        if not runs:
            return []
        folder = self._swept(stage, runs)
        sweep = fold(read_journal(folder / JOURNAL))
        found = [
            _trained(run, trial, folder / "trials" / trial.id)
            for run, trial in zip(runs, sweep.trials.values(), strict=True)
        ]
        return self._with_tests(stage, found, draws) if draws else found

    def _swept(self, stage: str, runs: Sequence[Run]) -> Path:
        """The folder of the stage's sweep, run to its end."""
        name = f"{self.request.name}.{stage}"
        folder = (self.place.storage / name).absolute()
        known = folder / JOURNAL
        if known.exists() and not fold(read_journal(known)).resumable:
            return folder
        if known.exists() and read_journal(known):
            storage, data_dir = self.place.storage, self.place.data_dir
            result = resume_sweep(
                storage, name, model=self._user_model, data_dir=data_dir, progress=self.place.progress
            )
        else:
            result = run_sweep(self.plan(stage, runs), self.place.progress)
        if result.finished != "completed":
            raise StoppedError(result.exit_code)
        return folder

    @property
    def _user_model(self) -> str | None:
        return self.request.model if ":" in self.request.model else None

    def plan(self, stage: str, runs: Sequence[Run]) -> Plan:
        """Of the sweep that trains a stage."""
        return make_plan(parse_spec(self._spec(stage, runs)), self.place.data_dir)

    def _spec(self, stage: str, runs: Sequence[Run]) -> dict[str, Any]:
        own = {
            "name": f"{self.request.name}.{stage}",
            "search.points": [run.full for run in runs],
            "search.sampler": "random",
            "scheduler.kind": "none",
            "storage": str(self.place.storage),
            **self.place.options,
        }
        return {**unflatten(own), "config": unflatten(self.design.base)}

    def _with_tests(self, stage: str, found: list[Trained], draws: int) -> list[Trained]:
        whole = [each.folder for each in found if each.whole and each.folder]
        with self.place.testing(stage, len(whole)) as on_done:
            cpus = float(self.place.options.get("resources.cpus_per_trial") or 1)
            values = measured(whole, self.place.data_dir, draws, cpus, on_done)
        return [replace(each, test=values[each.folder]) if each.folder in values else each for each in found]


def _trained(run: Run, trial: Trial, folder: Path) -> Trained:
    history = [report.metrics for report in trial.reports]
    return Trained(
        run,
        trial.stop_reason or "interrupted",
        trial.outcome,
        trial.last,
        _settled_weight(history),
        history=history,
        folder=folder,
    )


def _settled_weight(history: Sequence[Any]) -> float | None:
    """λ̂: the median λ of the last 10 % of steps, of several epochs their geometric mean."""
    last = history[-max(1, round(SETTLED_PART * len(history))) :]
    medians = [metrics["geco/lambda_median"] for metrics in last if "geco/lambda_median" in metrics]
    return geometric_mean(medians) if medians else None
