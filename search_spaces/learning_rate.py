"""The learning rate: constant, cyclical (Smith 2015) and one-cycle (Smith & Topin 2018)."""

from search_spaces.domains import Choice, Float
from search_spaces.space import Space

LR = Space("lr", {"lr.kind": "constant"}, {"lr.base": Float(3e-4, 1e-2, log=True)})

# Half cycles of which an even number fills the budget: every run ends at its lower bound.
CLR = Space(
    "clr",
    {"lr.kind": "clr"},
    {
        "lr.base": Float(1e-4, 1e-3, log=True),
        "lr.max": Float(2e-3, 2e-2, log=True),
        "lr.step_size": Choice((0.25, 0.125, 0.1, 0.0625, 0.05)),
    },
)

ONE_CYCLE = Space(
    "one-cycle",
    {"lr.kind": "one-cycle"},
    {"lr.max": Float(1e-3, 2e-2, log=True), "lr.pct_start": Float(0.1, 0.5)},
)
