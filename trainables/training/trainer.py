"""Drives the train step for one trial and yields a report per epoch; the host never waits for the device within one."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainables import metrics
from trainables.config import TrialConfig
from trainables.data.dataset import Dataset
from trainables.files.checkpoint import Checkpoint
from trainables.identity import Identity, versions
from trainables.models import Params, code_of
from trainables.objectives import Ending, EpochEnd, State
from trainables.program import build_program
from trainables.random_streams import generator
from trainables.schedules.beta import ConstantBeta
from trainables.schedules.curves import Curve
from trainables.training.outcomes import ending_of
from trainables.training.step import Record, advance
from trainables.values import steps_per_epoch

NOISE_BLOCK = 64
TRAIN_EVAL_EXAMPLES = 1_000


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


class Trainer:
    """One trial: a function of (resolved configuration, data).

    Parameters
    ----------
    config
        A resolved configuration, without `auto`.
    dataset
        On the configuration's device.

    Attributes
    ----------
    epoch
        The epochs that are trained.
    params, buffers, optimizer, state
        The trained parameters, the model's buffers, the optimiser's state and the objective's.
    program
        The parts of the trial that are not tensors.
    """

    def __init__(self, config: TrialConfig, dataset: Dataset) -> None:
        torch.set_num_threads(int(config.threads))
        self.config = config
        self.dataset = dataset
        self.device = torch.device(config.device)
        self.epoch = 0
        self.steps_per_epoch = steps_per_epoch(len(dataset.train), config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self.n_elements = dataset.train.shape[1]
        self.program = build_program(config, dataset.shape, self.total_steps)
        initial = self.program.model.init(config.seed, self.device) | self.program.likelihood.init(self.device)
        self.params = self._trainable(initial)
        self.buffers = self.program.model.buffers(self.device)
        self.optimizer = self.program.optimizer.init(self.params)
        self.state: State = {name: self._tensor(value) for name, value in self.program.objective.init().items()}
        self._constants = {name: self._tensor(value) for name, value in self.program.objective.constants().items()}
        self.scales = {name: self._tensor(value) for name, value in self.program.likelihood.scales().items()}
        self._beta = config.beta or ConstantBeta()
        self._evaluation = {
            "val": dataset.floats(dataset.val),
            "train_eval": dataset.train_batch(
                torch.arange(min(TRAIN_EVAL_EXAMPLES, len(dataset.train)), device=self.device),
                config.data.split_seed,
                step=0,
            ),
        }

    def _tensor(self, value: float | tuple[float, ...] | Curve) -> Tensor:
        return torch.tensor(value, dtype=torch.float32, device=self.device)

    @property
    def group(self) -> Hashable:
        """What trials have in common that can train in one step: everything that decides on shapes and kernels."""
        config = self.config
        return config.device, config.data, config.model, config.optimizer.kind, config.batch_size, config.threads

    @property
    def values(self) -> Params:
        """The parameters and buffers, as `encode` and `decode` take them."""
        return {**self.params, **self.buffers}

    @staticmethod
    def _trainable(params: Params) -> Params:
        return {name: value.requires_grad_() for name, value in params.items()}

    def train_epoch(self) -> Report:
        """Train one epoch and evaluate.

        Returns
        -------
        Report
            Of this epoch.
        """
        started = time.perf_counter()
        records, states = [], []
        for record in self.steps():
            records.append(record)
            states.append(self.state)
        means = torch.stack([torch.stack(column).mean() for column in zip(*records, strict=True)])
        params_finite = torch.stack([value.isfinite().all() for value in self.params.values()]).all()
        *train, finite = torch.cat([means, params_finite[None].to(means.dtype)]).tolist()
        trained = time.perf_counter()
        values = dict(zip(("train/loss", "train/recon_nll", "train/kl", "train/grad_norm"), train, strict=True))
        val, train_eval = self.evaluation("val"), self.evaluation("train_eval")
        values |= self._evaluate(val, train_eval)
        values |= self._schedule_metrics(states, values)
        ending = self._ending(val, train_eval) if self.epoch == self.config.epochs else None
        values |= ending.metrics if ending else {}
        values["epoch"] = float(self.epoch)
        values["time/epoch_s"] = time.perf_counter() - started
        values["time/samples_per_s"] = self.steps_per_epoch * self.config.batch_size / (trained - started)
        diverged = not (finite and all(math.isfinite(value) for value in train))
        return Report(self.epoch, _finite(values), diverged, ending.outcome if ending and not diverged else None)

    def steps(self) -> Iterator[Record]:
        """The train steps of the next epoch; each is taken when the iterator is advanced."""
        first = self.epoch * self.steps_per_epoch
        steps = np.arange(first, first + self.steps_per_epoch, dtype=np.float64)
        rates = self.config.lr.at(steps, self.total_steps, self.config.batch_size).tolist()
        scheduled = self._scheduled(steps)
        order = torch.split(self._order()[: self.steps_per_epoch * self.config.batch_size], self.config.batch_size)
        batches = self.dataset.train_batches(order, self.config.seed, first)
        for i, (batch, noise) in enumerate(zip(batches, self._noise(first), strict=True)):
            hyper = self._constants | {name: values[i] for name, values in scheduled.items()}
            self.buffers, self.state, record = advance(
                self.program, self.params, self.buffers, self.optimizer, self.state, batch, noise, hyper, rates[i]
            )
            yield record
        self.epoch += 1

    def _scheduled(self, steps: Curve) -> dict[str, tuple[Tensor, ...]]:
        """The scheduled numbers of each step. GQN's β is in its σ: at β = 1, σ_t weighs like (σ_t/σ)² at σ."""
        factors = self._beta.sigma_factor_at(steps, self.total_steps)
        curves = {
            "beta": self._beta.at(steps, self.total_steps) / factors**2,
            "progress": steps / self.total_steps,
            **{name: scale * factors for name, scale in self.program.likelihood.scales().items()},
        }
        return {name: self._tensor(curve).unbind() for name, curve in curves.items()}

    def _order(self) -> Tensor:
        """The epoch's permutation of the training examples."""
        draw = generator(self.device, self.config.seed, "order", self.epoch)
        return torch.randperm(len(self.dataset.train), generator=draw, device=self.device)

    def _noise(self, first: int) -> Iterator[Tensor]:
        """The noise [K, B, M] of each step of an epoch, drawn in blocks that depend on (seed, step, K) alone."""
        samples = self.program.objective.samples
        block_steps = max(1, NOISE_BLOCK // samples)
        shape = (block_steps, samples, self.config.batch_size, self.program.model.latent_dim)
        block = -1
        for step in range(first, first + self.steps_per_epoch):
            if step // block_steps != block:
                block = step // block_steps
                draw = generator(self.device, self.config.seed, "noise", block)
                noises = torch.randn(shape, generator=draw, device=self.device)
            yield noises[step % block_steps]

    def _evaluate(self, val: metrics.Evaluation, train: metrics.Evaluation) -> dict[str, float]:
        values = self.fit_metrics(val, "val") | {
            "val/active_units": metrics.active_units(val.mean),
            "train_eval/mse": train.sse.mean() / self.n_elements,
            **self._likelihood_metrics(val, train, "val"),
        }
        if self.epoch == self.config.epochs or self.epoch % self.config.metrics.every == 0:
            values |= self._aggregate_metrics(val) | {"train_eval/elbo": train.elbo()} | self._nll_metrics("val")
        numbers = dict(zip(values, torch.stack([value.double() for value in values.values()]).tolist(), strict=True))
        return numbers | self._mutual_information_metrics(numbers, val)

    def evaluation(self, part: str, sample: int = 0) -> metrics.Evaluation:
        """One pass over a part of the data.

        Parameters
        ----------
        part
            `val`, `test`, or `train_eval` for the first training examples.
        sample
            The number of the noise.

        Returns
        -------
        Evaluation
            Terms of each example.
        """
        x = self._examples(part)
        noise = metrics.evaluation_noise(
            len(x), self.program.model.latent_dim, self.config.data.split_seed, part, self.device, sample
        )
        return metrics.evaluate(self.program, self.values, x, noise, self.scales)

    def importance_nll(self, part: str, samples: int) -> metrics.ImportanceEstimate:
        """The NLL of the first 1,000 examples of a part.

        Parameters
        ----------
        part
            `val` or `test`.
        samples
            K, the importance samples.

        Returns
        -------
        ImportanceEstimate
            Of each example.
        """
        x = self._examples(part)[: metrics.NLL_EXAMPLES]
        where = len(x), self.program.model.latent_dim, self.config.data.split_seed, f"nll/{part}", self.device
        noise = partial(metrics.evaluation_noise, *where)
        return metrics.importance_nll(self.program, self.values, x, self.scales, samples, noise)

    def _examples(self, part: str) -> Tensor:
        return self._evaluation[part] if part in self._evaluation else self.dataset.floats(self.dataset.test)

    def _nll_metrics(self, part: str) -> dict[str, Tensor]:
        samples = self.config.metrics.nll_samples
        if samples is None:
            return {}
        found = self.importance_nll(part, samples)
        return {name: value.mean() for name, value in found.by_name(part).items()}

    def fit_metrics(self, found: metrics.Evaluation, part: str) -> dict[str, Tensor]:
        """The metrics of the fit, from one pass.

        Parameters
        ----------
        found
            The result of the pass.
        part
            `val` or `test`, with which the names begin.

        Returns
        -------
        dict of str to Tensor
            `val/elbo` and the others.
        """
        return {
            f"{part}/elbo": found.elbo(),
            f"{part}/recon_nll": found.recon_nll.mean(),
            f"{part}/kl": found.kl.sum(-1).mean(),
            f"{part}/mse": found.sse.mean() / self.n_elements,
            f"{part}/mse_mean_z": found.sse_mean_z.mean() / self.n_elements,
        }

    def _likelihood_metrics(self, found: metrics.Evaluation, train: metrics.Evaluation, part: str) -> dict[str, Tensor]:
        own = self.program.likelihood.metrics(found, train, self.n_elements)
        return {f"{part}/{name}": value for name, value in own.items()}

    def _aggregate_metrics(self, val: metrics.Evaluation) -> dict[str, Tensor]:
        some = slice(metrics.AGGREGATE_EXAMPLES)
        return {
            "val/agg_kl_gauss": metrics.agg_kl_gauss(val.mean, val.log_variance, self.program.prior),
            "val/mutual_info": metrics.mutual_information(val.mean[some], val.log_variance[some], val.z[some]),
        }

    @staticmethod
    def _mutual_information_metrics(values: dict[str, float], val: metrics.Evaluation) -> dict[str, float]:
        """The marginal KL and the mutual information of the same examples."""
        if "val/mutual_info" not in values:
            return {}
        some = slice(metrics.AGGREGATE_EXAMPLES)
        n = len(val.z[some])
        return {
            "val/mi_cap": math.log(n),
            "val/mi_saturated": float(metrics.saturated(values["val/mutual_info"], n)),
            "val/marginal_kl": float(val.kl[some].sum(-1).mean()) - values["val/mutual_info"],
        }

    def test_metrics(self) -> dict[str, float]:
        """`test/*`: for a final report, never for a search."""
        test, train = self.evaluation("test"), self.evaluation("train_eval")
        values = self.fit_metrics(test, "test") | {"test/active_units": metrics.active_units(test.mean)}
        values |= self._likelihood_metrics(test, train, "test") | self._nll_metrics("test")
        return _finite({name: float(value) for name, value in values.items()})

    def _schedule_metrics(self, states: list[State], val: dict[str, float]) -> dict[str, float]:
        """The rate of the epoch's last step, and the objective's metrics."""
        last = np.array([self.epoch * self.steps_per_epoch - 1], dtype=np.float64)
        rate = float(self.config.lr.at(last, self.total_steps, self.config.batch_size)[0])
        beta = float(self._beta.at(last, self.total_steps)[0])
        end = EpochEnd(states, beta, self.params, self.program.likelihood, val)
        return {"schedule/lr": rate} | self.program.objective.metrics(end)

    def _ending(self, val: metrics.Evaluation, train_eval: metrics.Evaluation) -> Ending:
        return ending_of(self.program, self.state, self.dataset, self._evaluation["val"], val, train_eval)

    @property
    def identity(self) -> Identity:
        """The data, the code and the versions that its numbers come from."""
        return Identity(self.dataset.digest, code_of(self.program.model), versions())

    def checkpoint(self, report: Report | None = None) -> Checkpoint:
        """The trial's whole state.

        Parameters
        ----------
        report
            That of its epoch.

        Returns
        -------
        Checkpoint
            As `restore` takes it.
        """
        groups = {"params": self.params, "buffers": self.buffers, "state": self.state, **self.optimizer}
        metrics, outcome = (report.metrics, report.outcome) if report else ({}, None)
        data = self.dataset
        return Checkpoint(
            self.config, self.epoch, data.shape, groups, metrics, outcome, self.identity, data.value_range
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, to the numbers of an uninterrupted run.

        Parameters
        ----------
        checkpoint
            Of the same configuration. State and buffers that an older file does not have begin anew.
        """
        # a file sorts its tensors, and the gradient norm is a sum in the order of the parameters
        begun = {"state": self.state, "buffers": self.buffers}
        begun = {name: {**own, **checkpoint.groups.get(name, {})} for name, own in begun.items()}
        found = {**checkpoint.groups, **begun}
        ordered = {group: {name: found[group][name] for name in own} for group, own in self.checkpoint().groups.items()}
        self.epoch = checkpoint.epoch
        self.params = self._trainable(ordered["params"])
        self.optimizer = {moment: ordered[moment] for moment in self.optimizer}
        self.state, self.buffers = ordered["state"], ordered["buffers"]


def _finite(values: dict[str, float]) -> dict[str, float]:
    """The metrics that can be reported."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
