"""Which samplers and pruning rules there are, by name; `--help` shows them, so nothing heavy is imported here."""

from typing import Literal

Sampler = Literal["tpe", "random", "qmc", "grid", "nsga2"]
Pruning = Literal["asha", "hyperband", "median", "none"]
