"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.config.optimizers import AdamW
from trainables.optimizers.adam import AdamOptimizer


@dataclass(frozen=True)
class AdamWOptimizer(AdamOptimizer):
    """θ ← θ − lr·wd·θ − lr·d with Adam's direction d."""

    config: AdamW

    @property
    def weight_decay(self) -> float:
        return self.config.weight_decay
