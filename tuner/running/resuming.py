"""The plan of a sweep that was begun before, from its own journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces.catalogue import parse_space
from search_spaces.space import Space
from trainables.config.models import is_user_kind
from trainables.config.paths import flatten, parse_config, plain, unflatten
from trainables.errors import UserError
from trainables.identity import differences, version_notes
from tuner.planning.kappa_min import KAPPA
from tuner.planning.plans import Plan, make_plan
from tuner.search.duplicates import all_known, is_exhausted
from tuner.search.samplers import Sampling
from tuner.sweeps.resumable import check_named, check_resumable
from tuner.sweeps.spec import SweepSpec, parse_spec
from tuner.sweeps.state import REFUSED, Sweep
from tuner.tracking.sweep_store import store_of


def resumed_plan(
    sweep: Sweep,
    storage: str | Path,
    place: str,
    more_trials: int,
    models: Sequence[str],
    tracking_uri: str | None,
    offline: bool,
    data_dir: Path | None,
    allow_changed: bool = False,
) -> tuple[Plan, str]:
    """The plan a sweep goes on by, and its tracking URI; raises UserError where it cannot go on as it began.

    allow_changed: let its data and code be others than those it had; `changed` of the plan says in what.
    """
    check_resumable(sweep, more_trials)
    spec = parse_spec({**sweep.header["spec"], "name": sweep.header["name"], "storage": str(storage)})
    check_named(filter(is_user_kind, _kinds(spec, sweep)), models)
    uri = store_of(sweep, place, tracking_uri)
    tracking = spec.tracking.model_copy(update={"uri": uri, "offline": offline})
    # What earlier sweeps know stands in the journal, once a trial was asked for.
    search = spec.search.model_copy(update={"warm_start": () if sweep.trials else spec.search.warm_start})
    spec = spec.model_copy(update={"tracking": tracking, "search": search})
    allowed = allow_changed or bool(sweep.changed)
    plan = make_plan(spec, data_dir, begun=sweep.header, allow_changed=allowed)
    if former := _former_rates(plan, sweep):
        spec = spec.model_copy(update={"config": unflatten({**flatten(spec.config), **former})})
        plan = make_plan(spec, data_dir, begun=sweep.header, allow_changed=allowed)
    plan = _identified(replace(plan, spec=_as_planned(plan.spec, spec.search.trials)), sweep, allow_changed)
    _check_same(plan, sweep)
    _check_points(plan, sweep, more_trials)
    return plan, uri


def _as_planned(spec: SweepSpec, n_trials: int) -> SweepSpec:
    """With the trials it was begun with: an older sweep may have trained combinations twice."""
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": n_trials})})


def _former_rates(plan: Plan, sweep: Sweep) -> dict[str, Any]:
    """What the sweep's first trial says of its learning rate where today's defaults say otherwise; by path.
    One that was refused says nothing.

    A sweep goes on by the rates it began with: its trials stay comparable.
    """
    first = next((trial for trial in sweep.trials.values() if trial.kind != REFUSED), None)
    if first is None:
        return {}
    then, now = (flatten(plain(config)) for config in (parse_config(first.config), plan.resolved(first.assignment)))
    return {path: value for path, value in then.items() if path.startswith("lr.") and now.get(path) != value}


def _check_points(plan: Plan, sweep: Sweep, more_trials: int) -> None:
    """A grid is made for the trials first planned, and a space that has an end may be at it."""
    search = plan.spec.search
    if more_trials and is_exhausted(sweep, plan.space):
        raise UserError(
            f"--trials: sweep {sweep.header['name']} has nothing left to try: {all_known(plan.space)}; start another "
            "over a wider space"
        )
    if not more_trials or search.sampler != "grid":
        return
    n_points = Sampling("grid", search.seed, search.trials, False, plan.first).grid(plan.space).n_points
    if sweep.planned >= n_points:
        raise UserError(
            f"--trials: the grid of sweep {sweep.header['name']} has {n_points} points and no more; start another "
            f"sweep with a finer one: vae-tuner sweep --sampler grid --trials {sweep.planned + more_trials}"
        )


def _kinds(spec: SweepSpec, sweep: Sweep) -> list[Any]:
    """Every model the sweep may draw or go on with, read as the planner and the workers read it."""
    space = parse_space(spec.space)
    searched = space.dimensions.get("model.kind")
    return [
        *(fixed.get("model.kind") for fixed in (flatten(spec.config), space.fixed)),
        *(searched.levels() if searched else ()),
        *(parse_config(trial.config).model.kind for trial in sweep.trials.values() if trial.unfinished),
    ]


def _identified(plan: Plan, sweep: Sweep, allow_changed: bool) -> Plan:
    """The plan, with what the user should know of data, code and versions that are not those of the sweep.

    On other data than it began with it keeps its space and its rungs, which were measured on those.
    """
    name = sweep.header["name"]
    changed = differences(plan.identity, sweep.identity, plan.default.data.name, "it had")
    if changed and not allow_changed:
        raise UserError(
            f"sweep {name} cannot go on: {'; '.join(changed)}; put back what it had, or go on anyway with "
            "--allow-changed"
        )
    said = (*changed, *version_notes(plan.identity, sweep.identity), *plan.remarks)
    plan = replace(plan, remarks=said, changed=(*plan.changed, *changed))
    if not _is_on_other_data(plan, sweep):
        return plan
    space = Space.parse(sweep.header["space"])
    return replace(plan, relative=space, space=space, rungs=tuple(sweep.header["rungs"]))


def _is_on_other_data(plan: Plan, sweep: Sweep) -> bool:
    """Whether the sweep is known to have begun on others."""
    return sweep.header.get("data") not in (None, plan.identity.data)


def _check_same(plan: Plan, sweep: Sweep) -> None:
    """The journal's decisions hold only for the space and the rungs they were made in, and for the κ_max they were
    measured by; other data have been allowed by now."""
    header = sweep.header
    found = {"space": plan.space.to_mapping(), "rungs": list(plan.rungs), "epochs": plan.epochs}
    if KAPPA in plan.space.dimensions and not _is_on_other_data(plan, sweep):
        found["kappa_max"] = plan.facts.kappa_max
    changed = [name for name, value in found.items() if header.get(name, value) != value]
    if header.get("seeds", [plan.seeds[0]]) != list(plan.seeds):
        changed.append("seeds")
    if changed:
        raise UserError(
            f"sweep {header['name']} cannot go on: its {' and '.join(changed)} would differ; are the data, or the "
            f"version (then {header['versions']['vae-tuner']}), still those it began with?"
        )
