"""The comparison on other data with which dials are exchanged: found, finished, and alike in all but its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainables.config.paths import parse_config, unflatten
from trainables.data.readers import absolute
from trainables.errors import UserError
from tuner.comparison.design import Design
from tuner.comparison.request import (
    Request,
    as_begun,
    command_of,
    design_of,
    differing_paths,
    known_reach,
    read_request,
    schedule_of,
)
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.state import fold

__all__ = ["other_comparison"]

LAST_STAGE = "target"
SCALING = "lr.scaling"
ALIKE = ("model", "methods", "epochs", "quick", "settings")


def other_comparison(request: Request, design: Design, storage: Path, data_dir: Path) -> tuple[Request, Design]:
    """Of the one that a request names. Raises UserError for one with which nothing can be exchanged."""
    name = request.transfer
    assert name is not None
    other = read_request(storage / name)
    if other is None:
        raise UserError(f"transfer: there is no comparison {name} in {storage}; run it first with --name {name}")
    _check_alike(request, other)
    journal = storage / f"{name}.{LAST_STAGE}" / JOURNAL
    if not journal.exists() or fold(read_journal(journal)).resumable:
        raise UserError(f"transfer: comparison {name} is not finished; run this first: {command_of(other)}")
    other_design = as_begun(*design_of(other, data_dir), storage / f"{name}.pilot")
    other_design = other_design.reaching(known_reach(storage / name))
    if other_design.scale.constraint != design.scale.constraint:
        raise UserError(
            f"transfer: comparison {name} is of bits or of gray values, this one is not; no dial means both"
        )
    _check_same_rule(name, _rule(other_design), _rule(design))
    return other, other_design


def _rule(design: Design) -> Any:
    """By which rule its learning rates follow the batch size; None where they are used as they are."""
    return schedule_of(parse_config(unflatten(design.base))).get(SCALING)


def _check_same_rule(name: str, theirs: str | None, ours: str | None) -> None:
    if theirs and ours and theirs != ours:
        raise UserError(
            f"transfer: comparison {name} was begun with {SCALING} {theirs}, this one with {ours}, so that a learning "
            f"rate of one is another in the other; compare {name} anew under another name, or set {SCALING} in both"
        )


def _check_alike(request: Request, other: Request) -> None:
    if absolute(request.dataset) == absolute(other.dataset):
        raise UserError(f"transfer: comparison {other.name} is of the same data, {other.dataset}; name one of others")
    ours, theirs = ({field: getattr(each, field) for field in ALIKE} for each in (request, other))
    for path in differing_paths(theirs, ours):
        raise UserError(
            f"transfer: comparison {other.name} has another {path}; both must agree in all but their data: "
            f"{command_of(other)}"
        )
