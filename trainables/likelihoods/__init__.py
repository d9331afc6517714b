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
    """The likelihood of a resolved configuration."""
    return likelihood_class(config).of(config)


def likelihood_class(config: TrialConfig) -> type[Likelihood]:
    """The likelihood that a configuration with a resolved `data.likelihood` names."""
    found = LIKELIHOODS[config.data.likelihood]
    return LearnedSigma if found is Gaussian and config.model.learn_sigma else found


def likelihood_of(data: DataConfig, facts: DataFacts) -> str:
    """The kind a configuration means; raises ConfigError where it does not describe the data.

    `auto` is Bernoulli where the data are bits or binarised, else Gaussian.
    """
    bits = has_bits(data, facts) or data.binarize == "soft"
    kind = ("bernoulli" if bits else "gaussian") if data.likelihood == "auto" else data.likelihood
    LIKELIHOODS[kind].check_data(data, facts)
    return kind
