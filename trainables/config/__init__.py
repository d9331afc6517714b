"""What a trial is: a frozen, typed tree whose paths are its names everywhere.

`objective.kappa` is the same field in a spec, a search space, `--set`, the MLflow parameter and the exported file.
Families choose their variant by `kind`; each member's fields stand in its family's file here, those of β and of the
learning rate with their curves in `trainables.schedules`. Defaults live there and nowhere else. `auto` values are
turned into numbers by `trainables.resolve` once the data are known.
"""

from trainables.config.data import DataConfig
from trainables.config.trial import DEFAULT_KIND, MetricsConfig, TrialConfig, kind_in, method_of

__all__ = ["DEFAULT_KIND", "DataConfig", "MetricsConfig", "TrialConfig", "kind_in", "method_of"]
