"""What a trial is: a frozen, typed tree whose paths are its names everywhere.

`objective.kappa` is the same field in a spec, a search space, `--set`, the MLflow parameter and the exported file.
Families choose their variant by `kind`; defaults live here and nowhere else. `auto` values are turned into numbers by
`trainables.resolve` once the data are known.
"""

from trainables.config.beta import (
    BetaConfig,
    ConstantBeta,
    CosineBeta,
    CosineWaveBeta,
    CyclicalBeta,
    GqnBeta,
    LinearBeta,
    SigmoidBeta,
    TanhBeta,
    TriangularWaveBeta,
)
from trainables.config.data import DataConfig
from trainables.config.lr import (
    ClrLr,
    ConstantLr,
    CosineWaveLr,
    ExponentialLr,
    InverseSqrtLr,
    LinearWaveLr,
    LrConfig,
    OneCycleLr,
    StepLr,
)
from trainables.config.models import (
    USER_MODEL,
    Conv,
    LinearVae,
    Mlp,
    ModelConfig,
    UserModel,
    is_argument_name,
    is_user_kind,
)
from trainables.config.objectives import Elbo, FreeBits, Geco, Iwae, ObjectiveConfig
from trainables.config.optimizers import Adam, AdamW, OptimizerConfig, RAdam, Sgd
from trainables.config.trial import DEFAULT_KIND, MetricsConfig, TrialConfig, kind_in, method_of
from trainables.config.values import (
    Auto,
    Count,
    Optional,
    Positive,
    Seed,
    parse_duration,
    steps_of,
    steps_per_epoch,
)

__all__ = [
    "DEFAULT_KIND",
    "USER_MODEL",
    "Adam",
    "AdamW",
    "Auto",
    "BetaConfig",
    "ClrLr",
    "ConstantBeta",
    "ConstantLr",
    "Conv",
    "CosineBeta",
    "CosineWaveBeta",
    "CosineWaveLr",
    "Count",
    "CyclicalBeta",
    "DataConfig",
    "Elbo",
    "ExponentialLr",
    "FreeBits",
    "Geco",
    "GqnBeta",
    "InverseSqrtLr",
    "Iwae",
    "LinearBeta",
    "LinearVae",
    "LinearWaveLr",
    "LrConfig",
    "MetricsConfig",
    "Mlp",
    "ModelConfig",
    "ObjectiveConfig",
    "OneCycleLr",
    "OptimizerConfig",
    "Optional",
    "Positive",
    "RAdam",
    "Seed",
    "Sgd",
    "SigmoidBeta",
    "StepLr",
    "TanhBeta",
    "TrialConfig",
    "TriangularWaveBeta",
    "UserModel",
    "is_argument_name",
    "is_user_kind",
    "kind_in",
    "method_of",
    "parse_duration",
    "steps_of",
    "steps_per_epoch",
]
