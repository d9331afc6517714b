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
from search_spaces.space import Space, assemble, defaults_of
from trainables.config import DataConfig, TrialConfig, UserModel, method_of
from trainables.data import DataFacts, data_facts, held_on_device
from trainables.errors import ConfigError
from trainables.models import build_model
from trainables.models.inspection import check_user_model
from trainables.paths import flatten, parse_config, plain, unflatten
from trainables.resolve import likelihood_of, notes, resolve, steps_per_epoch
from trainables.sources import DATASETS, absolute, data_dir
from tuner.asha import Asha, grace_for, rungs_for
from tuner.hyperband import HyperBand
from tuner.journal import Prior
from tuner.median import MedianRule
from tuner.metrics_info import METRICS, Direction, direction_of
from tuner.pruning import Rule
from tuner.samplers import Sampling, sampler_notes, trials_to_run
from tuner.spec import SweepSpec
from tuner.warm_start import warm_starts

__all__ = ["Plan", "make_plan"]

AGGREGATES = ("val/agg_kl_gauss", "val/mutual_info", "val/marginal_kl")
NLL = "val/nll"
SEARCH_NLL_SAMPLES = 100
MOST_METRICS = 3


@dataclass(frozen=True)
class Plan:
    """A sweep ready to start.

    spec: with no more trials than a grid has points. base: the fixed part of every trial by path. space: bounds in
    absolute terms. metrics: what is searched by; rungs and ranking go by the first. rungs: the epochs at which trials
    are compared, of the median rule the first; empty without a scheduler. priors: trials of earlier sweeps that the
    sampler is told of. notes: what the user should know.
    """

    spec: SweepSpec
    base: Mapping[str, Any]
    space: Space
    facts: DataFacts
    data_dir: Path
    default: TrialConfig
    metrics: tuple[str, ...]
    rungs: tuple[int, ...]
    concurrency: int
    gpus_per_trial: float
    priors: tuple[Prior, ...]
    notes: tuple[str, ...]

    @property
    def epochs(self) -> int:
        return self.default.epochs

    @property
    def metric(self) -> str:
        return self.metrics[0]

    @cached_property
    def direction(self) -> Direction:
        return direction_of(self.metric)

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """Which way each metric is better."""
        return tuple(map(direction_of, self.metrics))

    @property
    def scheduler_kind(self) -> str:
        """The scheduler's kind with `auto` settled."""
        return _scheduler_kind(self.spec)

    def resolved(self, assignment: Mapping[str, Any]) -> TrialConfig:
        """The configuration a trial of this assignment runs with."""
        return _resolved(assemble(unflatten(self.base), self.space, assignment), self.facts, self.spec)

    def trial(self, assignment: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """A trial's resolved configuration as plain data, and its method."""
        config = self.resolved(assignment)
        return plain(config), method_of(config)

    @property
    def memory_share(self) -> float:
        """The part of its device's memory that a trial may count on."""
        return _memory_share(self.gpus_per_trial, self.concurrency)

    @cached_property
    def rule(self) -> Rule | None:
        """The pruning rule, None without rungs."""
        if not self.rungs:
            return None
        factor = self.spec.scheduler.reduction_factor
        match self.spec.scheduler.kind:
            case "hyperband":
                return HyperBand(self.rungs, factor, self.direction, self.epochs, self.spec.search.trials)
            case "median":
                return MedianRule(self.rungs[0], self.direction)
            case _:
                return Asha(self.rungs, factor, self.direction)

    @property
    def most_epochs(self) -> int:
        """The epochs the sweep trains if nothing is pruned."""
        most = self.spec.search.trials * self.epochs
        return min(most, self.spec.budget.epochs or most)

    @property
    def expected_epochs(self) -> int:
        """The epochs the sweep trains if the rule prunes as planned; a budget of time is not counted."""
        expected = self.rule.expected_epochs(self.spec.search.trials, self.epochs) if self.rule else self.most_epochs
        return min(expected, self.most_epochs)


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
    _check_used(base, space)
    first = space.default(unflatten(base))
    default = _resolved(assemble(unflatten(base), space, first), facts, spec)
    model_notes = _model_notes(spec, space, base, default, facts)
    metrics = _metrics(spec.search.metric, default, base, space)
    base |= _settings_for(metrics, default)
    default = _resolved(assemble(unflatten(base), space, first), facts, spec)
    rungs, grace_notes = _rungs(spec, space, base, default, facts)
    gpus = _gpus_per_trial(spec, default)
    concurrency = _concurrency(spec, gpus)
    known = warm_starts(
        spec, space, metrics, lambda found: _resolved(assemble(unflatten(base), space, found), facts, spec)
    )
    sampling = Sampling(spec.search.sampler, spec.search.seed, spec.search.trials, concurrency > 1, first)
    data_notes = _data_notes(default, facts)
    if spec.resources.ray_address is None:
        data_notes += _placement_notes(default, facts, _memory_share(gpus, concurrency))
    return Plan(
        spec=_with_trials(spec, trials_to_run(sampling, space)),
        base=base,
        space=space,
        facts=facts,
        data_dir=root,
        default=default,
        metrics=metrics,
        rungs=rungs,
        concurrency=concurrency,
        gpus_per_trial=gpus,
        priors=tuple(prior for source in known for prior in source.priors),
        notes=(
            *data_notes,
            *notes(default, facts),
            *model_notes,
            *grace_notes,
            *_fixed_notes(spec),
            *_metric_notes(spec, metrics),
            *sampler_notes(sampling, space, warm=bool(known)),
            *map(str, known),
        ),
    )


def _base(spec: SweepSpec) -> dict[str, Any]:
    """The fixed part by path: a file or folder by its absolute path, which workers find too, and the sweep's seed."""
    base = flatten(spec.config)
    name = base.get("data.name")
    if isinstance(name, str):
        base["data.name"] = absolute(name)
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


def _check_used(base: Mapping[str, Any], space: Space) -> None:
    """Refuse what the user fixes and no trial can have, because the space decides otherwise."""
    existing = set().union(*(defaults_of({**base, **space.fixed, **branch}) for branch in space.branches()))
    for path, value in base.items():
        if path not in existing and space.decides(path):
            raise ConfigError(
                f"config: {path} = {value} is never used: no trial of the space {space.name} has it; leave it out, or "
                "choose another space"
            )


def _with_trials(spec: SweepSpec, trials: int) -> SweepSpec:
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": trials})})


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


def _metrics(
    chosen: str | tuple[str, ...], default: TrialConfig, base: Mapping[str, Any], space: Space
) -> tuple[str, ...]:
    if chosen == "auto":
        return (_auto_metric(default, base, space),)
    names = (chosen,) if isinstance(chosen, str) else chosen
    if not 1 <= len(set(names)) == len(names) <= MOST_METRICS:
        raise ConfigError(f"search.metric: {', '.join(names)}: give 1 to {MOST_METRICS} metrics, each once")
    for name in names:
        _check_metric(name, default)
    return names


def _auto_metric(default: TrialConfig, base: Mapping[str, Any], space: Space) -> str:
    """IWAE loses on the ELBO what it wins on the likelihood, so that a space with it is ranked by that."""
    if any({**base, **space.fixed, **branch}.get("objective.kind") == "iwae" for branch in space.branches()):
        return NLL
    return "val/elbo" if default.data.likelihood == "bernoulli" else "val/elbo_cal"


def _check_metric(name: str, default: TrialConfig) -> None:
    if name.startswith("test/"):
        raise ConfigError(f"search.metric: {name}: nobody selects on test data; use a val/ metric such as val/elbo")
    direction_of(name)
    if not name.startswith("val/"):
        known = ", ".join(name for name in METRICS if name.startswith("val/"))
        raise ConfigError(f"search.metric: {name} is not taken on validation data; allowed: {known}")
    if name == "val/elbo_cal" and default.data.likelihood == "bernoulli":
        raise ConfigError(
            "search.metric: val/elbo_cal needs a Gaussian likelihood, this sweep's is Bernoulli; use val/elbo"
        )


def _settings_for(metrics: tuple[str, ...], default: TrialConfig) -> dict[str, Any]:
    """What makes a trial report its costlier metrics at every epoch, where it is compared by them."""
    settings: dict[str, Any] = {}
    if {NLL, *AGGREGATES} & set(metrics):
        settings["metrics.every"] = 1
    if NLL in metrics and default.metrics.nll_samples is None:
        settings["metrics.nll_samples"] = SEARCH_NLL_SAMPLES
    return settings


def _metric_notes(spec: SweepSpec, metrics: tuple[str, ...]) -> list[str]:
    if len(metrics) == 1:
        return []
    kind = _scheduler_kind(spec)
    if kind == "none":
        return [f"searched as a Pareto set by {', '.join(metrics)}: no trial is pruned"]
    return [f"searched as a Pareto set by {', '.join(metrics)}: {kind} prunes by the first alone"]


def _scheduler_kind(spec: SweepSpec) -> str:
    """`auto` prunes by one metric; of several none says alone what is hopeless."""
    if spec.scheduler.kind != "auto":
        return spec.scheduler.kind
    return "asha" if isinstance(spec.search.metric, str) else "none"


def _rungs(
    spec: SweepSpec, space: Space, base: Mapping[str, Any], default: TrialConfig, facts: DataFacts
) -> tuple[tuple[int, ...], list[str]]:
    if _scheduler_kind(spec) == "none":
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
    rungs = rungs_for(epochs, grace, spec.scheduler.reduction_factor)
    return rungs[:1] if spec.scheduler.kind == "median" else rungs, found


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


def _memory_share(gpus: float, concurrency: int) -> float:
    return min(1.0, gpus) if gpus else 1 / concurrency


def _data_notes(config: TrialConfig, facts: DataFacts) -> list[str]:
    limits = ", ".join(f"{name} {value:.4g}" for name, value in facts.kappa_max.items())
    shape = "×".join(map(str, facts.shape))
    found = [
        f"{Path(config.data.name).name}: {facts.n_train} training, {facts.n_val} validation and {facts.n_test} test "
        f"examples of {shape}; likelihood {config.data.likelihood} ({_reason(config.data, facts)}); κ_max {limits}"
    ]
    if config.data.name in DATASETS and Path(config.data.name).is_dir():
        found.append(f"data.name: {config.data.name} is the built-in set; the folder here is ./{config.data.name}")
    if max(abs(facts.low), abs(facts.high)) > 20:
        found.append(
            f"the values span [{facts.low:g}, {facts.high:g}] and are used as they are; networks train better on "
            "values of order 1: divide them once and save the array again"
        )
    return found


def _placement_notes(config: TrialConfig, facts: DataFacts, memory_share: float) -> list[str]:
    device = torch.device(config.device).type
    if held_on_device(facts.train_bytes, torch.device(device), memory_share):
        return []
    return [
        f"the training examples take {facts.train_bytes / 2**30:.1f} GiB, more than a quarter of a trial's share of "
        f"the {device}'s memory: they stay in host memory, and batches are fetched ahead of their steps"
    ]


def _reason(data: DataConfig, facts: DataFacts) -> str:
    """What about the data made the likelihood what it is."""
    if data.likelihood == "gaussian":
        return "as configured, the values are bits" if facts.bits else "the values are gray"
    if facts.bits:
        return "the values are bits"
    drawn = {"dynamic": "drawn as bits at every step", "fixed": "drawn as bits once", "soft": "taken as they are"}
    return f"gray values {drawn[data.binarize]}"
