"""p(x|z): one likelihood per file; `LIKELIHOODS` is the one place where a kind becomes a likelihood."""

from __future__ import annotations

from trainables.config import DataConfig, TrialConfig
from trainables.data.dataset import DataFacts
from trainables.likelihoods.base import Fit, Likelihood, has_bits
from trainables.likelihoods.bernoulli import Bernoulli
from trainables.likelihoods.gaussian import AUTO_SHARE, Gaussian
from trainables.likelihoods.learned_sigma import LearnedSigma

__all__ = [
    "AUTO_SHARE",
    "LIKELIHOODS",
    "Bernoulli",
    "Fit",
    "Gaussian",
    "LearnedSigma",
    "Likelihood",
    "build_likelihood",
    "likelihood_class",
    "likelihood_of",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
}


def build_likelihood(config: TrialConfig) -> Likelihood:
    """The likelihood of a configuration.

    Parameters
    ----------
    config
        A resolved configuration.

    Returns
    -------
    Likelihood
        p(x|z).
    """
    return likelihood_class(config).of(config)


def likelihood_class(config: TrialConfig) -> type[Likelihood]:
    """The class of the likelihood that a configuration names.

    Parameters
    ----------
    config
        With `data.likelihood` resolved.

    Returns
    -------
    type of Likelihood
        `LearnedSigma` where `model.learn_sigma` is true under a Gaussian.
    """
    found = LIKELIHOODS[config.data.likelihood]
    return LearnedSigma if found is Gaussian and config.model.learn_sigma else found


def likelihood_of(data: DataConfig, facts: DataFacts) -> str:
    """The kind of likelihood of a configuration: `auto` is Bernoulli for bits and binarised data, else Gaussian.

    Parameters
    ----------
    data
        The section `data`.
    facts
        What is known of the data.

    Returns
    -------
    str
        A key of `LIKELIHOODS`.

    Raises
    ------
    ConfigError
        The likelihood does not describe the data.
    """
    bits = has_bits(data, facts) or data.binarize == "soft"
    kind = ("bernoulli" if bits else "gaussian") if data.likelihood == "auto" else data.likelihood
    LIKELIHOODS[kind].check_data(data, facts)
    return kind
