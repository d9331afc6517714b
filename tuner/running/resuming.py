"""The plan of a sweep that was begun before, from its own journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces.catalogue import parse_space
from trainables.config import is_user_kind
from trainables.errors import UserError
from trainables.paths import flatten, parse_config, plain, unflatten
from tuner.planning.plans import Plan, make_plan
from tuner.running.resumable import check_named, check_resumable
from tuner.search.known import all_known, is_exhausted
from tuner.search.samplers import Sampling
from tuner.spec import SweepSpec, parse_spec
from tuner.storage.sweep_state import Sweep
from tuner.tracking.sweep_store import store_of

__all__ = ["resumed_plan"]


def resumed_plan(
    sweep: Sweep,
    storage: str | Path,
    place: str,
    more_trials: int,
    models: Sequence[str],
    tracking_uri: str | None,
    offline: bool,
    data_dir: Path | None,
) -> tuple[Plan, str]:
    """The plan a sweep goes on by, and its tracking URI; raises UserError where it cannot go on as it began."""
    check_resumable(sweep, more_trials)
    spec = parse_spec({**sweep.header["spec"], "name": sweep.header["name"], "storage": str(storage)})
    check_named(filter(is_user_kind, _kinds(spec, sweep)), models)
    uri = store_of(sweep, place, tracking_uri)
    tracking = spec.tracking.model_copy(update={"uri": uri, "offline": offline})
    # What earlier sweeps know stands in the journal, once a trial was asked for.
    search = spec.search.model_copy(update={"warm_start": () if sweep.trials else spec.search.warm_start})
    spec = spec.model_copy(update={"tracking": tracking, "search": search})
    plan = make_plan(spec, data_dir, begun=sweep.header)
    if former := _former_rates(plan, sweep):
        config = unflatten({**flatten(spec.config), **former})
        plan = make_plan(spec.model_copy(update={"config": config}), data_dir, begun=sweep.header)
    plan = replace(plan, spec=_as_planned(plan.spec, spec.search.trials))
    _check_same(plan, sweep)
    _check_points(plan, sweep, more_trials)
    return plan, uri


def _as_planned(spec: SweepSpec, n_trials: int) -> SweepSpec:
    """With the trials it was begun with: an older sweep may have trained combinations twice."""
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": n_trials})})


def _former_rates(plan: Plan, sweep: Sweep) -> dict[str, Any]:
    """What the sweep's first trial says of its learning rate where today's defaults say otherwise; by path.

    A sweep goes on by the rates it began with: its trials stay comparable.
    """
    first = next(iter(sweep.trials.values()), None)
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


def _check_same(plan: Plan, sweep: Sweep) -> None:
    """The journal's decisions hold only for the space and the rungs they were made in."""
    header = sweep.header
    found = {
        "space": plan.space.to_mapping(),
        "kappa_max": plan.facts.kappa_max,
        "rungs": list(plan.rungs),
        "epochs": plan.epochs,
    }
    changed = [name for name, value in found.items() if header.get(name, value) != value]
    if changed:
        raise UserError(
            f"sweep {header['name']} cannot go on: its {' and '.join(changed)} would differ; are the data, or the "
            f"version (then {header['versions']['vae-tuner']}), another than when it began?"
        )
