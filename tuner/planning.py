"""What is decided before a sweep starts: the data's facts, the space in numbers, rungs, and what runs at once.

Nothing is started and nothing written, but for a built-in data set that is prepared on first use.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from search_spaces.catalogue import parse_space
from search_spaces.geco import within_reach
from search_spaces.reach import check, longest_warmup
from search_spaces.space import Space, assemble
from trainables.config import TrialConfig, UserModel, method_of
from trainables.data import DataFacts, data_facts
from trainables.errors import ConfigError
from trainables.models import build_model
from trainables.models.inspection import check_user_model
from trainables.paths import flatten, parse_config, plain, unflatten
from trainables.resolve import likelihood_of, notes, resolve, steps_per_epoch
from trainables.sources import data_dir, is_path
from tuner.asha import Asha, grace_for, rungs_for
from tuner.metrics_info import METRICS, Direction, direction_of
from tuner.spec import SweepSpec

__all__ = ["Plan", "make_plan"]

AGGREGATES = ("val/agg_kl_gauss", "val/mutual_info", "val/marginal_kl")


@dataclass(frozen=True)
class Plan:
    """A sweep ready to start.

    base: the fixed part of every trial by path. space: bounds in absolute terms. rungs: the epochs at which trials are
    compared, empty without a scheduler. notes: what the user should know.
    """

    spec: SweepSpec
    base: Mapping[str, Any]
    space: Space
    facts: DataFacts
    data_dir: Path
    default: TrialConfig
    metric: str
    rungs: tuple[int, ...]
    concurrency: int
    gpus_per_trial: float
    notes: tuple[str, ...]

    @property
    def epochs(self) -> int:
        return self.default.epochs

    @cached_property
    def direction(self) -> Direction:
        return direction_of(self.metric)

    def resolved(self, assignment: Mapping[str, Any]) -> TrialConfig:
        """The configuration a trial of this assignment runs with."""
        return _resolved(assemble(unflatten(self.base), self.space, assignment), self.facts, self.spec)

    def trial(self, assignment: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """A trial's resolved configuration as plain data, and its method."""
        config = self.resolved(assignment)
        return plain(config), method_of(config)

    @property
    def asha(self) -> Asha | None:
        """The pruning rule, None without rungs."""
        return Asha(self.rungs, self.spec.scheduler.reduction_factor, self.direction) if self.rungs else None

    @property
    def expected_epochs(self) -> int:
        """The epochs the sweep trains, if each rung lets 1/reduction_factor of its trials pass."""
        stops = (*self.rungs, self.epochs)
        keep = 1 / self.spec.scheduler.reduction_factor
        lengths = [stop - start for start, stop in zip((0, *stops), stops, strict=False)]
        return sum(max(1, round(self.spec.search.trials * keep**i)) * length for i, length in enumerate(lengths))


def make_plan(spec: SweepSpec, chosen_data_dir: Path | None = None) -> Plan:
    """Check a spec against its data and settle what `auto` means; raises UserError for what cannot run."""
    root = data_dir(chosen_data_dir)
    base = _base(spec)
    data = parse_config({"data": unflatten(base).get("data", {})}).data
    facts = data_facts(data, root)
    space, base = _split_fixed(parse_space(spec.space), base)
    constraint = _constraint(base, space, facts)
    space = within_reach(space, constraint).scaled(facts.kappa_max[constraint])
    check(space, unflatten(base), lambda tree: _resolved(tree, facts, spec))
    default = _resolved(assemble(unflatten(base), space, space.default(unflatten(base))), facts, spec)
    model_notes = _model_notes(spec, space, base, default, facts)
    metric = _metric(spec.search.metric, default)
    if metric in AGGREGATES:
        base = {**base, "metrics.every": 1}
    rungs, grace_notes = _rungs(spec, space, base, default, facts)
    gpus = _gpus_per_trial(spec, default)
    return Plan(
        spec=spec,
        base=base,
        space=space,
        facts=facts,
        data_dir=root,
        default=default,
        metric=metric,
        rungs=rungs,
        concurrency=_concurrency(spec, gpus),
        gpus_per_trial=gpus,
        notes=(*_data_notes(default, facts), *notes(default, facts), *model_notes, *grace_notes, *_fixed_notes(spec)),
    )


def _base(spec: SweepSpec) -> dict[str, Any]:
    """The fixed part by path: a file by its absolute path, which workers find too, and the sweep's seed."""
    base = flatten(spec.config)
    name = base.get("data.name")
    if isinstance(name, str) and is_path(name):
        base["data.name"] = str(Path(name).expanduser().resolve())
    return {"seed": spec.search.seed, **base}


def _split_fixed(space: Space, base: dict[str, Any]) -> tuple[Space, dict[str, Any]]:
    """What the user fixes leaves the space: a path that was searched or fixed by it takes the user's value there."""
    own = {path: value for path, value in base.items() if path in space.fixed or path in space.dimensions}
    if not own:
        return space, base
    fixed = space.extended("", own, {})
    return fixed, {path: value for path, value in base.items() if path not in own}


def _fixed_notes(spec: SweepSpec) -> list[str]:
    """What the space would search and the user's own part holds fixed."""
    searched = parse_space(spec.space).dimensions
    fixed = [path for path in flatten(spec.config) if path in searched]
    return [f"{path} is fixed by the configuration and not searched" for path in fixed]


def _resolved(tree: Mapping[str, Any], facts: DataFacts, spec: SweepSpec) -> TrialConfig:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = resolve(parse_config(tree), facts, device=device, threads=max(1, int(spec.resources.cpus_per_trial)))
    if not isinstance(config.model, UserModel):
        build_model(config.model, facts.shape)  # refuses what it cannot take; a user's factory may be costly to call
    return config


def _model_notes(
    spec: SweepSpec, space: Space, base: Mapping[str, Any], default: TrialConfig, facts: DataFacts
) -> list[str]:
    """On the user's own models that the sweep can draw; an error where one cannot be trained."""
    domain = space.dimensions.get("model.kind")
    found = []
    for kind in domain.levels() if domain else (default.model.kind,):
        tree = unflatten({**base, "model.kind": kind})
        found += check_user_model(_resolved(assemble(tree, space, space.default(tree)), facts, spec).model, facts.shape)
    return found


def _constraint(base: Mapping[str, Any], space: Space, facts: DataFacts) -> str:
    """What κ is measured on: the squared error, or the nats where the likelihood is Bernoulli."""
    data = parse_config({"data": unflatten(base).get("data", {})}).data
    natural = "nll" if likelihood_of(data, facts) == "bernoulli" else "re"
    chosen = {**base, **space.fixed}.get("objective.constraint", natural)
    return chosen if chosen in facts.kappa_max else natural


def _metric(chosen: str, default: TrialConfig) -> str:
    if chosen == "auto":
        return "val/elbo" if default.data.likelihood == "bernoulli" else "val/elbo_cal"
    if chosen.startswith("test/"):
        raise ConfigError(f"search.metric: {chosen}: nobody selects on test data; use a val/ metric such as val/elbo")
    direction_of(chosen)
    if not chosen.startswith("val/"):
        known = ", ".join(name for name in METRICS if name.startswith("val/"))
        raise ConfigError(f"search.metric: {chosen} is not taken on validation data; allowed: {known}")
    if chosen == "val/elbo_cal" and default.data.likelihood == "bernoulli":
        raise ConfigError(
            "search.metric: val/elbo_cal needs a Gaussian likelihood, this sweep's is Bernoulli; use val/elbo"
        )
    return chosen


def _rungs(
    spec: SweepSpec, space: Space, base: Mapping[str, Any], default: TrialConfig, facts: DataFacts
) -> tuple[tuple[int, ...], list[str]]:
    if spec.scheduler.kind == "none":
        return (), []
    epochs, grace = default.epochs, spec.scheduler.grace
    capped = False
    if grace == "auto":
        per_epoch = steps_per_epoch(facts.n_train, _largest_batch(space, default))
        longest = longest_warmup(space, unflatten(base), epochs * per_epoch)
        grace, capped = grace_for(epochs, math.ceil(longest / per_epoch))
    elif grace > epochs:
        raise ConfigError(f"scheduler.grace: {grace} is beyond the {epochs} epochs of a trial; allowed: 1 to {epochs}")
    found = [f"grace is capped at {grace} of {epochs} epochs: some warm-ups are longer than that"] if capped else []
    return rungs_for(epochs, grace, spec.scheduler.reduction_factor), found


def _largest_batch(space: Space, default: TrialConfig) -> int:
    domain = space.dimensions.get("batch_size")
    return int(max(domain.levels())) if domain else default.batch_size


def _gpus_per_trial(spec: SweepSpec, default: TrialConfig) -> float:
    """Refuses what this machine lacks: Tune would wait for it for ever."""
    chosen = spec.resources.gpus_per_trial
    gpus = float(default.device != "cpu") if chosen == "auto" else chosen
    here = torch.cuda.device_count()
    if spec.resources.ray_address is None and gpus > here:
        field = f"device: {default.device}" if chosen == "auto" else f"resources.gpus_per_trial: {chosen:g}"
        raise ConfigError(
            f"{field} needs {gpus:g} GPU and this machine has {here}; use --device cpu --gpus-per-trial 0"
        )
    return gpus


def _concurrency(spec: SweepSpec, gpus: float) -> int:
    if spec.resources.concurrency != "auto":
        return spec.resources.concurrency
    if gpus:
        return max(1, int(torch.cuda.device_count() / gpus))
    return max(1, int((os.cpu_count() or 1) / spec.resources.cpus_per_trial))


def _data_notes(config: TrialConfig, facts: DataFacts) -> list[str]:
    limits = ", ".join(f"{name} {value:.4g}" for name, value in facts.kappa_max.items())
    shape = "×".join(map(str, facts.shape))
    found = [
        f"{Path(config.data.name).name}: {facts.n_train} training, {facts.n_val} validation and {facts.n_test} test "
        f"examples of {shape}; likelihood {config.data.likelihood}; κ_max {limits}"
    ]
    if max(abs(facts.low), abs(facts.high)) > 20:
        found.append(
            f"the values span [{facts.low:g}, {facts.high:g}] and are used as they are; networks train better on "
            "values of order 1: divide them once and save the array again"
        )
    return found
