"""Several trials trained together, an epoch at a time: their states stacked, trained, and handed back."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.models import UserModel
from trainables.layout import Layout
from trainables.models import build_model
from trainables.program import Program
from trainables.random_streams import generator
from trainables.schedules.curves import Curve
from trainables.training.report import reports_of
from trainables.training.step import Inputs, Members, Record

if TYPE_CHECKING:
    from trainables.training.report import Report
    from trainables.training.trainer import Trainer

NOISE_BLOCK = 64
CACHED_VALUES = 2**19
"""The parameters of all members of a step for which a step of more costs less a member on a CPU, by its caches."""
WIDEST = 16

T = TypeVar("T")


def group_of(config: TrialConfig) -> Hashable | None:
    """What trials have in common that can train in one step: all that decides on shapes and kernels.

    Parameters
    ----------
    config
        A resolved configuration.

    Returns
    -------
    Hashable or None
        Equal for trials that can train together; None for one that trains alone: of a user's own model, whose code may
        count on it, and on several threads, which end at other places in a larger tensor.
    """
    if isinstance(config.model, UserModel) or config.threads != 1:
        return None
    model = config.model.model_copy(update={"sigma": None})
    samples, momentum = getattr(config.objective, "samples", 1), getattr(config.optimizer, "momentum", None)
    optimizer = config.optimizer.kind, momentum == 0
    return config.device, config.data, model, samples, optimizer, config.batch_size


def cheapest_width(config: TrialConfig, shape: tuple[int, ...]) -> int:
    """How many trials of a configuration make a step cheapest for each, on a CPU.

    Parameters
    ----------
    config
        A resolved configuration.
    shape
        Of one example.

    Returns
    -------
    int
        1 for a model that takes members one after the other.
    """
    if group_of(config) is None:
        return 1
    model = build_model(config.model, shape)
    layout = Layout.of(model.init(0, torch.device("cpu")))
    return _width(layout.edges[-1]) if model.batched else 1


def _width(n_values: int) -> int:
    return min(WIDEST, max(1, CACHED_VALUES // n_values))


def train_together(trainers: Sequence[Trainer]) -> list[Report]:
    """Train one epoch of trials of one group.

    Parameters
    ----------
    trainers
        Of equal `group`, at any epochs.

    Returns
    -------
    list of Report
        One each, in their order. Where it raises, none of several trainers has changed.
    """
    first = trainers[0]
    width = _width(len(first.flat)) if first.program.model.batched else 1
    if first.device.type != "cpu":
        width = len(trainers)
    parts = [trainers[start : start + width] for start in range(0, len(trainers), width)]
    epochs = [Epoch(part, in_place=len(trainers) == 1) for part in parts]
    found = [epoch.run() for epoch in epochs]
    for epoch in epochs:
        epoch.hand_back()
    return [report for reports in found for report in reports]


class Epoch:
    """The next epoch of some trials of one group.

    Parameters
    ----------
    trainers
        The trials, which `hand_back` changes, and nothing before.
    in_place
        Whether that of a single trial is trained where its state lies: it takes no more memory, and changes with each
        step.

    Attributes
    ----------
    trainers
        Those of one formula of the loss side by side.
    members
        Their states.
    """

    def __init__(self, trainers: Sequence[Trainer], in_place: bool = False) -> None:
        self._given, self._in_place = trainers, in_place
        places: dict[Hashable, int] = {}
        self.trainers = sorted(
            trainers, key=lambda each: places.setdefault(each.program.objective.formula, len(places))
        )
        first = self.trainers[0]
        self.members = Members(
            first.program,
            first.layout,
            self._side_by_side([each.flat for each in self.trainers]),
            self._stacked([each.moments for each in self.trainers]),
            self._stacked([each.buffers for each in self.trainers]),
            [each.program.objective for each in self.trainers],
            [each.program.optimizer for each in self.trainers],
        )
        self.members.states = tuple(
            self._stacked([each.state for each in self.trainers[where]]) for where in self._formulas
        )

    def _side_by_side(self, rows: Sequence[Tensor]) -> Tensor:
        return rows[0][None] if self._in_place else torch.stack([*rows])

    def _stacked(self, trees: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: self._side_by_side([tree[name] for tree in trees]) for name in trees[0]}

    def _own(self, row: Tensor) -> Tensor:
        """A row of several in memory of its own, so that none keeps that of all."""
        return row.clone() if len(self.trainers) > 1 else row

    @property
    def _formulas(self) -> list[slice]:
        return self.members.formulas

    def run(self) -> list[Report]:
        """Train and evaluate; the reports in the order in which the trials were given."""
        found = dict(zip(map(id, self.trainers), reports_of(self.trainers, self.members, self.steps()), strict=True))
        return [found[id(each)] for each in self._given]

    def hand_back(self) -> None:
        """Give each trial its state after the epoch."""
        states = [
            {name: value[i] for name, value in state.items()}
            for where, state in zip(self._formulas, self.members.states, strict=True)
            for i in range(where.stop - where.start)
        ]
        for i, (each, state) in enumerate(zip(self.trainers, states, strict=True)):
            each.flat, each.state = self._own(self.members.params[i]), state
            each.moments = {name: self._own(value[i]) for name, value in self.members.moments.items()}
            each.buffers = {name: self._own(value[i]) for name, value in self.members.buffers.items()}
            each.epoch += 1

    def steps(self) -> Iterator[Record]:
        """The steps of the epoch; each is taken when the iterator is advanced."""
        first = self.trainers[0]
        rates = self._over_steps([each.rates() for each in self.trainers], torch.float64)
        columns = _columns([scheduled_numbers(each) for each in self.trainers])
        curves = {name: self._over_steps(of_each) for name, of_each in columns.items()}
        constants = [self._constants(where) for where in self._formulas]
        scales = first.program.likelihood.scales()
        for i, (batch, noise) in enumerate(self._batches()):
            now = {name: steps[i] for name, steps in curves.items()}
            hypers = [
                own | {name: now[name][where] for name in ("beta", "progress")}
                for where, own in zip(self._formulas, constants, strict=True)
            ]
            yield self.members.step(Inputs(batch, noise, {name: now[name] for name in scales}, hypers, rates[i]))

    def _over_steps(self, curves: Sequence[Curve], dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """A curve of each trial as one tensor [N] a step."""
        return torch.tensor(np.stack(curves, axis=1), dtype=dtype, device=self.trainers[0].device).unbind()

    def _constants(self, where: slice) -> dict[str, Tensor]:
        columns = _columns([each.program.objective.constants() for each in self.trainers[where]])
        device = self.trainers[0].device
        return {name: torch.tensor(values, dtype=torch.float32, device=device) for name, values in columns.items()}

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batch and noise of each step: drawn once for all trials of one seed at one epoch."""
        of_stream = {(each.config.seed, each.epoch): each for each in self.trainers}
        streams = list(of_stream)
        which = [streams.index((each.config.seed, each.epoch)) for each in self.trainers]
        with ExitStack() as opened:
            batches = [opened.enter_context(closing(batches_of(each))) for each in of_stream.values()]
            for drawn in zip(*batches, strict=True):
                if len(drawn) == 1:
                    yield drawn[0]
                else:
                    batch, noise = zip(*drawn, strict=True)
                    yield torch.stack([batch[i] for i in which]), torch.stack([noise[i] for i in which])


def _columns(trees: Sequence[dict[str, T]]) -> dict[str, list[T]]:
    return {name: [tree[name] for tree in trees] for name in trees[0]}


def scheduled_numbers(trainer: Trainer) -> dict[str, Curve]:
    """The scheduled numbers of each step. GQN's β is in its σ: at β = 1, σ_t weighs like (σ_t/σ)² at σ."""
    steps, beta = trainer.next_steps, trainer.beta
    factors = beta.sigma_factor_at(steps, trainer.total_steps)
    return {
        "beta": beta.at(steps, trainer.total_steps) / factors**2,
        "progress": steps / trainer.total_steps,
        **{name: scale * factors for name, scale in trainer.program.likelihood.scales().items()},
    }


def batches_of(trainer: Trainer) -> Generator[tuple[Tensor, Tensor], None, None]:
    """The batches of a trial's next epoch, [B, D], each with its noise, [K, B, M]."""
    config, device, first = trainer.config, trainer.device, trainer.epoch * trainer.steps_per_epoch
    draw = generator(device, config.seed, "order", trainer.epoch)
    order = torch.randperm(len(trainer.dataset.train), generator=draw, device=device)
    indices = torch.split(order[: trainer.steps_per_epoch * config.batch_size], config.batch_size)
    noises = noise_of(trainer.program, config, first, device)
    with closing(trainer.dataset.train_batches(indices, config.seed, first)) as batches:
        yield from zip(batches, noises, strict=False)


def noise_of(program: Program, config: TrialConfig, first: int, device: torch.device) -> Iterator[Tensor]:
    """The noise [K, B, M] of each step from `first` on, drawn in blocks that depend on (seed, step, K) alone."""
    samples = program.objective.samples
    block_steps = max(1, NOISE_BLOCK // samples)
    shape = (block_steps, samples, config.batch_size, program.model.latent_dim)
    block, step = first // block_steps, first % block_steps
    while True:
        draw = generator(device, config.seed, "noise", block)
        yield from torch.randn(shape, generator=draw, device=device)[step:]
        block, step = block + 1, 0
