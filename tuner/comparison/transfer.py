"""Transfer: what is lost by taking the best trial's dial and learning rate of one data set unchanged to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainables.config.paths import parse_config, unflatten
from trainables.data.readers import absolute
from trainables.errors import UserError
from trainables.ranking import sign_of
from tuner.comparison.design import Design, Run, Trained
from tuner.comparison.methods import LR, free_paths
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
from tuner.comparison.statistics import Interval, mean_interval
from tuner.comparison.tuning_cost import shares_of_ends
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.metrics import direction_of, on_test_data
from tuner.sweeps.state import fold

KAPPA = "objective.kappa"
OWN = "own"


@dataclass(frozen=True)
class Side:
    """One of the two data sets. best: by method, the trial of its pool that is best by `metric` on validation data."""

    dataset: str
    design: Design
    metric: str
    best: Mapping[str, Trained]


@dataclass(frozen=True)
class Candidate:
    """What is trained anew on a data set. how: `own`, of its pool; else of the other's: `unchanged`, or with GECO's κ
    `absolute` or `relative` to κ_max."""

    how: str
    run: Run

    @property
    def dials(self) -> dict[str, Any]:
        """What a search would have to find."""
        return {path: self.run.full[path] for path in (*free_paths(self.run.method), LR)}


@dataclass(frozen=True)
class Transferred:
    """A method's best trial of the data set `origin` on `target`, beside target's own best on the same fresh seeds.

    loss: of the test metric by taking it over, the mean over seeds with its 95 % interval, positive where the own best
    is better; None where fewer than two seeds have trained to their end with both. ends: shares of how its runs ended.
    """

    origin: str
    target: str
    method: str
    how: str
    dials: Mapping[str, Any]
    own_dials: Mapping[str, Any]
    loss: Interval | None
    ends: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**vars(self), "loss": self.loss and vars(self.loss)}


def best_trials(pool: Sequence[Trained], metric: str) -> dict[str, Trained]:
    """The best trial of each method by validation.

    Parameters
    ----------
    pool
        Ends of random trials.
    metric
        As `val/elbo_cal`.

    Returns
    -------
    dict of str to Trained
        By method; one of which all trials diverged has none.
    """
    sign = sign_of(direction_of(metric))
    found: dict[str, Trained] = {}
    for each in sorted((each for each in pool if each.completed), key=lambda each: -sign * each.val[metric]):
        found.setdefault(each.run.method, each)
    return {method: found[method] for method in dict.fromkeys(each.run.method for each in pool) if method in found}


def candidates(origin: Side, target: Side) -> list[Candidate]:
    """What is trained on the target's data.

    Parameters
    ----------
    origin, target
        The two data sets.

    Returns
    -------
    list of Candidate
        Method by method, the target's own best first.
    """
    ratio = target.design.scale.kappa_max / origin.design.scale.kappa_max
    found = []
    for method, own in target.best.items():
        if method in origin.best:
            carried = origin.best[method].run
            found += [Candidate(OWN, own.run), *_carried(carried, ratio)]
    return found


def _carried(run: Run, ratio: float) -> list[Candidate]:
    if KAPPA not in run.assignment:
        return [Candidate("unchanged", run)]
    relative = {**run.assignment, KAPPA: ratio * run.assignment[KAPPA]}
    return [Candidate("absolute", run), Candidate("relative", replace(run, assignment=relative))]


def runs_of(stage: str, found: Sequence[Candidate], seeds: Sequence[int]) -> list[Run]:
    """Every candidate on every seed.

    Parameters
    ----------
    stage
        Its name.
    found
        The candidates.
    seeds
        By which nothing was chosen.

    Returns
    -------
    list of Run
        Candidate by candidate.
    """
    return [replace(each.run, stage=stage, seed=seed) for each in found for seed in seeds]


def answer_transfer(
    origin: Side, target: Side, found: Sequence[Candidate], trained: Sequence[Trained]
) -> list[Transferred]:
    """What is lost by taking a data set's best trials to another.

    Parameters
    ----------
    origin, target
        The two data sets.
    found
        The candidates on the target's data.
    trained
        The ends of their runs, in their order.

    Returns
    -------
    list of Transferred
        For each candidate that is not the target's own.
    """
    n_seeds = len(trained) // max(1, len(found))
    answers = []
    for i, candidate in enumerate(found):
        ends = trained[i * n_seeds : (i + 1) * n_seeds]
        if candidate.how == OWN:
            own, own_ends = candidate, ends
            continue
        answers.append(
            Transferred(
                origin.dataset,
                target.dataset,
                candidate.run.method,
                candidate.how,
                candidate.dials,
                own.dials,
                _loss(own_ends, ends, target.metric),
                shares_of_ends(ends),
            )
        )
    return answers


def _loss(own: Sequence[Trained], carried: Sequence[Trained], metric: str) -> Interval | None:
    """Paired by seed."""
    sign = sign_of(direction_of(metric))
    name = on_test_data(metric)
    pairs = [(a.test[name], b.test[name]) for a, b in zip(own, carried, strict=True) if a.completed and b.completed]
    return mean_interval([sign * (a - b) for a, b in pairs]) if len(pairs) > 1 else None


LAST_STAGE = "target"
SCALING = "lr.scaling"
ALIKE = ("model", "methods", "epochs", "quick", "settings")


def other_comparison(request: Request, design: Design, storage: Path, data_dir: Path) -> tuple[Request, Design]:
    """The comparison that a request names, to exchange dials with.

    Parameters
    ----------
    request
        With `transfer`.
    design
        What it amounts to.
    storage
        Folder that holds the sweeps.
    data_dir
        Folder of the built-in data sets.

    Returns
    -------
    tuple of Request and Design
        The other one's.

    Raises
    ------
    UserError
        Nothing can be exchanged with it.
    """
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
            f"transfer: comparison {name} and this one must both be of bits or both of gray values; no setting means "
            "the same for both"
        )
    check_same_rule(name, _rule(other_design), _rule(design))
    return other, other_design


def _rule(design: Design) -> Any:
    """The rule by which its learning rates follow the batch size; None where they are used as they are."""
    return schedule_of(parse_config(unflatten(design.base))).get(SCALING)


def check_same_rule(name: str, theirs: str | None, ours: str | None) -> None:
    """Refuse learning rates that follow the batch size by another rule.

    Parameters
    ----------
    name
        Of the other comparison.
    theirs, ours
        The rules; None where rates are used as they are.

    Raises
    ------
    UserError
        They differ.
    """
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
