"""The methods compared: what each leaves free, and how a rival of GECO is made to end at GECO's λ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.annealing import LINEAR
from trainables.config.paths import suggest
from trainables.errors import ConfigError
from tuner.comparison.kinds import METHODS

PATH_RIVALS = ("beta", "linear", "cyclical", "gqn")
LR = "lr.base"


@dataclass(frozen=True)
class Scale:
    """What the data say of the dials. kappa_max: what the mean image reaches under the constraint. sigma: the pixel σ
    of the configuration, None under a Bernoulli likelihood. n_elements: D. kappa_min: what the model reaches; None
    where that is not known."""

    kappa_max: float
    sigma: float | None
    n_elements: int
    kappa_min: float | None = None

    @property
    def constraint(self) -> str:
        return "nll" if self.sigma is None else "re"

    @property
    def weight_of_one(self) -> float:
        """The λ that β = 1 amounts to."""
        return 1.0 if self.sigma is None else 1 / (2 * self.sigma**2)

    def sigma_at(self, weight: float) -> float | None:
        """The pixel σ that weighs as λ does at β = 1, √(1/2λ).

        Parameters
        ----------
        weight
            λ.

        Returns
        -------
        float or None
            None under bits.
        """
        return None if self.sigma is None else math.sqrt(1 / (2 * weight))


# As the named spaces have them; what a named space varies beyond the method's own dials is held at its default.
_SPACES: Mapping[str, Mapping[str, Any]] = {
    "geco": {"use": ["geco"]},
    "beta": {"objective.kind": "elbo", "beta.kind": "constant", "beta.end": LINEAR.dimensions["beta.end"].to_mapping()},
    "linear": {"use": ["linear"]},
    "cyclical": {"use": ["cyclical"], "beta.ratio": 0.5},
    "free-bits": {"use": ["free-bits"]},
}
_FREE: Mapping[str, tuple[str, ...]] = {
    "geco": ("objective.kappa",),
    "beta": ("beta.end",),
    "linear": ("beta.end", "beta.warmup"),
    "cyclical": ("beta.end", "beta.period"),
    "free-bits": ("objective.free_bits",),
    "gqn": ("model.sigma", "beta.warmup"),
}


def free_paths(method: str) -> tuple[str, ...]:
    """What a search of the method varies beside the learning rate.

    Parameters
    ----------
    method
        Its name.

    Returns
    -------
    tuple of str
        Configuration paths.

    Raises
    ------
    ConfigError
        There is no such method.

    Examples
    --------
    >>> free_paths("cyclical")
    ('beta.end', 'beta.period')
    """
    if method not in METHODS:
        raise ConfigError(f"methods: {method!r} cannot be compared{suggest(method, METHODS)}")
    return _FREE[method]


def pool_space(method: str, scale: Scale, learning_rates: tuple[float, ...]) -> dict[str, Any]:
    """The space that a method's pool of random trials is drawn from.

    Parameters
    ----------
    method
        Its name.
    scale
        What the data say of the dials.
    learning_rates
        The grid.

    Returns
    -------
    dict
        In the form that `parse_space` takes.
    """
    rates = {LR: {"choice": list(learning_rates)}, "lr.kind": "constant"}
    if method == "gqn":
        return {**_gqn_space(scale), **rates}
    return {**_SPACES[method], **rates}


def _gqn_space(scale: Scale) -> dict[str, Any]:
    """σ_end over the range that the other methods' β_end covers: σ_eq = √β·σ for β from .1 to 4."""
    if scale.sigma is None:
        raise ConfigError("methods: gqn anneals sigma, which a Bernoulli likelihood does not have; leave it out")
    low, high = (scale.sigma * math.sqrt(beta) for beta in (0.1, 4.0))
    return {
        "objective.kind": "elbo",
        "beta.kind": "gqn",
        "model.sigma": {"float": [low, high], "log": True},
        "beta.warmup": {"float": [0.0, 0.5]},
    }


def ending_at(method: str, weight: float, scale: Scale) -> dict[str, Any]:
    """A rival's assignment that ends at GECO's λ: with the squared error β_end = 1/(2λσ²), with the nats 1/λ.

    GQN ends at the pixel σ that weighs the same, √(1/2λ). All else is as by default.

    Parameters
    ----------
    method
        A rival's name.
    weight
        λ.
    scale
        What the data say of the dials.

    Returns
    -------
    dict
        By configuration path.

    Examples
    --------
    >>> ending_at("beta", 2.0, Scale(kappa_max=0.25, sigma=0.5, n_elements=784))
    {'objective.kind': 'elbo', 'beta.kind': 'constant', 'beta.end': 1.0}
    """
    if method == "gqn":
        return {"objective.kind": "elbo", "beta.kind": "gqn", "model.sigma": scale.sigma_at(weight)}
    end = 1 / weight if scale.sigma is None else 1 / (2 * weight * scale.sigma**2)
    kind = "constant" if method == "beta" else method
    return {"objective.kind": "elbo", "beta.kind": kind, "beta.end": end}
