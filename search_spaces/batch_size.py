"""Batch size with the learning rate scaled to it, after a gradual warm-up (Goyal et al. 2017)."""

from search_spaces.domains import Choice
from search_spaces.space import Space

BATCH_SIZE = Space(
    "batch-size",
    {"lr.warmup": 0.1},
    {"batch_size": Choice((32, 64, 128, 256)), "lr.scaling": Choice(("linear", "sqrt", "none"))},
)
