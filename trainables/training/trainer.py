"""Drives the train step for one trial and yields a report per epoch. No host synchronisation inside an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainables import metrics, optimizers, schedules
from trainables.config import TrialConfig
from trainables.data.dataset import Dataset
from trainables.files.checkpoint import Checkpoint
from trainables.identity import Identity, versions
from trainables.likelihoods import learned_sigma
from trainables.models import Params, build_model, code_of
from trainables.objectives import GecoObjective, State, build_objective
from trainables.optimizers import LrGroups, OptimizerState
from trainables.program import Program
from trainables.random_streams import generator
from trainables.resolve import output_of, steps_per_epoch
from trainables.training.outcomes import Ending, ending_of
from trainables.training.step import Record, advance

__all__ = ["Report", "Trainer", "build_program"]

NOISE_BLOCK = 64
TRAIN_EVAL_EXAMPLES = 1_000


@dataclass(frozen=True)
class Report:
    """What an epoch ended with.

    outcome: at the last epoch, unless diverged: worse-than-mean, or how the constraint stood, `ok` where there is none.
    """

    epoch: int
    metrics: dict[str, float]
    diverged: bool
    outcome: str | None


def build_program(config: TrialConfig, shape: tuple[int, ...], total_steps: int) -> Program:
    """What is static about a trial of a resolved configuration."""
    return Program(
        build_model(config.model, shape),
        build_objective(config, math.prod(shape), total_steps),
        config.data.likelihood,
        output_of(config),
        config.optimizer,
        LrGroups(config.lr.encoder, config.lr.decoder),
    )


class Trainer:
    """One trial: a function of (resolved configuration, data)."""

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
        self._sigma = config.model.sigma if isinstance(config.model.sigma, float) else 1.0
        self.params = self._trainable(self._initial_params())
        self.optimizer = optimizers.init(config.optimizer, self.params)
        self.state: State = {name: self._tensor(value) for name, value in self.program.objective.init().items()}
        self._constants = {name: self._tensor(value) for name, value in self.program.objective.constants().items()}
        self._evaluation = {
            "val": dataset.floats(dataset.val),
            "train_eval": dataset.train_batch(
                torch.arange(min(TRAIN_EVAL_EXAMPLES, len(dataset.train)), device=self.device),
                config.data.split_seed,
                step=0,
            ),
        }

    def _tensor(self, value: float | tuple[float, ...] | schedules.Curve) -> Tensor:
        return torch.tensor(value, dtype=torch.float32, device=self.device)

    def _initial_params(self) -> Params:
        params = self.program.model.init(self.config.seed, self.device)
        return params | learned_sigma.init(self._sigma, self.device) if self.config.model.learn_sigma else params

    @property
    def sigma(self) -> Tensor:
        """σ of the likelihood that evaluations take: as learned so far, else `model.sigma`."""
        return learned_sigma.sigma_of(self.params, {"sigma": self._tensor(self._sigma)}).detach()

    @staticmethod
    def _trainable(params: Params) -> Params:
        return {name: value.requires_grad_() for name, value in params.items()}

    def train_epoch(self) -> Report:
        """Train one epoch, evaluate, and say how it stands."""
        started = time.perf_counter()
        records, log_weights = [], []
        for record in self.steps():
            records.append(record)
            log_weights += [self.state["log_lambda"]] if "log_lambda" in self.state else []
        means = torch.stack([torch.stack(column).mean() for column in zip(*records, strict=True)])
        params_finite = torch.stack([value.isfinite().all() for value in self.params.values()]).all()
        *train, finite = torch.cat([means, params_finite[None].to(means.dtype)]).tolist()
        trained = time.perf_counter()
        values = dict(zip(("train/loss", "train/recon_nll", "train/kl", "train/grad_norm"), train, strict=True))
        val, train_eval = self.evaluation("val"), self.evaluation("train_eval")
        values |= self._evaluate(val, train_eval) | self._schedule_metrics()
        values |= self._val_violation(values)
        if log_weights:
            values["geco/lambda_median"] = float(torch.stack(log_weights).median().exp())
        ending = self._ending(val, train_eval) if self.epoch == self.config.epochs else None
        values |= ending.metrics if ending else {}
        values["epoch"] = float(self.epoch)
        values["time/epoch_s"] = time.perf_counter() - started
        values["time/samples_per_s"] = self.steps_per_epoch * self.config.batch_size / (trained - started)
        diverged = not (finite and all(math.isfinite(value) for value in train))
        return Report(self.epoch, _finite(values), diverged, ending.outcome if ending and not diverged else None)

    def steps(self) -> Iterator[Record]:
        """The train steps of the next epoch, each taken when its record is asked for."""
        first = self.epoch * self.steps_per_epoch
        steps = np.arange(first, first + self.steps_per_epoch, dtype=np.float64)
        rates = schedules.lr_at(self.config.lr, steps, self.total_steps, self.config.batch_size).tolist()
        scheduled = self._scheduled(steps)
        order = torch.split(self._order()[: self.steps_per_epoch * self.config.batch_size], self.config.batch_size)
        batches = self.dataset.train_batches(order, self.config.seed, first)
        for i, (batch, noise) in enumerate(zip(batches, self._noise(first), strict=True)):
            hyper = self._constants | {name: values[i] for name, values in scheduled.items()}
            self.state, record = advance(
                self.program, self.params, self.optimizer, self.state, batch, noise, hyper, rates[i]
            )
            yield record
        self.epoch += 1

    def _scheduled(self, steps: schedules.Curve) -> dict[str, tuple[Tensor, ...]]:
        """What the loss takes at each step. GQN's β is in its σ: at β = 1, σ_t weighs like (σ_t/σ)² at σ."""
        factors = schedules.sigma_factor_at(self.config.beta, steps, self.total_steps)
        curves = {
            "beta": self._betas(steps) / factors**2,
            "sigma": self._sigma * factors,
            "progress": steps / self.total_steps,
        }
        return {name: self._tensor(curve).unbind() for name, curve in curves.items()}

    def _betas(self, steps: schedules.Curve) -> schedules.Curve:
        """The weight of the KL, or under GQN what it amounts to."""
        if self.config.beta is None:
            return np.ones(len(steps))
        return schedules.beta_at(self.config.beta, steps, self.total_steps)

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
        }
        if self.config.data.likelihood == "gaussian":
            values["val/elbo_cal"] = metrics.calibrated_elbo(val, train, self.n_elements)
        if self.epoch == self.config.epochs or self.epoch % self.config.metrics.every == 0:
            values |= self._aggregate_metrics(val) | {"train_eval/elbo": train.elbo()} | self._nll_metrics("val")
        numbers = dict(zip(values, torch.stack([value.double() for value in values.values()]).tolist(), strict=True))
        return numbers | self._mutual_information_metrics(numbers, val)

    def evaluation(self, part: str, sample: int = 0) -> metrics.Evaluation:
        """One pass over the validation (`val`), test, or first training examples (`train_eval`), under the noise of
        this number."""
        x = self._examples(part)
        noise = metrics.evaluation_noise(
            len(x), self.program.model.latent_dim, self.config.data.split_seed, part, self.device, sample
        )
        return metrics.evaluate(self.program, self.params, x, noise, self.sigma)

    def importance_nll(self, part: str, samples: int) -> metrics.ImportanceEstimate:
        """The NLL of the first 1,000 validation (`val`) or test examples by K importance samples."""
        x = self._examples(part)[: metrics.NLL_EXAMPLES]
        where = len(x), self.program.model.latent_dim, self.config.data.split_seed, f"nll/{part}", self.device
        noise = partial(metrics.evaluation_noise, *where)
        return metrics.importance_nll(self.program, self.params, x, self.sigma, samples, noise)

    def _examples(self, part: str) -> Tensor:
        return self._evaluation[part] if part in self._evaluation else self.dataset.floats(self.dataset.test)

    def _nll_metrics(self, part: str) -> dict[str, Tensor]:
        samples = self.config.metrics.nll_samples
        if samples is None:
            return {}
        found = self.importance_nll(part, samples)
        return {name: value.mean() for name, value in found.by_name(part).items()}

    def fit_metrics(self, found: metrics.Evaluation, part: str) -> dict[str, Tensor]:
        """What one pass says of the fit."""
        return {
            f"{part}/elbo": found.elbo(),
            f"{part}/recon_nll": found.recon_nll.mean(),
            f"{part}/kl": found.kl.sum(-1).mean(),
            f"{part}/mse": found.sse.mean() / self.n_elements,
            f"{part}/mse_mean_z": found.sse_mean_z.mean() / self.n_elements,
        }

    def _aggregate_metrics(self, val: metrics.Evaluation) -> dict[str, Tensor]:
        some = slice(metrics.AGGREGATE_EXAMPLES)
        return {
            "val/agg_kl_gauss": metrics.agg_kl_gauss(val.mean, val.log_variance),
            "val/mutual_info": metrics.mutual_information(val.mean[some], val.log_variance[some], val.z[some]),
        }

    @staticmethod
    def _mutual_information_metrics(values: dict[str, float], val: metrics.Evaluation) -> dict[str, float]:
        """The marginal KL is of the examples that the mutual information is of."""
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
        if self.config.data.likelihood == "gaussian":
            values["test/elbo_cal"] = metrics.calibrated_elbo(test, train, self.n_elements)
        values |= self._nll_metrics("test")
        return _finite({name: float(value) for name, value in values.items()})

    def _schedule_metrics(self) -> dict[str, float]:
        """The values used in the epoch's last step."""
        last = np.array([self.epoch * self.steps_per_epoch - 1], dtype=np.float64)
        values = {
            "schedule/lr": float(schedules.lr_at(self.config.lr, last, self.total_steps, self.config.batch_size)[0])
        }
        if isinstance(self.program.objective, GecoObjective):
            return values | self._geco_metrics(self.program.objective)
        values["schedule/beta"] = float(self._betas(last)[0])
        if self.config.data.likelihood == "gaussian":
            sigma = float(self.sigma) if self.config.model.learn_sigma else self._sigma
            values["schedule/sigma_eq"] = math.sqrt(values["schedule/beta"]) * sigma
        return values

    def _geco_metrics(self, objective: GecoObjective) -> dict[str, float]:
        """λ, the constraint's moving average, and the β and σ that weigh the same."""
        weight, moving = math.exp(float(self.state["log_lambda"])), float(self.state["moving"])
        values = {"geco/lambda": weight, "geco/constraint": moving}
        if objective.constraint == "nll":
            return values | {"schedule/beta": 1 / weight}
        values["schedule/sigma_eq"] = math.sqrt(1 / (2 * weight))
        if isinstance(self.config.model.sigma, float):
            values["schedule/beta"] = 1 / (2 * weight * self.config.model.sigma**2)
        return values

    def _val_violation(self, values: dict[str, float]) -> dict[str, float]:
        """By how much of its target the constraint, kept on training data, is violated on validation data."""
        objective = self.program.objective
        if not isinstance(objective, GecoObjective):
            return {}
        distortion = values["val/mse"] if objective.constraint == "re" else values["val/recon_nll"] / self.n_elements
        return {"geco/val_violation": distortion / objective.target - 1}

    def _ending(self, val: metrics.Evaluation, train_eval: metrics.Evaluation) -> Ending:
        likelihood, x = self.config.data.likelihood, self._evaluation["val"]
        return ending_of(self.program.objective, self.state, likelihood, self.dataset, x, val, train_eval)

    @property
    def identity(self) -> Identity:
        """What its numbers come from."""
        return Identity(self.dataset.digest, code_of(self.program.model), versions())

    def checkpoint(self, report: Report | None = None) -> Checkpoint:
        """The trial's whole state, with the report of its epoch."""
        moments = {"first": self.optimizer.first, "second": self.optimizer.second, "count": self.optimizer.count}
        groups = {"params": self.params, "state": self.state, **moments}
        metrics, outcome = (report.metrics, report.outcome) if report else ({}, None)
        data = self.dataset
        return Checkpoint(
            self.config, self.epoch, data.shape, groups, metrics, outcome, self.identity, data.value_range
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint as if never interrupted; what an older one lacks of the objective's state begins."""
        # a file sorts its tensors, and the gradient norm is a sum in the order of the parameters
        found = {**checkpoint.groups, "state": {**self.state, **checkpoint.groups["state"]}}
        ordered = {group: {name: found[group][name] for name in own} for group, own in self.checkpoint().groups.items()}
        self.epoch = checkpoint.epoch
        self.params = self._trainable(ordered["params"])
        self.optimizer = OptimizerState(ordered["first"], ordered["second"], ordered["count"])
        self.state = ordered["state"]


def _finite(values: dict[str, float]) -> dict[str, float]:
    """What can be reported."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
