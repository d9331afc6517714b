"""What is decided before a sweep starts: the data's facts, the space in numbers, rungs, and what runs at once.

Nothing is started and nothing written, but for a built-in data set that is prepared on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from search_spaces.catalogue import parse_space
from search_spaces.geco import constrained, in_numbers
from search_spaces.reach import KindDefaults, check
from search_spaces.space import Space, assemble, split_fixed
from trainables.config import TrialConfig, method_of
from trainables.config.models import UserModel, is_user_kind
from trainables.config.paths import flatten, parse_config, plain, unflatten
from trainables.data.dataset import DataFacts, data_facts
from trainables.data.readers import absolute, data_dir
from trainables.errors import ConfigError
from trainables.global_settings import fresh
from trainables.identity import Identity, versions
from trainables.likelihoods import LIKELIHOODS, likelihood_of
from trainables.models import build_model
from trainables.models.user import code_of_kinds
from trainables.ranking import Ranking
from trainables.resolve import notes, resolve
from tuner.cluster.capacity import Capacity, capacity_of
from tuner.planning.given_trials import NO_SPACE, check_points
from tuner.planning.kappa_min import KAPPA, as_begun, asks_for_reach, reach_notes
from tuner.planning.memory_probe import largest, n_parameters
from tuner.planning.metric_choice import chosen_metrics, metric_notes, scheduler_kind, settings_for
from tuner.planning.notes import budget_notes, describe_data, model_notes, phase_notes, rate_notes
from tuner.planning.placement import Placement, placement_of
from tuner.planning.resources import auto_device, placement_notes
from tuner.planning.rungs import rule_of, rungs_of
from tuner.planning.sampling import sampling_of, with_trials
from tuner.planning.seeds import check_patience, check_point_seeds, split_seeds
from tuner.planning.warm_start import Known, WarmStart, warm_starts
from tuner.search.rules import Rule
from tuner.search.samplers import sampler_notes
from tuner.sweeps.events import EarlierTrial
from tuner.sweeps.metrics import Direction, direction_of
from tuner.sweeps.spec import SweepSpec, check_public

SIGMA = "model.sigma"


@dataclass(frozen=True)
class Plan:
    """A sweep ready to start.

    spec: with no more trials than there are combinations, or points of a grid. base: the fixed part of every trial by
    path. relative: the space with bounds that κ_min and κ_max are to settle. space: with bounds in absolute terms,
    preliminary ones where the plan `awaits_reach`. metrics: what is searched by; rungs and ranking go by the first.
    rungs: the epochs at which trials are compared, of the median rule the first; empty without a scheduler. placement:
    how many lanes there are, and what each gets. warm: what
    earlier sweeps tell the sampler. remarks: what the user should know, but for what κ and `warm` say. identity: what
    its trials train on and with. changed: in what that is not what the sweeps it builds on had, as the user allowed.
    seeds: of each configuration.
    """

    spec: SweepSpec
    base: Mapping[str, Any]
    relative: Space
    space: Space
    facts: DataFacts
    data_dir: Path
    default: TrialConfig
    metrics: tuple[str, ...]
    rungs: tuple[int, ...]
    placement: Placement
    warm: tuple[WarmStart, ...]
    remarks: tuple[str, ...]
    identity: Identity = field(default_factory=Identity)
    changed: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)

    @property
    def n_trials(self) -> int:
        """One for each seed of each configuration."""
        return self.spec.search.trials * len(self.seeds)

    @property
    def epochs(self) -> int:
        return self.default.epochs

    @property
    def metric(self) -> str:
        return self.metrics[0]

    @property
    def first(self) -> dict[str, Any]:
        """The assignment of the default configuration."""
        return _first(self.spec, self.space, self.base)

    @cached_property
    def direction(self) -> Direction:
        return direction_of(self.metric)

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """Which way each metric is better."""
        return tuple(map(direction_of, self.metrics))

    @property
    def ranking(self) -> Ranking:
        """By which epoch trials are ranked."""
        return Ranking(self.spec.search.ranking, self.metric, self.direction)

    @property
    def concurrency(self) -> int:
        """How many trials train at once."""
        return self.placement.concurrency

    @property
    def gpus_per_trial(self) -> float:
        """What a lane gets."""
        return self.placement.gpus

    @property
    def cpus(self) -> float:
        """What its lanes take at once."""
        return self.placement.lanes * self.spec.resources.cpus_per_trial

    @property
    def scheduler_kind(self) -> str:
        """The scheduler's kind with `auto` settled."""
        return scheduler_kind(self.spec)

    def resolved(self, assignment: Mapping[str, Any]) -> TrialConfig:
        """The configuration that a trial runs with.

        Parameters
        ----------
        assignment
            By path.

        Returns
        -------
        TrialConfig
            With `auto` settled.

        Raises
        ------
        ConfigError
            The trial cannot run.
        """
        tree = assemble(unflatten(self.base), self.space, assignment)
        return _resolved(tree, self.facts, self.spec, self.default.device)

    def trial(self, assignment: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """What a trial runs with, for the journal.

        Parameters
        ----------
        assignment
            By path.

        Returns
        -------
        tuple of dict and str
            Its resolved configuration as plain data, and its method.
        """
        config = self.resolved(assignment)
        return plain(config), method_of(config)

    @property
    def priors(self) -> tuple[EarlierTrial, ...]:
        """The trials of earlier sweeps that the sampler is told of."""
        return tuple(prior for source in self.warm for prior in source.priors)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        kappa = self.space.dimensions.get(KAPPA)
        return (
            *self.remarks,
            *dict.fromkeys(note for config in self._noted for note in notes(config, self.facts)),
            *reach_notes(kappa, self.constraint, self.facts, awaited=self.awaits_reach),
            *map(str, self.warm),
        )

    @cached_property
    def _noted(self) -> list[TrialConfig]:
        """What its trials may be told of: those given, or the default and what reaches the ends of κ and σ."""
        if self.spec.search.points:
            return [self.resolved(point) for point in self.spec.search.points]
        if not self.space.dimensions.keys() & {KAPPA, SIGMA}:
            return [self.default]
        ends = (draw for draw in self.space.covering if draw.keys() & {KAPPA, SIGMA})
        return [self.default, *map(self.resolved, ends)]

    @property
    def constraint(self) -> str:
        """What κ is measured on."""
        return _constraint(self.base, self.relative, self.facts)

    @property
    def awaits_reach(self) -> bool:
        """Whether some trial's κ depends on κ_min, and it is not measured yet."""
        if self.facts.kappa_min is not None:
            return False
        return asks_for_reach(self.relative, unflatten(self.base), self.spec.search.points)

    @property
    def known_space(self) -> Space:
        """The space as far as it is known: in absolute terms, but for what κ_min is to settle."""
        return self.relative if self.awaits_reach else self.space

    @property
    def biggest(self) -> TrialConfig:
        """The default configuration with the largest model that a trial can have."""
        return _with_largest_model(self)

    def with_reach(self, kappa_min: Mapping[str, float]) -> Plan:
        """The same plan where κ_min is known.

        Parameters
        ----------
        kappa_min
            By constraint; empty where it could not be measured.

        Returns
        -------
        Plan
            With bounds of κ in absolute terms.

        Raises
        ------
        ConfigError
            A range of the user's own has no room then.
        """
        facts = replace(self.facts, kappa_min=dict(kappa_min))
        space = _in_numbers(self.relative, self.constraint, facts)
        reached = replace(self, facts=facts, space=space)
        default = reached.resolved(reached.first)
        known = Known(default.data, self.identity, bool(self.changed))
        warm = warm_starts(self.spec, space, self.metrics, self.ranking, reached.resolved, known)
        return replace(reached, default=default, warm=tuple(warm))

    @property
    def follows_cluster(self) -> bool:
        """Whether there are more lanes where the cluster gets more nodes."""
        resources = self.spec.resources
        return resources.ray_address is not None and resources.lanes == "auto"

    @cached_property
    def rule(self) -> Rule | None:
        """The pruning rule, None without rungs."""
        return rule_of(self.spec, self.rungs, self.direction, self.epochs, len(self.seeds))

    @property
    def most_epochs(self) -> int:
        """The epochs the sweep trains if nothing is pruned."""
        most = self.n_trials * self.epochs
        return min(most, self.spec.budget.epochs or most)

    @property
    def expected_epochs(self) -> int:
        """The epochs the sweep trains if the rule prunes as planned; a budget of time is not counted."""
        expected = self.rule.expected_epochs(self.spec.search.trials, self.epochs) if self.rule else self.most_epochs
        return min(expected, self.most_epochs)


@fresh()
def make_plan(
    spec: SweepSpec,
    chosen_data_dir: Path | None = None,
    capacity: Capacity | None = None,
    begun: Mapping[str, Any] | None = None,
    *,
    allow_changed: bool = False,
) -> Plan:
    """Check a spec against its data and settle what `auto` means.

    Parameters
    ----------
    spec
        Of the sweep.
    chosen_data_dir
        Folder of the built-in data sets.
    capacity
        What it is planned for; by default this machine, or the cluster of the spec, which is joined.
    begun
        The header of a sweep that goes on: its κ_min and its range of κ hold.
    allow_changed
        Learn also from sweeps whose data or code were others.

    Returns
    -------
    Plan
        Ready to start.

    Raises
    ------
    UserError
        It cannot run.
    """
    if begun is None:
        check_public(spec)
    ground = _ground(spec, data_dir(chosen_data_dir), capacity, begun)
    space, facts, default = ground.space, ground.facts, ground.trial(ground.first)
    on_models = model_notes(space, ground.base, default, facts, ground.resolved)
    metrics = chosen_metrics(spec.search.metric, default, ground.base, space)
    ground = replace(ground, base=ground.base | settings_for(metrics, default))
    default = ground.trial(ground.first)
    rungs, grace_notes = rungs_of(spec, space, ground.base, default, facts)
    placement, placement_told = _placed(ground, default)
    drawn = _drawn(ground, default, metrics, placement.concurrency, pruned=bool(rungs), allow_changed=allow_changed)
    return Plan(
        spec=drawn.spec,
        base=ground.base,
        relative=ground.relative,
        space=space,
        facts=facts,
        data_dir=ground.root,
        default=default,
        metrics=metrics,
        rungs=rungs,
        placement=placement,
        warm=drawn.warm,
        seeds=ground.seeds,
        remarks=(
            *_data_notes(ground, default, placement),
            *_training_notes(ground, default),
            *on_models,
            *grace_notes,
            *(phase_notes(space, ground.base, default) if rungs else ()),
            *_fixed_notes(spec),
            *ground.device_notes,
            *placement_told,
            *metric_notes(spec, metrics),
            *drawn.notes,
        ),
        identity=ground.identity,
        changed=tuple(text for source in drawn.warm for text in source.changed),
    )


# --- data and space ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ground:
    """The data and the space on them, which all else is decided by. root: the data directory. device: of the trials."""

    spec: SweepSpec
    root: Path
    base: dict[str, Any]
    relative: Space
    space: Space
    facts: DataFacts
    room: Capacity
    device: str
    device_notes: Sequence[str]
    seeds: tuple[int, ...]

    @property
    def first(self) -> dict[str, Any]:
        return _first(self.spec, self.space, self.base)

    @property
    def identity(self) -> Identity:
        domain = self.space.dimensions.get("model.kind")
        fixed = [tree.get("model.kind") for tree in (self.base, self.space.fixed, *self.spec.search.points)]
        kinds = {kind for kind in (*(domain.levels() if domain else ()), *fixed) if is_user_kind(kind)}
        return Identity(self.facts.digest, code_of_kinds(sorted(kinds)), versions())

    def resolved(self, tree: Mapping[str, Any]) -> TrialConfig:
        return _resolved(tree, self.facts, self.spec, self.device)

    def trial(self, assignment: Mapping[str, Any]) -> TrialConfig:
        return self.resolved(assemble(unflatten(self.base), self.space, assignment))


def _ground(spec: SweepSpec, root: Path, capacity: Capacity | None, begun: Mapping[str, Any] | None) -> _Ground:
    """Every configuration that the space can draw is valid on the data."""
    points = spec.search.points
    check_point_seeds(spec)
    seeds, named = split_seeds(spec, NO_SPACE if points else parse_space(spec.space))
    check_patience(spec, seeds)
    base = _base(spec, seeds[0])
    facts = data_facts(parse_config({"data": unflatten(base).get("data", {})}).data, root)
    relative, base = split_fixed(named, base)
    constraint = _constraint(base, relative, facts)
    relative = constrained(relative, constraint)
    if begun is not None:
        relative, facts = as_begun(relative, begun), replace(facts, kappa_min=begun.get("kappa_min", {}))
    space = _in_numbers(relative, constraint, facts)
    room = capacity or capacity_of(spec.resources.ray_address)
    device, device_notes = auto_device(spec.resources, {**base, **space.fixed}.get("device", "auto"), room)
    found = _Ground(spec, root, base, relative, space, facts, room, device, device_notes, seeds)
    if points:
        check_points(points, unflatten(base), found.resolved)
    else:
        check(space, unflatten(base), found.resolved)
        _check_used(base, space)
    return found


def _in_numbers(relative: Space, constraint: str, facts: DataFacts) -> Space:
    kappa_min = (facts.kappa_min or {}).get(constraint)
    return in_numbers(relative, constraint, facts.kappa_max[constraint], kappa_min)


def _with_largest_model(plan: Plan) -> TrialConfig:
    def resolved(tree: Mapping[str, Any]) -> TrialConfig:
        return _resolved(tree, plan.facts, plan.spec, plan.default.device)

    given = [plan.resolved(point) for point in plan.spec.search.points]
    candidates = given or [largest(plan.space, unflatten(plan.base), resolved, plan.facts.shape)]
    biggest = max(candidates, key=lambda config: n_parameters(config.model, plan.facts.shape))
    return plan.default.model_copy(update={"model": biggest.model})


def _base(spec: SweepSpec, seed: int) -> dict[str, Any]:
    """The fixed part by path: a file or folder by its absolute path, which workers find too, and the first seed."""
    base = flatten(spec.config)
    name = base.get("data.name")
    if isinstance(name, str):
        base["data.name"] = absolute(name)
    return {**base, "seed": seed}


def _first(spec: SweepSpec, space: Space, base: Mapping[str, Any]) -> dict[str, Any]:
    """The assignment that is tried first."""
    return dict(spec.search.points[0]) if spec.search.points else space.default(unflatten(base))


def _fixed_notes(spec: SweepSpec) -> list[str]:
    """What the space would search and the user's own part holds fixed."""
    own = spec.space if isinstance(spec.space, Mapping) else {}
    searched = {} if spec.search.points else {**own, **parse_space(spec.space).dimensions}
    fixed = [path for path in flatten(spec.config) if path in searched]
    return [f"{path} is fixed by the configuration and not searched" for path in fixed]


def _check_used(base: Mapping[str, Any], space: Space) -> None:
    """Refuse what the user fixes and no trial can have, because the space decides otherwise."""
    defaults = KindDefaults()
    existing = set().union(*(defaults.of({**base, **space.fixed, **draw}) for draw in space.covering))
    for path, value in base.items():
        if path not in existing and space.decides(path):
            raise ConfigError(
                f"config: {path} = {value} is never used: no trial of the space {space.name} has it; leave it out, or "
                "choose another space"
            )


def _resolved(tree: Mapping[str, Any], facts: DataFacts, spec: SweepSpec, device: str) -> TrialConfig:
    config = resolve(parse_config(tree), facts, device=device, threads=max(1, int(spec.resources.cpus_per_trial)))
    if not isinstance(config.model, UserModel):
        build_model(config.model, facts.shape)  # refuses what it cannot take; a user's factory may be costly to call
    return config


def _constraint(base: Mapping[str, Any], space: Space, facts: DataFacts) -> str:
    """What κ is measured on: the squared error, or the nats where the likelihood is Bernoulli."""
    data = parse_config({"data": unflatten(base).get("data", {})}).data
    natural = LIKELIHOODS[likelihood_of(data, facts)].constraints[0]
    chosen = {**base, **space.fixed}.get("objective.constraint", natural)
    return chosen if chosen in facts.kappa_max else natural


# --- configurations ---------------------------------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """Where configurations come from. spec: with no more trials than there are. warm: what earlier sweeps tell of
    them."""

    spec: SweepSpec
    warm: tuple[WarmStart, ...]
    notes: Sequence[str]


def _drawn(
    ground: _Ground,
    default: TrialConfig,
    metrics: tuple[str, ...],
    concurrency: int,
    *,
    pruned: bool,
    allow_changed: bool,
) -> _Drawn:
    spec, space = ground.spec, ground.space
    ranking = Ranking(spec.search.ranking, metrics[0], direction_of(metrics[0]))
    known = Known(default.data, ground.identity, allow_changed)
    warm = tuple(warm_starts(spec, space, metrics, ranking, ground.trial, known))
    priors = tuple(prior for source in warm for prior in source.priors)
    sampling, notes = sampling_of(spec.search, space, ground.first, concurrency, priors, len(ground.seeds))
    rule = scheduler_kind(spec) if pruned else None
    notes += sampler_notes(sampling, space, warm=bool(warm), pruned_by=rule)
    return _Drawn(with_trials(spec, sampling, space), warm, notes)


def _training_notes(ground: _Ground, default: TrialConfig) -> list[str]:
    """What the user should know of learning rates, and of budgets too short for GECO."""
    given = [ground.trial(point) for point in ground.spec.search.points]
    rates = rate_notes(ground.space, ground.base, given or [default])
    return [*rates, *budget_notes(ground.space, default, given, ground.facts)]


def _placed(ground: _Ground, default: TrialConfig) -> tuple[Placement, Sequence[str]]:
    biggest = partial(largest, ground.space, unflatten(ground.base), ground.resolved, ground.facts.shape)
    return placement_of(ground.spec, len(ground.seeds), default, ground.facts.shape, ground.room, ground.root, biggest)


def _data_notes(ground: _Ground, default: TrialConfig, placement: Placement) -> list[str]:
    found = describe_data(default, ground.facts)
    if ground.spec.resources.ray_address is None:
        found += placement_notes(default, ground.facts, placement.memory_share)
    return found
