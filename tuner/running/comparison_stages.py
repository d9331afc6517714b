"""A comparison run stage by stage: each stage is a sweep, so that nothing of it is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch

from trainables.config import DataConfig
from trainables.config.models import is_user_kind
from trainables.config.paths import flatten, parse_config, unflatten
from trainables.data import readers
from trainables.data.dataset import Dataset, load
from trainables.errors import StorageError, UserError
from trainables.files.checkpoint import read
from trainables.files.trial_files import FILE_NAME
from trainables.global_settings import fresh
from trainables.identity import Identity, differences
from trainables.training.test_metrics import held_out_metrics, held_out_nll
from trainables.training.trainer import Trainer
from tuner.cluster.ray_session import quiet_ray, stdout_on_stderr
from tuner.cluster.shared_ray import shared_ray
from tuner.cluster.signals import Signals
from tuner.comparison.answer import Comparison, concluded
from tuner.comparison.design import Design, Level, Run, Trained
from tuner.comparison.likelihood import NLL_SAMPLES, measured_level
from tuner.comparison.methods import LR
from tuner.comparison.request import (
    REACH_FILE,
    Request,
    as_begun,
    design_of,
    known_reach,
    schedule_begun,
    schedule_of,
)
from tuner.comparison.transfer import (
    Side,
    Transferred,
    answer_transfer,
    best_trials,
    candidates,
    other_comparison,
    runs_of,
)
from tuner.planning.checks import require_ready
from tuner.planning.plans import Plan, make_plan
from tuner.running.driver import resume_sweep, run_sweep
from tuner.running.kappa_min import Measuring, reached, unseen
from tuner.running.session import ProgressFactory, silent
from tuner.running.sweep_result import SweepResult
from tuner.sweeps.atomic_files import write_json
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.lease import FencedError
from tuner.sweeps.spec import SweepSpec, parse_spec
from tuner.sweeps.state import Sweep, Trial, fold

PATH_DRAWS, POOL_DRAWS = 16, 1
SETTLED_PART = 0.1
TEST_FILE, NLL_FILE = "test.json", "nll.json"

Testing = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True)
class ComparisonRun:
    """A comparison: what is compared, where it runs and writes, and who is told of it.

    resources: of its sweeps, by their path in a spec. on_notes: called with what the user should know. given_design: a
    design in place of the one that follows from request, data and what the pilot was begun with.
    """

    request: Request
    data_dir: Path
    storage: Path = Path("./sweeps")
    reports: Path = Path("./reports")
    tracking_uri: str | None = None
    experiment: str = "vae-tuner"
    offline: bool = False
    resources: Mapping[str, Any] = field(default_factory=dict)
    progress: ProgressFactory = silent
    testing: Testing = lambda stage, n: unseen(n)
    measuring: Measuring = unseen
    on_notes: Callable[[Sequence[str]], None] = lambda notes: None
    given_design: Design | None = None
    gpus_per_run: float = 0.0

    @cached_property
    def design(self) -> Design:
        """What is trained. Raises UserError for what cannot be compared."""
        if self.given_design is not None:
            return self.given_design
        design, config = design_of(self.request, self.data_dir)
        return as_begun(design, config, self.storage / f"{self.request.name}.pilot")

    @cached_property
    def other(self) -> ComparisonRun | None:
        """The comparison with which dials are exchanged."""
        if self.request.transfer is None:
            return None
        request, design = other_comparison(self.request, self.design, self.storage, self.data_dir)
        return replace(self, request=request, given_design=design)

    @cached_property
    def pilot_plan(self) -> Plan:
        """The plan of the first stage, which tells the resources and the metric of all."""
        return self.plan("pilot", self.design.pilot())

    @property
    def folder(self) -> Path:
        """What is kept of the comparison beside its stages."""
        return self.storage / self.request.name

    def check(self) -> None:
        """Raises UserError for all that can be known to fail before the first run is trained. Writes nothing."""
        _ = self.design, self.other, self.pilot_plan
        quiet_ray()
        require_ready(self.pilot_plan)

    def run(self, signals: Signals) -> Comparison:
        """Train all stages, or what is left of them, and answer the three questions."""
        plan = self.pilot_plan
        return replace(self.within_reach(), gpus_per_run=plan.gpus_per_trial)._run(plan, signals)

    def _run(self, plan: Plan, signals: Signals) -> Comparison:
        request, design, metric = self.request, self.design, plan.metric
        with stdout_on_stderr(), shared_ray(plan.spec, plan.cpus, signals):  # for all stages one
            pilot = self.trained("pilot", design.pilot())
            levels = design.levels(pilot)
            rivals = self.trained("rivals", design.rival_pilots(levels))
            path = self.trained("path", design.path(levels, design.rival_rates(levels, rivals)), PATH_DRAWS)
            pool = self.trained("pool", design.pools(), POOL_DRAWS)
            target = self.trained("target", design.targets(), POOL_DRAWS)
            plain = self.trained("plain", design.plain(), PATH_DRAWS)
            path = self.with_nll(path, measured_level(levels))
            carried, transfer = self.exchanged(pool, metric, self.other) if self.other else ({}, [])
        trained = {"pilot": pilot, "rivals": rivals, "path": path, "pool": pool, "target": target, "plain": plain}
        found = concluded(
            request.name, request.dataset, request.model, metric, request.quick, design, levels, {**trained, **carried}
        )
        return replace(found, transfer=transfer)

    def within_reach(self) -> ComparisonRun:
        """The same, with a design from what the model reaches, measured once; one whose pilot was begun without goes on
        without.

        A measurement that fails is told and not kept: a start before the pilot measures again.
        """
        reach = known_reach(self.folder)
        if not reach and not self.has_begun("pilot"):
            plan = self.reach_plan()
            found = reached(plan, self.measuring)
            self.on_notes(found.remarks[len(plan.remarks) :])
            reach = dict(found.facts.kappa_min or {})
            if reach:
                write_json(self.folder / REACH_FILE, reach)
        return replace(self, given_design=self.design.reaching(reach))

    def trained(self, stage: str, runs: Sequence[Run], draws: int = 0) -> list[Trained]:
        """The ends of a stage's runs, in their order. draws: of z on the test set, none for a stage that selects."""
        if not runs:
            return []
        self._sweep(stage, runs)
        found = self._ends(stage, runs)
        return self._measured(stage, found, TEST_FILE, partial(held_out_metrics, draws=draws)) if draws else found

    def with_nll(self, path: Sequence[Trained], level: Level | None) -> list[Trained]:
        """The path's runs, those of one level with their NLL under the likelihood that all of them end at."""
        if level is None or level.weight is None:
            return list(path)
        at_level = [each for each in path if each.run.kappa == level.kappa]
        measure = partial(held_out_nll, samples=NLL_SAMPLES, sigma=self.design.scale.sigma_at(level.weight))
        known = {each.folder: each for each in self._measured("nll", at_level, NLL_FILE, measure)}
        return [known.get(each.folder, each) for each in path]

    def exchanged(
        self, pool: Sequence[Trained], metric: str, other: ComparisonRun
    ) -> tuple[dict[str, list[Trained]], list[Transferred]]:
        """The best of the pools trained on each other's data, by stage, and what that lost."""
        others = other._ends("pool", other.design.pools())
        here = Side(self.request.dataset, self.design, metric, best_trials(pool, metric))
        there = Side(other.request.dataset, other.design, metric, best_trials(others, metric))
        trained: dict[str, list[Trained]] = {}
        answers = []
        for stage, origin, target in (("transfer", there, here), ("transfer-back", here, there)):
            found = candidates(origin, target)
            on_target = replace(self, given_design=target.design)
            trained[stage] = on_target.trained(stage, runs_of(stage, found, self.design.fresh), PATH_DRAWS)
            answers += answer_transfer(origin, target, found, trained[stage])
        return trained, answers

    def _sweep(self, stage: str, runs: Sequence[Run]) -> None:
        """Run the stage's sweep, or what is left of it, to its end."""
        begun = self.begun(stage, runs)
        if begun and not begun.resumable:
            return
        try:
            result = self._resumed(stage) if begun else run_sweep(self.plan(stage, runs), self.progress)
        except FencedError:
            raise
        except StorageError as error:
            told = f"{self._name(stage)} was not trained to its end: {error}, then repeat the command"
            raise StorageError(told) from None
        if result.finished != "completed":
            raise StorageError(f"{result.name} was not trained to its end; repeat the command")

    def _resumed(self, stage: str) -> SweepResult:
        return resume_sweep(
            self.storage,
            self._name(stage),
            model=self._user_model,
            tracking_uri=self.tracking_uri,
            offline=self.offline,
            data_dir=self.data_dir,
            progress=self.progress,
        )

    def begun(self, stage: str, runs: Sequence[Run]) -> Sweep | None:
        """The stage's sweep so far; raises UserError where it is of other runs."""
        file = self._folder(stage) / JOURNAL
        events = read_journal(file) if file.exists() else []
        if not events:
            return None
        sweep = fold(events)
        self._check_unchanged(stage, sweep)
        if sweep.more or not _is_of(sweep, self.spec(stage, runs)):
            name = self._name(stage)
            raise UserError(
                f"name: {name} trained other runs than this comparison asks for now, perhaps because an earlier stage "
                f"was trained anew; remove it with `vae-tuner rm {name}` and repeat the command, or choose another name"
            )
        return sweep

    def _check_unchanged(self, stage: str, sweep: Sweep) -> None:
        """All stages are trained on the same data: what they find is set against each other."""
        data = parse_config({"data": unflatten(self.design.base).get("data", {})}).data
        here = Identity(readers.digest(data.name, self.data_dir, data.image_size))
        changed = differences(here, sweep.identity, data.name, f"of {self._name(stage)}")
        if changed:
            raise UserError(
                f"name: {'; '.join(changed)}; put back what the comparison began with, or compare anew under another "
                "name"
            )

    def _ends(self, stage: str, runs: Sequence[Run]) -> list[Trained]:
        """What the journal of a stage that has ended says of its runs."""
        sweep = self.begun(stage, runs)
        trials = sweep.trials.values() if sweep else ()
        trained = self._folder(stage) / "trials"
        return [_trained(run, trial, trained / trial.id) for run, trial in zip(runs, trials, strict=True)]

    def _name(self, stage: str) -> str:
        return f"{self.request.name}.{stage}"

    def _folder(self, stage: str) -> Path:
        return (self.storage / self._name(stage)).absolute()

    @property
    def _user_model(self) -> str | None:
        return self.request.model if is_user_kind(self.request.model) else None

    def plan(self, stage: str, runs: Sequence[Run]) -> Plan:
        """Of the sweep that trains a stage."""
        return make_plan(self.spec(stage, runs), self.data_dir)

    def reach_plan(self) -> Plan:
        """Of a search for κ, which knows what the model reaches once that is measured."""
        return make_plan(parse_spec({**self._shared({}), "space": "geco"}), self.data_dir)

    def has_begun(self, stage: str) -> bool:
        """Whether a session has trained some of it."""
        return (self._folder(stage) / JOURNAL).exists()

    def spec(self, stage: str, runs: Sequence[Run]) -> SweepSpec:
        """Of the sweep that trains a stage."""
        points = [run.full for run in runs]
        own = {"name": self._name(stage), "search.points": points, "search.sampler": "random"}
        return parse_spec(self._shared(own))

    def _shared(self, own: dict[str, Any]) -> dict[str, Any]:
        """Of all stages, and what is a stage's own by path."""
        own = {**own, "scheduler.kind": "none", "storage": str(self.storage), **self.resources}
        tracking = {"uri": self.tracking_uri, "experiment": self.experiment, "offline": self.offline}
        shared = {"config": unflatten(self.design.base), "tracking": tracking}
        return {**unflatten(own), **shared}

    def _measured(self, what: str, found: list[Trained], file: str, measure: Measure) -> list[Trained]:
        whole = [each.folder for each in found if each.completed and each.folder]
        with self.testing(what, len(whole)) as on_done:
            share = Share(float(self.resources.get("resources.cpus_per_trial") or 1), self.gpus_per_run)
            values = measured(measure, file, whole, self.data_dir, share, on_done)
        return [
            replace(each, test={**each.test, **values.get(each.folder, {})}) if each.folder else each for each in found
        ]


def _is_of(sweep: Sweep, spec: SweepSpec) -> bool:
    """Whether a sweep was begun to train just these points, with the same fixed part.

    Of what makes learning rates that counts which its trials were trained with: defaults may have changed since.
    """
    begun, asked = sweep.header["spec"], spec.model_dump(mode="json")
    return bool(
        begun["search"]["points"] == asked["search"]["points"]
        and _without_schedule(begun["config"]) == _without_schedule(asked["config"])
        and (schedule_begun(sweep) or _schedule_of(begun["config"])) == _schedule_of(asked["config"])
    )


def _without_schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in flatten(config).items() if not path.startswith("lr.") or path == LR}


def _schedule_of(config: Mapping[str, Any]) -> dict[str, Any]:
    return schedule_of(parse_config(config))


def _trained(run: Run, trial: Trial, folder: Path) -> Trained:
    history = [report.metrics for report in trial.reports]
    return Trained(
        run,
        trial.stop_reason or "interrupted",
        trial.outcome,
        trial.last,
        settled_weight(history),
        history=history,
        folder=folder,
    )


def settled_weight(history: Sequence[Any]) -> float | None:
    """λ̂: the median λ of the last 10 % of steps, of several epochs the geometric mean of their medians.

    Epochs are whole: a tenth of them, rounded, and at least the last one, which of 4 epochs is 25 % of the steps.
    """
    last = history[-max(1, round(SETTLED_PART * len(history))) :]
    medians = [metrics["geco/lambda_median"] for metrics in last if "geco/lambda_median" in metrics]
    return geometric_mean(medians) if medians else None


Measure = Callable[[Trainer], dict[str, float]]


@dataclass(frozen=True)
class Share:
    """CPUs and GPUs. Ray hides the GPU from a task that asks for none of it."""

    cpus: float
    gpus: float


def measured(
    measure: Measure,
    file: str,
    folders: Sequence[Path],
    data_dir: Path,
    share: Share,
    on_done: Callable[[], None],
) -> dict[Path, dict[str, float]]:
    """What a measure says of the checkpoints in these folders, by Ray tasks; what is known already is read.

    file: the name under which it is kept in each. share: what a task gets of the machine, as its trial did. on_done:
    called for each.
    """
    import ray

    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=3)(_measure)
    unknown = [folder for folder in folders if not (folder / file).exists()]
    waiting = {task.remote(measure, folder / file, data_dir): folder for folder in unknown}
    while waiting:
        [done], _ = ray.wait(list(waiting))
        ray.get(done)
        del waiting[done]
        on_done()
    return {folder: json.loads((folder / file).read_text(encoding="utf-8")) for folder in folders}


@fresh()
def _measure(measure: Measure, file: Path, data_dir: Path) -> None:
    checkpoint = read(file.parent / FILE_NAME)
    trainer = Trainer(checkpoint.config, _dataset(checkpoint.config.data, data_dir, checkpoint.config.device))
    trainer.restore(checkpoint)
    write_json(file, measure(trainer))


@lru_cache(maxsize=1)
def _dataset(config: DataConfig, data_dir: Path, device: str) -> Dataset:
    return load(config, data_dir, torch.device(device))
