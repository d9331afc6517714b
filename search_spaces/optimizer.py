"""The optimiser: which of the adaptive ones, its averages, and its weight decay."""

from search_spaces.domains import Choice, Float
from search_spaces.space import Space

# Not SGD: it needs learning rates of its own (FashionMNIST's loss blows up at 1.5e-3, a good rate for Adam), and GECO's
# multiplier changes the size of its gradients by orders of magnitude. VAEs are also published with an eps as large as
# 1e-4 (Burda et al. 2015).
OPTIMIZER = Space(
    "optimizer",
    {},
    {
        "optimizer.kind": Choice(("adam", "adamw", "radam")),
        "optimizer.beta1": Float(0.8, 0.95),
        "optimizer.beta2": Choice((0.999, 0.99, 0.9999)),
        "optimizer.eps": Float(1e-8, 1e-3, log=True),
        "optimizer.weight_decay": Float(1e-4, 0.1, log=True, when={"optimizer.kind": "adamw"}),
    },
)
