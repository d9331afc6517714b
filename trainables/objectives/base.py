"""The objective family: frozen parameters and an explicit state, as plain tensors, so that members can be batched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
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
    """What a batch of B examples costs, with K draws z ~ q(z|x) of each. Nats, except sse.

    Of several members each has a leading axis more, [N, …].

    Attributes
    ----------
    recon_nll, sse
        −log p(x|z), and the squared error of the decoder's mean, draw by draw, [K·B].
    kl
        KL(q ‖ p) of each latent, in closed form, [B, M].
    z, mean, log_variance
        The draws and the q that each is from, [K·B, M].
    prior
        p(z).
    """

    recon_nll: Tensor
    sse: Tensor
    kl: Tensor
    z: Tensor
    mean: Tensor
    log_variance: Tensor
    prior: Prior

    def split(self, sizes: list[int]) -> list[Terms]:
        """Those of so many members each.

        Parameters
        ----------
        sizes
            Whose sum is N.

        Returns
        -------
        list of Terms
            In their order.
        """
        if len(sizes) == 1:
            return [self]
        tensors = self.recon_nll, self.sse, self.kl, self.z, self.mean, self.log_variance
        parts = zip(*(torch.split(each, sizes) for each in tensors), strict=True)
        return [Terms(*of_some, self.prior) for of_some in parts]  # type: ignore[call-arg]

    @cached_property
    def log_ratio(self) -> Tensor:
        """log q(z|x) − log p(z) of each draw, [K·B]."""
        return self.prior.log_ratio(self.z, self.mean, self.log_variance)

    @cached_property
    def mean_recon_nll(self) -> Tensor:
        """Over examples and draws."""
        return self.recon_nll.mean(-1)

    @cached_property
    def mean_kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) over examples."""
        return self.kl.sum(-1).mean(-1)


class EpochEnd(NamedTuple):
    """What an objective reports on at the end of an epoch.

    Attributes
    ----------
    states
        Its state after each step: by name, [steps].
    beta
        β of the last step.
    params
        The trained parameters by name.
    likelihood
        p(x|z).
    val
        Means over validation examples: `val/mse` per element, `val/recon_nll` per example.
    """

    states: State
    beta: float
    params: Mapping[str, Tensor]
    likelihood: Likelihood
    val: Mapping[str, float]


class Ending(NamedTuple):
    """How a trial ended.

    Attributes
    ----------
    outcome
        A word, as `ok`.
    metrics
        The numbers that it was judged by.
    """

    outcome: str
    metrics: dict[str, float]


class Objective(ABC):
    """The function that is minimised: init() → state; step(terms, state, hyper) → (loss, next state).

    An objective without a state whose KL is weighed by β needs only `of` and `step`.

    Attributes
    ----------
    samples
        K, the draws of z for each example.
    accepted
        The squared error of an example, summed over elements, that the user accepts (GECO's κ).
    """

    samples: int = 1

    @property
    def accepted(self) -> float:
        return 0.0

    @classmethod
    @abstractmethod
    def of(cls, config: TrialConfig, n_elements: int, total_steps: int) -> Objective:
        """The objective of a configuration.

        Parameters
        ----------
        config
            A resolved configuration.
        n_elements
            D, the elements of an example.
        total_steps
            The budget.

        Returns
        -------
        Objective
            Of these fields.
        """

    @classmethod
    def resolved(cls, config: TrialConfig, likelihood: type[Likelihood], facts: DataFacts) -> ObjectiveConfig:
        """Its section of the configuration, with numbers for `auto`.

        Parameters
        ----------
        config
            The configuration.
        likelihood
            The class of its likelihood.
        facts
            What is known of the data.

        Returns
        -------
        ObjectiveConfig
            By default the section as it is.

        Raises
        ------
        ConfigError
            It does not suit the likelihood or the data.
        """
        return config.objective

    @classmethod
    def notes(cls, config: TrialConfig, facts: DataFacts) -> list[str]:
        """Remarks for the user on a configuration that is allowed all the same.

        Parameters
        ----------
        config
            A resolved configuration.
        facts
            What is known of the data.

        Returns
        -------
        list of str
            A sentence each.
        """
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

    @property
    def formula(self) -> Hashable:
        """What decides on the formula of `step`: objectives of equal ones take their step together."""
        return type(self)

    def init(self) -> dict[str, float]:
        """The state before the first step."""
        return {}

    @abstractmethod
    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        """The loss to take gradients of, and the next state.

        Parameters
        ----------
        terms
            What the batch costs.
        state
            As of `init`, or of the last step, as tensors.
        hyper
            Tensors: `constants()`, and at every step `beta` and `progress` (step / budget), each of one member, or [N]
            of several.

        Returns
        -------
        tuple of Tensor and dict of str to Tensor
            A scalar, [N] of several members, and the state after the step.
        """

    def metrics(self, end: EpochEnd) -> dict[str, float]:
        """The metrics that it reports of an epoch; by default the weight of the KL, and the σ that weighs the same.

        Parameters
        ----------
        end
            The end of the epoch.

        Returns
        -------
        dict of str to float
            By name.
        """
        return {"schedule/beta": end.beta} | end.likelihood.equivalent_sigma(end.beta, end.params)

    def traced(self, state: State) -> dict[str, Tensor]:
        """The part of its state that a figure of a trial shows over the steps; nothing by default.

        Parameters
        ----------
        state
            After a step.

        Returns
        -------
        dict of str to Tensor
            By the name that the figure gives it.
        """
        return {}

    def error(self, likelihood: Likelihood) -> str:
        """The error that a trial is judged by.

        Parameters
        ----------
        likelihood
            p(x|z).

        Returns
        -------
        str
            `re` or `nll`; by default the likelihood's first.
        """
        return likelihood.constraints[0]

    def ending(self, distortion: Tensor, state: Mapping[str, float]) -> Ending:
        """How a trial ended; by default `ok`.

        Parameters
        ----------
        distortion
            That `error` of training examples, [N].
        state
            After the last step.

        Returns
        -------
        Ending
            The outcome, and the numbers behind it.
        """
        return Ending("ok", {})
