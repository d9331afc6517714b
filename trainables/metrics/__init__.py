"""What is reported of a model: definitions, estimators and their biases. Nats per example unless said."""

from trainables.metrics.aggregate import (
    AGGREGATE_EXAMPLES,
    active_units,
    agg_kl_dims,
    agg_kl_gauss,
    mutual_information,
    saturated,
)
from trainables.metrics.evaluation import Evaluation, evaluate, evaluate_members, evaluation_noise, squared_errors
from trainables.metrics.importance import NLL_EXAMPLES, ImportanceEstimate, importance_nll
from trainables.metrics.two_sample import agg_c2st

__all__ = [
    "AGGREGATE_EXAMPLES",
    "NLL_EXAMPLES",
    "Evaluation",
    "ImportanceEstimate",
    "active_units",
    "agg_c2st",
    "agg_kl_dims",
    "agg_kl_gauss",
    "evaluate",
    "evaluate_members",
    "evaluation_noise",
    "importance_nll",
    "mutual_information",
    "saturated",
    "squared_errors",
]
