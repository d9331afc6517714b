"""What a trial is: a frozen, typed tree whose paths are its names everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, model_validator

from trainables.config.data import DataConfig
from trainables.config.models import Mlp, ModelConfig
from trainables.config.objectives import Elbo, FreeBits, Geco, ObjectiveConfig
from trainables.config.optimizers import Adam, OptimizerConfig
from trainables.schedules.beta import BetaConfig, ConstantBeta, GqnBeta
from trainables.schedules.lr import ConstantLr, LrConfig
from trainables.values import Auto, Count, Device, Optional, Section, Seed


class MetricsConfig(Section):
    """every: epochs between the costlier aggregate metrics; they are always taken at the last epoch.

    nll_samples: importance samples K of the `nll`, taken with them, on the first 1,000 examples; `none`: it is not
        estimated. Its bias falls with K and is unequal by method: compare at one K.
    """

    every: Count = 10
    nll_samples: Annotated[Count | None, Optional] = None


# GECO needs about 1,500 updates to settle on the 1,200 digits; MNIST's batch size would give it 360. The learning rate
# is the best constant one of GECO and of every hand-annealing alike (docs/learning-rates.md).
_DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {
        "batch_size": 32,
        "lr.base_batch_size": 32,
        "lr.base": 6e-3,
        "model.latent_dim": 8,
        "model.hidden": [128],
    },
}


class TrialConfig(Section):
    """One training run. A trial is a function of this tree, on the same kind of device and thread count.

    batch_size: examples of an update; a ragged last batch of an epoch is left out.
    epochs: the budget of a trial that is not pruned.
    seed: of the parameters, the order of examples, and every draw.
    device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is a GPU where there is one.
    threads: of a trial on the CPU; `auto` is the cores that it is given.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = Mlp()
    objective: ObjectiveConfig = Elbo()
    beta: BetaConfig | None = None
    lr: LrConfig = ConstantLr()
    optimizer: OptimizerConfig = Adam()
    batch_size: Count = 128
    epochs: Count = 40
    seed: Seed = 0
    device: Device = "auto"
    threads: Count | Auto = "auto"
    metrics: MetricsConfig = MetricsConfig()

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, tree: Any) -> Any:
        """Fill the defaults that depend on another section: the data set's, and β = 1 wherever there is a β."""
        if not isinstance(tree, Mapping):
            return tree
        tree = {name: _first_kind(name, section) for name, section in _plain(tree).items()}
        data = tree.get("data")
        name = data.get("name", "digits") if isinstance(data, Mapping) else "digits"
        for path, value in _DATASET_DEFAULTS.get(str(name), {}).items():
            _set_default(tree, path, value)
        if tree.get("beta") is None and kind_in(tree, "objective") != "geco":
            tree["beta"] = {"kind": "constant"}
        return tree

    @model_validator(mode="after")
    def _geco_has_no_beta(self) -> TrialConfig:
        if isinstance(self.objective, Geco) and self.beta is not None:
            raise ValueError(
                "beta does not exist under objective.kind geco, whose multiplier takes its place; remove beta"
            )
        return self

    @model_validator(mode="after")
    def _learned_sigma_is_identifiable(self) -> TrialConfig:
        if not self.model.learn_sigma:
            return self
        if isinstance(self.objective, Geco):
            raise ValueError("model.learn_sigma: GECO's loss has no sigma to learn; set it to false")
        if isinstance(self.beta, GqnBeta):
            raise ValueError("model.learn_sigma: beta.kind gqn sets sigma itself; set it to false or take another beta")
        if self.beta is not None and self.beta.end != 1:
            raise ValueError(
                f"model.learn_sigma: with beta.end {self.beta.end:g} a learned sigma would undo the weight; set "
                "beta.end to 1 or model.learn_sigma to false"
            )
        return self

    @model_validator(mode="after")
    def _nll_is_of_bits(self) -> TrialConfig:
        if self.metrics.nll_samples is not None and self.data.binarize == "soft":
            raise ValueError(
                f"metrics.nll_samples: {self.metrics.nll_samples} needs a likelihood, and gray values (data.binarize "
                "soft) have no Bernoulli likelihood; set data.binarize to dynamic or fixed, or "
                "metrics.nll_samples to none"
            )
        return self

    @model_validator(mode="after")
    def _free_bits_have_groups(self) -> TrialConfig:
        objective, latents = self.objective, self.model.latent_dim
        if not isinstance(objective, FreeBits):
            return self
        groups = objective.groups or latents
        if latents % groups:
            raise ValueError(
                f"objective.groups: {groups} groups of equal size cannot be made of model.latent_dim {latents}; "
                "allowed: its divisors, or none"
            )
        if isinstance(objective.free_bits, tuple) and len(objective.free_bits) != groups:
            raise ValueError(
                f"objective.free_bits: {len(objective.free_bits)} values for {groups} groups of latents; give one for "
                "each, or one number for all"
            )
        return self


DEFAULT_KIND = {
    "model": "mlp",
    "objective": "elbo",
    "beta": "constant",
    "lr": "constant",
    "optimizer": "adam",
}


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in tree.items()}


def _first_kind(name: str, section: Any) -> Any:
    """A section that names no kind means its family's first."""
    if name in DEFAULT_KIND and isinstance(section, Mapping):
        return {"kind": DEFAULT_KIND[name], **section}
    return section


def kind_in(tree: Mapping[str, Any], section: str) -> Any:
    """The kind of a section, or its default where the section names none.

    Parameters
    ----------
    tree
        Nested plain data.
    section
        As `model`.

    Returns
    -------
    object
        As it was written.

    Examples
    --------
    >>> kind_in({"model": {"latent_dim": 4}}, "model")
    'mlp'
    """
    value = tree.get(section)
    return value.get("kind", DEFAULT_KIND[section]) if isinstance(value, Mapping) else DEFAULT_KIND[section]


def _set_default(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set a path the user left open; `lr.base` and `model.hidden` belong to their family's first kind alone."""
    section, _, field = path.partition(".")
    if not field:
        tree.setdefault(section, value)
        return
    content = tree.setdefault(section, {"kind": DEFAULT_KIND[section]})
    if path in ("lr.base", "model.hidden") and kind_in(tree, section) != DEFAULT_KIND[section]:
        return
    if isinstance(content, Mapping):
        tree[section] = {field: value, **content}


def method_of(config: TrialConfig) -> str:
    """How a trial balances KL and reconstruction: its objective, or under the ELBO its β schedule.

    Parameters
    ----------
    config
        A TrialConfig.

    Returns
    -------
    str
        `geco`, `free-bits`, `iwae`, a kind of β, or for a constant β `elbo` (1) or `beta`.

    Examples
    --------
    >>> method_of(TrialConfig())
    'elbo'
    """
    if config.objective.kind != "elbo":
        return config.objective.kind
    assert config.beta is not None
    if isinstance(config.beta, ConstantBeta):
        return "elbo" if config.beta.end == 1 else "beta"
    return config.beta.kind
