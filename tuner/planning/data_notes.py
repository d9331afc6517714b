"""What a plan says of its data."""

from __future__ import annotations

from pathlib import Path

from trainables.config import DataConfig, TrialConfig
from trainables.data.dataset import DataFacts
from trainables.data.readers import DATASETS
from trainables.data.readers.fetched import file_name

SMALL = 0.03  # at .0135 the digits take more than 1,480 updates to be as good as their mean image


def describe_data(config: TrialConfig, facts: DataFacts) -> list[str]:
    limits = ", ".join(f"{name} {value:.4g}" for name, value in facts.kappa_max.items())
    shape = "×".join(map(str, facts.shape))
    found = [
        f"{file_name(config.data.name)}: {facts.n_train} training, {facts.n_val} validation and {facts.n_test} test "
        f"examples of {shape}; likelihood {config.data.likelihood} ({_reason(config.data, facts)}); κ_max {limits}"
    ]
    found += facts.notes
    if facts.n_repeated:
        found.append(
            f"{facts.n_repeated} validation and test examples are also in another part, value by value: what is "
            "measured on them is too good; remove the copies"
        )
    if config.data.name in DATASETS and Path(config.data.name).is_dir():
        found.append(f"data.name: {config.data.name} is the built-in set; the folder here is ./{config.data.name}")
    if max(abs(facts.low), abs(facts.high)) > 20:
        found.append(
            f"the values span [{facts.low:g}, {facts.high:g}] and are used as they are; networks train better on "
            "values of order 1: divide them once and save the array again"
        )
    rms = facts.kappa_max["re"]
    if 0 < rms < SMALL and max(abs(facts.low), abs(facts.high)) < 1:
        found.append(
            f"the values are off their mean image by {rms:.2g} (RMS), and networks start from outputs of order 1: a "
            f"trial may end worse than the mean image; divide the values by {rms:.2g} once and save the array again"
        )
    return found


def _reason(data: DataConfig, facts: DataFacts) -> str:
    """What about the data made the likelihood what it is."""
    if data.likelihood == "gaussian":
        return "as configured, the values are bits" if facts.bits else "the values are gray"
    if facts.bits:
        return "the values are bits"
    drawn = {"dynamic": "drawn as bits at every step", "fixed": "drawn as bits once", "soft": "taken as they are"}
    return f"gray values {drawn[data.binarize]}"
