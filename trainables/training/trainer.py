"""One trial: its state, its data, its next epoch, and its checkpoint."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainables import metrics
from trainables.config import TrialConfig
from trainables.data.dataset import Dataset
from trainables.files.checkpoint import Checkpoint
from trainables.identity import Identity, versions
from trainables.layout import Layout
from trainables.models import Params, code_of
from trainables.objectives import State
from trainables.program import build_program
from trainables.schedules.beta import BetaConfig, ConstantBeta
from trainables.schedules.curves import Curve
from trainables.training.members import Epoch, group_of, train_together
from trainables.training.report import Report, finite_ones, shared_metrics
from trainables.training.step import Record
from trainables.values import steps_per_epoch

TRAIN_EVAL_EXAMPLES = 1_000


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
    layout, flat
        The names and shapes of the trained parameters, and their values, [P].
    moments, buffers, state
        The optimiser's state, the model's buffers, and the objective's state.
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
        self.layout = Layout.of(initial)
        self.flat = self.layout.flat(initial)
        self.moments = self.program.optimizer.init(self.flat)
        self.buffers = self.program.model.buffers(self.device)
        self.state: State = {name: self._tensor(value) for name, value in self.program.objective.init().items()}
        self.scales = {name: self._tensor(value) for name, value in self.program.likelihood.scales().items()}
        self.beta: BetaConfig = config.beta or ConstantBeta()

    def _tensor(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float32, device=self.device)

    @property
    def group(self) -> Hashable:
        """Equal for trials that can train in one step, as `train_together` takes them."""
        return group_of(self.config) or id(self)

    @property
    def params(self) -> Params:
        """The trained parameters by name: views of `flat`."""
        return self.layout.views(self.flat)

    @property
    def values(self) -> Params:
        """The parameters and buffers, as `encode` and `decode` take them."""
        return {**self.params, **self.buffers}

    @property
    def next_steps(self) -> Curve:
        """The numbers of the next epoch's steps, from 0 at the first epoch's first."""
        first = self.epoch * self.steps_per_epoch
        return np.arange(first, first + self.steps_per_epoch, dtype=np.float64)

    def rates(self) -> Curve:
        """The learning rates of the next epoch's steps."""
        return self.config.lr.at(self.next_steps, self.total_steps, self.config.batch_size)

    def train_epoch(self) -> Report:
        """Train one epoch and evaluate.

        Returns
        -------
        Report
            Of this epoch.
        """
        return train_together([self])[0]

    def steps(self, hold_state: bool = False) -> Iterator[Record]:
        """The train steps of the next epoch; each is taken when the iterator is advanced.

        Parameters
        ----------
        hold_state
            Whether the objective's state stays as it is before the epoch.

        Returns
        -------
        Iterator of Record
            Of one member, [1].
        """
        epoch = Epoch([self], in_place=True)
        before = epoch.members.states
        for record in epoch.steps():
            if hold_state:
                epoch.members.states = before
            yield record
        epoch.hand_back()

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
        noise = self.evaluation_noise(part, sample)
        return metrics.evaluate(self.program, self.values, self.examples(part), noise, self.scales)

    def errors_at_mean(self, part: str, mean: Tensor) -> Tensor:
        """The squared errors of reconstructions at z = E q.

        Parameters
        ----------
        part
            As for `evaluation`.
        mean
            As it gives them, [N, M].

        Returns
        -------
        Tensor
            Summed over elements, [N].
        """
        params, scales = ({name: value[None] for name, value in some.items()} for some in (self.values, self.scales))
        return metrics.squared_errors(self.program, params, self.examples(part), mean[None], scales)[0]

    def evaluation_noise(self, part: str, sample: int = 0) -> Tensor:
        """The noise of an evaluation.

        Parameters
        ----------
        part, sample
            As for `evaluation`.

        Returns
        -------
        Tensor
            [N, M].
        """
        n, latent_dim = len(self.examples(part)), self.program.model.latent_dim
        return metrics.evaluation_noise(n, latent_dim, self.config.data.split_seed, part, self.device, sample)

    def examples(self, part: str) -> Tensor:
        """The examples of an evaluation.

        Parameters
        ----------
        part
            As for `evaluation`.

        Returns
        -------
        Tensor
            [N, D], in the units of the model.
        """
        return self.dataset.evaluated(part, TRAIN_EVAL_EXAMPLES, self.config.data.split_seed)

    def importance_nll(self, part: str, samples: int, params: Params | None = None) -> metrics.ImportanceEstimate:
        """The NLL of the first 1,000 examples of a part.

        Parameters
        ----------
        part
            `val` or `test`.
        samples
            K, the importance samples.
        params
            Parameters and buffers, where they are not those of the trial.

        Returns
        -------
        ImportanceEstimate
            Of each example.
        """
        x = self.examples(part)[: metrics.NLL_EXAMPLES]
        where = len(x), self.program.model.latent_dim, self.config.data.split_seed, f"nll/{part}", self.device
        noise = partial(metrics.evaluation_noise, *where)
        return metrics.importance_nll(self.program, params or self.values, x, self.scales, samples, noise)

    def nll_metrics(self, part: str, params: Params | None = None) -> dict[str, float]:
        """Of `importance_nll`, where the configuration asks for it.

        Parameters
        ----------
        part, params
            As for `importance_nll`.

        Returns
        -------
        dict of str to float
            By name.
        """
        samples = self.config.metrics.nll_samples
        if samples is None:
            return {}
        found = self.importance_nll(part, samples, params)
        return {name: float(value.mean()) for name, value in found.by_name(part).items()}

    def test_metrics(self) -> dict[str, float]:
        """`test/*`: for a final report, never for a search."""
        test, train = self.evaluation("test"), self.evaluation("train_eval")
        values = shared_metrics(self.program.likelihood, test, train, self.n_elements, "test")
        values["test/mse_mean_z"] = self.errors_at_mean("test", test.mean).mean() / self.n_elements
        return finite_ones({name: float(value) for name, value in values.items()} | self.nll_metrics("test"))

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
        moments = self.program.optimizer.named(self.moments, self.layout)
        groups = {"params": self.params, "buffers": self.buffers, "state": self.state, **moments}
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
        groups = checkpoint.groups
        self.epoch = checkpoint.epoch
        self.flat = self.layout.flat(groups["params"])
        self.moments = self.program.optimizer.unnamed(groups, self.layout)
        self.state, self.buffers = (
            {name: groups.get(group, {}).get(name, value) for name, value in own.items()}
            for group, own in (("state", self.state), ("buffers", self.buffers))
        )
