"""What a trial is: a frozen, typed tree whose paths are its names everywhere.

`objective.kappa` is the same field in a spec, a search space, `--set`, the MLflow parameter and the exported file.
Families choose their variant by `kind`; defaults live here and nowhere else. `auto` values are turned into numbers by
`trainables.resolve` once the data are known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "DEFAULT_KIND",
    "Adam",
    "AdamW",
    "BetaConfig",
    "ClrLr",
    "ConstantBeta",
    "ConstantLr",
    "CyclicalBeta",
    "DataConfig",
    "Elbo",
    "FreeBits",
    "Geco",
    "LinearBeta",
    "LinearVae",
    "LrConfig",
    "MetricsConfig",
    "Mlp",
    "ModelConfig",
    "ObjectiveConfig",
    "OneCycleLr",
    "OptimizerConfig",
    "TrialConfig",
    "kind_in",
    "method_of",
    "parse_duration",
    "steps_of",
]


# --- values -----------------------------------------------------------------------------------------------------------


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def _none_word(value: Any) -> Any:
    return None if value == "none" else value


def _device(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value)):
        raise ValueError("auto, cpu, cuda or cuda:N")
    return value


def _not_empty(layers: tuple[int, ...]) -> tuple[int, ...]:
    if not layers:
        raise ValueError("at least one layer")
    return layers


def parse_duration(value: Any) -> float | str:
    """A schedule's length: a number in [0, 1] is a fraction of the budget, `"400 steps"` are optimiser steps."""
    _refuse_bool(value)
    steps = re.fullmatch(r"\s*(\d+)\s*steps?\s*", value) if isinstance(value, str) else None
    if steps:
        return f"{int(steps[1])} steps"
    try:
        fraction = float(value)
    except (TypeError, ValueError):
        fraction = math.nan
    if not 0 <= fraction <= 1:
        raise ValueError("a fraction of the budget from 0 to 1, or steps as in '400 steps'")
    return fraction


def steps_of(duration: float | str, total_steps: int) -> int:
    """A duration in optimiser steps, of a budget of `total_steps`."""
    if isinstance(duration, str):
        return int(duration.split()[0])
    return round(duration * total_steps)


Number = Annotated[float, BeforeValidator(_refuse_bool)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[int, BeforeValidator(_refuse_bool), Field(ge=1)]
Seed = Annotated[int, BeforeValidator(_refuse_bool), Field(ge=0, lt=2**63)]
Duration = Annotated[float | str, BeforeValidator(parse_duration)]
Device = Annotated[str, BeforeValidator(_device)]
Auto = Literal["auto"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


# --- data -------------------------------------------------------------------------------------------------------------


class DataConfig(_Section):
    """What is learned from.

    name: `digits`, `mnist`, `fashion-mnist`, or a path to a `.npy`/`.npz` file.
    n_train: how many training examples to use; `none` for all.
    split_seed: decides split, validation noise and fixed bits; separate from `seed`.
    binarize: `none`, `dynamic` (fresh bits each step), `fixed` (drawn once from split_seed), or `soft` (gray values
        under a Bernoulli likelihood on purpose; not comparable with bits).
    likelihood: `auto` is Bernoulli where the data are bits or binarised, else Gaussian.
    """

    name: str = "digits"
    n_train: Annotated[Count | None, BeforeValidator(_none_word)] = None
    split_seed: Seed = 0
    binarize: Literal["none", "dynamic", "fixed", "soft"] = "none"
    likelihood: Literal["auto", "gaussian", "bernoulli"] = "auto"

    @model_validator(mode="after")
    def _bits_are_bernoulli(self) -> DataConfig:
        if self.binarize != "none" and self.likelihood == "gaussian":
            raise ValueError(
                f"likelihood gaussian does not describe bits (binarize: {self.binarize}); use likelihood: bernoulli "
                "or binarize: none"
            )
        return self


# --- models -----------------------------------------------------------------------------------------------------------


class _Model(_Section):
    latent_dim: Count = 16
    sigma: Annotated[Positive | Auto | None, BeforeValidator(_none_word)] = "auto"


class Mlp(_Model):
    """Fully connected encoder and decoder, mirrored.

    sigma: standard deviation of a Gaussian likelihood, in units of the data; `auto` is 0.6 of the RMS error of the mean
        image. Unused (null) under a Bernoulli likelihood.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Count, ...], AfterValidator(_not_empty)] = (400,)
    activation: Literal["relu", "tanh", "softplus"] = "relu"
    output: Literal["auto", "identity", "sigmoid"] = "auto"


class LinearVae(_Model):
    """Affine encoder mean, one variance per latent, affine decoder: the model with closed forms (probabilistic PCA)."""

    kind: Literal["linear-vae"] = "linear-vae"


ModelConfig = Annotated[Mlp | LinearVae, Field(discriminator="kind")]


# --- objectives -------------------------------------------------------------------------------------------------------


class Elbo(_Section):
    """recon_nll + β·KL, with β from the `beta` schedule (Kingma & Welling 2014, Higgins et al. 2017)."""

    kind: Literal["elbo"] = "elbo"


class FreeBits(_Section):
    """recon_nll + β·Σ_j max(λ, batch mean of KL_j) (Kingma et al. 2016).

    free_bits: λ, nats per latent dimension that cost nothing.
    """

    kind: Literal["free-bits"] = "free-bits"
    free_bits: NonNegative = 0.25


class Geco(_Section):
    """Minimise KL subject to a reconstruction constraint (Rezende & Viola 2018).

    kappa: what is accepted per element: the RMS error under `re`, the nats under `nll`; `auto` is 0.6 of what the mean
        image reaches.
    constraint: `auto` is `re` (squared error) under a Gaussian and `nll` under a Bernoulli likelihood.
    """

    kind: Literal["geco"] = "geco"
    kappa: Positive | Auto = "auto"
    constraint: Literal["auto", "re", "nll"] = "auto"


ObjectiveConfig = Annotated[Elbo | FreeBits | Geco, Field(discriminator="kind")]


# --- schedules --------------------------------------------------------------------------------------------------------


class ConstantBeta(_Section):
    """β = end throughout."""

    kind: Literal["constant"] = "constant"
    end: NonNegative = 1.0


class LinearBeta(_Section):
    """β rises from 0 to `end` over `warmup`, then holds (Bowman et al. 2016)."""

    kind: Literal["linear"] = "linear"
    end: NonNegative = 1.0
    warmup: Duration = 0.25


class CyclicalBeta(_Section):
    """β rises from 0 to `end` over the first `ratio` of each `period`, holds, and restarts (Fu et al. 2019)."""

    kind: Literal["cyclical"] = "cyclical"
    end: NonNegative = 1.0
    period: Duration = 0.25
    ratio: Annotated[Number, Field(gt=0, le=1)] = 0.5


BetaConfig = Annotated[ConstantBeta | LinearBeta | CyclicalBeta, Field(discriminator="kind")]


class _Lr(_Section):
    base_batch_size: Count = 128
    scaling: Literal["linear", "sqrt", "none"] = "linear"
    warmup: Duration = 0.0


class ConstantLr(_Lr):
    """The learning rate `base`, stated for `base_batch_size`, after a gradual warm-up (Goyal et al. 2017)."""

    kind: Literal["constant"] = "constant"
    base: Positive = 1e-3


class ClrLr(_Lr):
    """Triangular cycles between `base` and `max`; `step_size` is half a cycle (Smith 2015)."""

    kind: Literal["clr"] = "clr"
    base: Positive = 5e-4
    max: Positive = 5e-3
    step_size: Duration = 0.125

    @model_validator(mode="after")
    def _base_below_max(self) -> ClrLr:
        if self.base >= self.max:
            raise ValueError(f"base {self.base:g} must be below max {self.max:g}; lower lr.base or raise lr.max")
        return self


class OneCycleLr(_Lr):
    """One rise to `max` over `pct_start` of the budget and one fall, both cosine (Smith & Topin 2018).

    The rate starts at max / div and ends at max / div / final_div.
    """

    kind: Literal["one-cycle"] = "one-cycle"
    max: Positive = 5e-3
    pct_start: Fraction = 0.3
    div: Annotated[Number, Field(ge=1)] = 25.0
    final_div: Annotated[Number, Field(ge=1)] = 1e4


LrConfig = Annotated[ConstantLr | ClrLr | OneCycleLr, Field(discriminator="kind")]


# --- optimisers -------------------------------------------------------------------------------------------------------


class _Optimizer(_Section):
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    eps: Positive = 1e-8
    clip_norm: Annotated[Positive | None, BeforeValidator(_none_word)] = None


class Adam(_Optimizer):
    """Adam (Kingma & Ba 2015). clip_norm bounds the global gradient norm; `none` for off."""

    kind: Literal["adam"] = "adam"


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01


OptimizerConfig = Annotated[Adam | AdamW, Field(discriminator="kind")]


# --- the trial --------------------------------------------------------------------------------------------------------


class MetricsConfig(_Section):
    """every: epochs between the costlier aggregate metrics; they are always taken at the last epoch."""

    every: Count = 10


# GECO needs about 1,500 updates to settle on the 1,200 digits; MNIST's batch size would give it 360.
_DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {
        "batch_size": 32,
        "lr.base_batch_size": 32,
        "lr.base": 3e-3,
        "model.latent_dim": 8,
        "model.hidden": [128],
    },
}


class TrialConfig(_Section):
    """One training run. A trial is a function of this tree, on the same kind of device and thread count."""

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
    """How the trial balances KL and reconstruction: by objective, else by its β schedule."""
    if config.objective.kind != "elbo":
        return config.objective.kind
    assert config.beta is not None
    if isinstance(config.beta, ConstantBeta):
        return "elbo" if config.beta.end == 1 else "beta"
    return config.beta.kind
