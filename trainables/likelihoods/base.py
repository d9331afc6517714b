"""The likelihood family: p(x|z), with what the decoder's output costs and what a likelihood learns and reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from trainables.config import DataConfig, TrialConfig
from trainables.data.dataset import DataFacts


class Fit(Protocol):
    """The errors of N examples in one pass: sse [N], and the KL of each latent, kl [N, M]."""

    @property
    def sse(self) -> Tensor: ...

    @property
    def kl(self) -> Tensor: ...


class Likelihood(ABC):
    """p(x|z) of a resolved configuration.

    Attributes
    ----------
    kind
        Its name in `data.likelihood`.
    metric
        The metric that trials under it are compared by, where the user names no other.
    constraints
        The errors that GECO can bound under it: `re`, the squared error, and `nll`, its own negative log-likelihood.
        The first is the default, and the one by which a trial is called worse than the mean image.
    """

    kind: ClassVar[str]
    metric: ClassVar[str]
    constraints: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def of(cls, config: TrialConfig) -> Likelihood:
        """The likelihood of a configuration.

        Parameters
        ----------
        config
            A resolved configuration.

        Returns
        -------
        Likelihood
            Without parameters; `init` makes those that it learns.
        """

    @classmethod
    @abstractmethod
    def check_data(cls, data: DataConfig, facts: DataFacts) -> None:
        """Check that it describes the data.

        Parameters
        ----------
        data
            The section `data`.
        facts
            What is known of the data.

        Raises
        ------
        ConfigError
            It does not, as Bernoulli and values outside [0, 1].
        """

    @classmethod
    @abstractmethod
    def check(cls, config: TrialConfig) -> None:
        """Check that it has what a configuration uses.

        Parameters
        ----------
        config
            A resolved configuration.

        Raises
        ------
        ConfigError
            The configuration uses something that it does not have, as σ under Bernoulli.
        """

    @classmethod
    @abstractmethod
    def sigma(cls, config: TrialConfig, facts: DataFacts) -> float | None:
        """`model.sigma` as a number.

        Parameters
        ----------
        config
            A configuration, whose `model.sigma` may be `auto`.
        facts
            What is known of the data.

        Returns
        -------
        float or None
            In the unit of the data; None without a σ.

        Raises
        ------
        ConfigError
            `auto` cannot be worked out from the data.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """E[x|z] from the decoder's output.

        Parameters
        ----------
        output
            [..., D].

        Returns
        -------
        Tensor
            [..., D], in the unit of the data.
        """

    @abstractmethod
    def terms(
        self, x: Tensor, output: Tensor, params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What each example costs: recon_nll = −log p(x|z) in nats, and the squared error of the mean.

        Parameters
        ----------
        x
            Examples, [B, D].
        output
            Of the decoder, [..., B, D].
        params
            The trained parameters by name; those of `init` are among them.
        hyper
            Numbers of the step as tensors; those of `scales` are among them, with their values at this step.

        Returns
        -------
        tuple of Tensor
            recon_nll and sse, [..., B] each.
        """

    def init(self, device: torch.device) -> dict[str, Tensor]:
        """The parameters that it learns itself; none by default.

        Parameters
        ----------
        device
            Where they are kept.

        Returns
        -------
        dict of str to Tensor
            By names that begin with `likelihood.`.
        """
        return {}

    def scales(self) -> dict[str, float]:
        """Its own numbers in the unit of the data (σ), which `beta.kind=gqn` anneals; none by default."""
        return {}

    def mean_image_nll(self, x: Tensor, mean: Tensor, n: int) -> Tensor:
        """−log p(x) of each example under the mean image, in nats; of likelihoods with the constraint `nll` alone.

        Parameters
        ----------
        x
            Examples, [N, D].
        mean
            The mean of the training examples, [D].
        n
            How many these were.

        Returns
        -------
        Tensor
            [N].
        """
        raise NotImplementedError(f"{self.kind} has no constraint nll")

    def metrics(self, found: Fit, train: Fit, n_elements: int) -> dict[str, Tensor]:
        """The metrics that it reports beside the ELBO; none by default.

        Parameters
        ----------
        found
            The errors of a part of the data.
        train
            Those of training examples.
        n_elements
            D.

        Returns
        -------
        dict of str to Tensor
            By name without the part, as `elbo_cal`.
        """
        return {}

    def equivalent_sigma(self, beta: float, params: Mapping[str, Tensor]) -> dict[str, float]:
        """`schedule/sigma_eq`: the σ at which a KL of weight 1 counts as much as it does now; empty without a σ.

        Parameters
        ----------
        beta
            β at this step.
        params
            The trained parameters by name.

        Returns
        -------
        dict of str to float
            The metric by its name.
        """
        return {}

    def equivalent_beta(self, weight: float) -> dict[str, float]:
        """`schedule/beta`: the β that counts as much as a weight of the squared error; empty without a σ.

        Parameters
        ----------
        weight
            λ in λ·SSE + KL.

        Returns
        -------
        dict of str to float
            The metric by its name.
        """
        return {}


def has_bits(data: DataConfig, facts: DataFacts) -> bool:
    """Whether training examples are bits, as they are or drawn.

    Parameters
    ----------
    data
        The section `data`.
    facts
        What is known of the data.

    Returns
    -------
    bool
        False for gray values and for `data.binarize: soft`.
    """
    return facts.bits or data.binarize in ("dynamic", "fixed")
