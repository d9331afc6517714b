"""What an objective is: frozen parameters and an explicit state, both plain tensors, so that members can be batched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.objectives import ObjectiveConfig
from trainables.data.dataset import DataFacts
from trainables.likelihoods import AUTO_SHARE, Likelihood
from trainables.models.priors import Prior

State = dict[str, Tensor]
Hyper = Mapping[str, Tensor]
Constants = dict[str, float | tuple[float, ...]]

FAR_ABOVE = 10  # times the mean image's error


@dataclass(frozen=True)
class Terms:
    """What a batch of B examples costs with K draws z ~ q(z|x) of each; nats, except sse.

    recon_nll, sse (of the decoder mean) [K·B], draw by draw; z, and the mean and log_variance of the q that it is from,
    [K·B, M]; kl, in closed form, [B, M].
    """

    recon_nll: Tensor
    sse: Tensor
    kl: Tensor
    z: Tensor
    mean: Tensor
    log_variance: Tensor
    prior: Prior

    @cached_property
    def log_ratio(self) -> Tensor:
        """log q(z|x) − log p(z) of each draw, [K·B]."""
        return self.prior.log_ratio(self.z, self.mean, self.log_variance)

    @cached_property
    def mean_recon_nll(self) -> Tensor:
        """Over examples and draws."""
        return self.recon_nll.mean()

    @cached_property
    def mean_kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) over examples."""
        return self.kl.sum(-1).mean()


class EpochEnd(NamedTuple):
    """What an objective reports on at the end of an epoch.

    states: after each of its steps. beta: of the last one. val: means over validation examples, `val/mse` per element
    and `val/recon_nll` per example.
    """

    states: Sequence[State]
    beta: float
    params: Mapping[str, Tensor]
    likelihood: Likelihood
    val: Mapping[str, float]


class Ending(NamedTuple):
    """outcome: how a trial that trained to its end has ended, in a word. metrics: what it was judged by."""

    outcome: str
    metrics: dict[str, float]


class Objective(ABC):
    """What is minimised: init() → state; step(terms, state, hyper) → (loss, next state).

    `hyper` holds tensors: `constants()` once a trial, the scalars `beta` and `progress` (step / budget) at every step.
    One that does without a state and weighs its KL with β needs no more than `of` and `step`.

    Attributes
    ----------
    samples
        K, the draws of z that it takes for each example.
    accepted
        The error of an example, summed over elements, that it was told to accept.
    """

    samples: int = 1

    @property
    def accepted(self) -> float:
        return 0.0

    @classmethod
    @abstractmethod
    def of(cls, config: TrialConfig, n_elements: int, total_steps: int) -> Objective:
        """The objective of a resolved configuration, for examples of D elements and a budget in steps."""

    @classmethod
    def resolved(cls, config: TrialConfig, likelihood: type[Likelihood], facts: DataFacts) -> ObjectiveConfig:
        """Its part of the configuration with numbers for `auto`; raises ConfigError where it does not fit."""
        return config.objective

    @classmethod
    def notes(cls, config: TrialConfig, facts: DataFacts) -> list[str]:
        """What a user should know about a resolved configuration that is allowed all the same."""
        sigma, rms = config.model.sigma, facts.kappa_max["re"]
        if not (isinstance(sigma, float) and sigma > FAR_ABOVE * rms > 0):
            return []
        return [
            f"model.sigma {sigma:g} is far above {rms:.4g}, the RMS error of the mean image: reconstruction hardly "
            f"counts and the KL falls to 0; set it to auto, which is {AUTO_SHARE * rms:.4g}"
        ]

    def constants(self) -> Constants:
        """Its own numbers, fixed over the trial."""
        return {}

    def init(self) -> dict[str, float]:
        """The state before the first step."""
        return {}

    @abstractmethod
    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        """The loss to take gradients of, and the state after the step."""

    def metrics(self, end: EpochEnd) -> dict[str, float]:
        """What it reports of an epoch: the weight of the KL, and the σ that weighs the same."""
        return {"schedule/beta": end.beta} | end.likelihood.equivalent_sigma(end.beta, end.params)

    def traced(self, state: State) -> dict[str, Tensor]:
        """What of its state a figure of a trial shows over the steps."""
        return {}

    def error(self, likelihood: Likelihood) -> str:
        """The error that a trial is judged by, `re` or `nll`."""
        return likelihood.constraints[0]

    def ending(self, distortion: Tensor, state: Mapping[str, float]) -> Ending:
        """How a trial has ended. distortion: that `error` of training examples, [N]. state: after its last step."""
        return Ending("ok", {})
