"""`lr-range`: the range test of a configuration, and what it leaves for a sweep to take over."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainables.config import TrialConfig
from trainables.config.paths import parse_config, plain
from trainables.credentials import check_no_secrets
from trainables.errors import ConfigError, UserError
from trainables.global_settings import fresh
from trainables.schedules.lr import ClrLr
from trainables.training import range_test
from trainables.training.range_test import Bounds, RangeTest
from tuner.running.single_run import make_ready
from tuner.sweeps.folder import first_free
from tuner.tracking.origin import parted
from tuner.tracking.ranked_epoch import split_ranked

SHARED_FIELDS = ClrLr.model_fields.keys() - {"kind", "base", "max", "step_size", "mode", "gamma"}


@dataclass(frozen=True)
class LrRange:
    """A range test and its suggestion.

    tree: the configuration as it was given; config: as it was parsed, the test's own ramp left out.
    suggestion: lr.base and lr.max for batches of lr.base_batch_size, two digits, within the rates of the test; None
    where it found none. trial_notes: what the user should know of data and model.
    """

    tree: Mapping[str, Any]
    config: TrialConfig
    test: RangeTest
    linear: bool
    suggestion: Bounds | None
    trial_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, of the trial, of the test and of the rates that the suggestion means."""
        config = parse_config(self.trial())
        rate = config.lr.rate_in_use(config.batch_size) if self.suggestion else None
        return (*self.trial_notes, *self.test.notes, *([f"as suggested: {rate}"] if rate else []))

    @property
    def settings(self) -> dict[str, Any]:
        """The suggestion by configuration path, as `--set` takes it."""
        if self.suggestion is None:
            return {}
        return {"lr.kind": "clr", "lr.base": self.suggestion.base, "lr.max": self.suggestion.max}

    def document(self) -> dict[str, Any]:
        """The test as JSON knows it; rates as they were used, the suggestion for lr.base_batch_size."""
        return {
            "suggestion": self.settings or None,
            "base_batch_size": self.config.lr.base_batch_size,
            "batch_size": self.config.batch_size,
            "notes": list(self.notes),
            "lr": self.test.rates.tolist(),
            "loss": self.test.losses.tolist(),
            "smoothed": self.test.smoothed.tolist(),
            "config": plain(self.config),
        }

    def trial(self) -> dict[str, Any]:
        """The configuration with cycles between the bounds, as `train` takes it."""
        lr = {field.removeprefix("lr."): value for field, value in self.settings.items()}
        return {**self._without_lr(), "lr": {**lr, **self._shared_lr()}}

    def spec(self) -> dict[str, Any]:
        """A sweep of cycles whose base is in the lower third between the bounds, and whose max in the upper."""
        assert self.suggestion is not None
        base, top = self.suggestion.base, self.suggestion.max
        third = (top / base) ** (1 / 3)
        shared = {"lr": lr} if (lr := self._shared_lr()) else {}
        return {
            "config": {**self._without_lr(), **shared},
            "space": {
                "use": ["clr"],
                "lr.base": {"float": [base, _two_digits(base * third)], "log": True},
                "lr.max": {"float": [_two_digits(top / third), top], "log": True},
            },
        }

    def _without_lr(self) -> dict[str, Any]:
        return {section: value for section, value in self.tree.items() if section != "lr"}

    def _shared_lr(self) -> dict[str, Any]:
        """What the configuration says of its learning rate whatever the schedule."""
        return {field: value for field, value in self.tree.get("lr", {}).items() if field in SHARED_FIELDS}

    def write(self, folder: Path | None = None) -> dict[str, Path]:
        """The curve as JSON and picture and, where there are bounds, a sweep and a configuration with them.

        folder: a new one; by default reports/lr-range-DATASET-N with the first free N. Returns the files by what they
        are. Raises UserError where the folder exists.
        """
        from tuner.reports.figures.lr_range import lr_range_figure

        folder = folder or free_folder(self.config.data.name)

        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise UserError(f"{folder} exists; name another folder, or remove it first") from None
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}; name another folder") from None
        name = Path(self.config.data.name).stem
        figure = lr_range_figure(self.test, name, self.config.batch_size, linear=self.linear)
        figure.savefig(folder / "lr-range.png")
        texts = {"json": ("lr-range.json", json.dumps(self.document(), indent=2))}
        if self.suggestion is not None:
            texts["sweep"] = ("sweep.yaml", yaml.safe_dump(self.spec(), sort_keys=False))
            texts["config"] = ("config.yaml", yaml.safe_dump(self.trial(), sort_keys=False))
        for file, text in texts.values():
            (folder / file).write_text(text, encoding="utf-8")
        return {"figure": folder / "lr-range.png", **{what: folder / file for what, (file, _) in texts.items()}}


@fresh()
def run_lr_range(
    tree: Mapping[str, Any],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    epochs: int = 3,
    linear: bool = False,
    chosen_data_dir: Path | None = None,
) -> LrRange:
    """The range test of a configuration given as plain data; raises UserError for what cannot run."""
    if not 0 < low < high:
        raise ConfigError(f"learning rates from {low:g} to {high:g} do not rise; low must be above 0 and below high")
    if not math.isfinite(high / low):
        raise ConfigError(
            f"learning rates from {low:g} to {high:g} are too far apart; high and high / low must be finite"
        )
    tree, origin = parted(tree)
    if origin is None:
        check_no_secrets(tree)
    tree, _ = split_ranked(tree)
    config = parse_config(tree)
    ready = make_ready(range_test.ramped(config, low, high, epochs, linear), chosen_data_dir, trained_as=config)
    test = range_test.run(ready.trainer)
    factor = config.lr.batch_size_factor(config.batch_size)
    suggestion = test.bounds and per_base_batch(test.bounds, low, high, factor)
    return LrRange(tree, config, test, linear, suggestion, ready.notes)


def per_base_batch(bounds: Bounds, low: float, high: float, factor: float) -> Bounds:
    """Bounds for lr.base_batch_size, from those that were used; rounding leads none of them out of the test's rates."""
    base, top = (
        min(max(_two_digits(value / factor), low / factor), high / factor) for value in (bounds.base, bounds.max)
    )
    return Bounds(base, top)


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def free_folder(dataset: str, root: Path = Path("reports")) -> Path:
    """reports/lr-range-DATASET-N with the first free N."""
    return root / first_free(f"lr-range-{Path(dataset).stem}", lambda name: (root / name).exists())
