"""What is known of trials at the end of an epoch: the means of their steps, one evaluation, and how each ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from trainables import metrics
from trainables.likelihoods import Likelihood
from trainables.models import Params, Prior
from trainables.objectives import Ending, EpochEnd, State
from trainables.training.outcomes import ending_of
from trainables.training.step import Members, Record

if TYPE_CHECKING:
    from trainables.training.trainer import Trainer

TRAIN = ("train/loss", "train/recon_nll", "train/kl", "train/grad_norm")


@dataclass(frozen=True)
class Report:
    """The end of an epoch.

    Attributes
    ----------
    epoch
        From 1.
    metrics
        By name; only finite ones.
    diverged
        Whether the loss or a parameter became NaN or infinite.
    outcome
        At the last epoch, unless diverged: worse-than-mean, or how the constraint stood; `ok` without a constraint.
    """

    epoch: int
    metrics: dict[str, float]
    diverged: bool
    outcome: str | None


def reports_of(trainers: Sequence[Trainer], members: Members, steps: Iterator[Record]) -> list[Report]:
    """Take the steps of an epoch, and evaluate.

    Parameters
    ----------
    trainers
        The trials, in the order of the members.
    members
        Their states, which the steps bring forward.
    steps
        Of the epoch; the host waits for the device once they are taken.

    Returns
    -------
    list of Report
        One each. The time of an epoch is a member's share of that of all.
    """
    started = time.perf_counter()
    records = [*steps]
    means = [torch.stack(column, 1).mean(1) for column in list(zip(*records, strict=True))[:-1]]
    finite = members.params.isfinite().all(1).to(means[0].dtype)
    train = torch.stack([*means, finite]).T.tolist()
    trained = time.perf_counter()
    n_examples = trainers[0].steps_per_epoch * trainers[0].config.batch_size
    reports = []
    for end, (*own, is_finite) in zip(_ends(trainers, members, records), train, strict=True):
        values = {**dict(zip(TRAIN, own, strict=True)), **end.metrics()}
        diverged = not (is_finite and all(map(math.isfinite, own)))
        ending = end.ending() if end.is_last else None
        values |= ending.metrics if ending else {}
        values["epoch"] = float(end.epoch)
        outcome = ending.outcome if ending and not diverged else None
        reports.append(Report(end.epoch, finite_ones(values), diverged, outcome))
    share = 1 / len(trainers)
    times = {
        "time/epoch_s": share * (time.perf_counter() - started),
        "time/samples_per_s": n_examples / (share * (trained - started)),
    }
    return [replace(report, metrics=report.metrics | times) for report in reports]


def _states_of_steps(members: Members, records: Sequence[Record]) -> list[State]:
    """The objective's state of each member after each step, [steps] by name."""
    found = []
    for where, states in zip(members.formulas, zip(*(record.states for record in records), strict=True), strict=True):
        columns = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        found += [{name: column[:, i] for name, column in columns.items()} for i in range(where.stop - where.start)]
    return found


class _End(NamedTuple):
    """A member at the end of an epoch, whose number the trial itself does not have yet.

    states: of the objective, [steps] by name. shared: the metrics that were taken of all members at once.
    """

    trainer: Trainer
    params: Params
    states: State
    shared: dict[str, float]
    val: metrics.Evaluation
    train_eval: metrics.Evaluation

    @property
    def epoch(self) -> int:
        return self.trainer.epoch + 1

    @property
    def is_last(self) -> bool:
        return self.epoch == self.trainer.config.epochs

    def metrics(self) -> dict[str, float]:
        """All but those of its train steps."""
        trainer, values = self.trainer, dict(self.shared)
        if self.is_last or self.epoch % trainer.config.metrics.every == 0:
            values |= _aggregate_metrics(self.val, trainer.program.prior)
            values |= {"train_eval/elbo": float(self.train_eval.elbo())} | trainer.nll_metrics("val", self.params)
        last = trainer.next_steps[-1:]
        rate = float(trainer.config.lr.at(last, trainer.total_steps, trainer.config.batch_size)[0])
        beta = float(trainer.beta.at(last, trainer.total_steps)[0])
        end = EpochEnd(self.states, beta, self.params, trainer.program.likelihood, values)
        return values | {"schedule/lr": rate} | trainer.program.objective.metrics(end)

    def ending(self) -> Ending:
        """How the trial ended."""
        trainer, state = self.trainer, {name: value[-1] for name, value in self.states.items()}
        x = trainer.examples("val")
        return ending_of(trainer.program, state, trainer.dataset, x, self.val, self.train_eval)


def _ends(trainers: Sequence[Trainer], members: Members, records: Sequence[Record]) -> Iterator[_End]:
    """Each member at the end, from one pass over validation and one over training examples."""
    values = {name: value.detach() for name, value in {**members.named, **members.buffers}.items()}
    first, scales = trainers[0], _stacked_scales(trainers)
    val, train_eval = (
        metrics.evaluate_members(first.program, values, first.examples(part), first.evaluation_noise(part), scales)
        for part in ("val", "train_eval")
    )
    shared = shared_metrics(first.program.likelihood, val, train_eval, first.n_elements, "val")
    errors = metrics.squared_errors(first.program, values, first.examples("val"), val.mean, scales)
    shared["val/mse_mean_z"] = errors.mean(-1) / first.n_elements
    shared["train_eval/mse"] = train_eval.sse.mean(-1) / first.n_elements
    numbers = torch.stack([value.double() for value in shared.values()]).T.tolist()
    for i, (trainer, states, row) in enumerate(zip(trainers, _states_of_steps(members, records), numbers, strict=True)):
        own = {name: value[i] for name, value in values.items()}
        yield _End(trainer, own, states, dict(zip(shared, row, strict=True)), val.of_member(i), train_eval.of_member(i))


def _stacked_scales(trainers: Sequence[Trainer]) -> dict[str, Tensor]:
    return {name: torch.stack([each.scales[name] for each in trainers]) for name in trainers[0].scales}


def shared_metrics(
    likelihood: Likelihood, found: metrics.Evaluation, train: metrics.Evaluation, n_elements: int, part: str
) -> dict[str, Tensor]:
    """The metrics of one pass, of one trial or of several.

    Parameters
    ----------
    likelihood
        p(x|z).
    found
        The result of the pass.
    train
        That on training examples.
    n_elements
        D.
    part
        `val` or `test`, with which the names begin.

    Returns
    -------
    dict of str to Tensor
        `val/elbo` and the others.
    """
    own = likelihood.metrics(found, train, n_elements)
    return {
        **fit_metrics(found, n_elements, part),
        f"{part}/active_units": metrics.active_units(found.mean),
        **{f"{part}/{name}": value for name, value in own.items()},
    }


def fit_metrics(found: metrics.Evaluation, n_elements: int, part: str) -> dict[str, Tensor]:
    """ELBO, its two terms, and the squared error.

    Parameters
    ----------
    found, n_elements, part
        As for `shared_metrics`.

    Returns
    -------
    dict of str to Tensor
        By name.
    """
    return {
        f"{part}/elbo": found.elbo(),
        f"{part}/recon_nll": found.recon_nll.mean(-1),
        f"{part}/kl": found.kl.sum(-1).mean(-1),
        f"{part}/mse": found.sse.mean(-1) / n_elements,
    }


def _aggregate_metrics(val: metrics.Evaluation, prior: Prior) -> dict[str, float]:
    """Of the aggregate posterior: marginal KL and mutual information are of the same examples."""
    some = slice(metrics.AGGREGATE_EXAMPLES)
    mean, log_variance, z = val.mean[some], val.log_variance[some], val.z[some]
    information = float(metrics.mutual_information(mean, log_variance, z))
    return {
        "val/agg_kl_gauss": float(metrics.agg_kl_gauss(val.mean, val.log_variance, prior)),
        "val/mutual_info": information,
        "val/mi_cap": math.log(len(z)),
        "val/mi_saturated": float(metrics.saturated(information, len(z))),
        "val/marginal_kl": float(val.kl[some].sum(-1).mean()) - information,
    }


def finite_ones(values: Mapping[str, float]) -> dict[str, float]:
    """The metrics that can be reported."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
