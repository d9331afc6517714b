"""The verbs as functions: what `vae-tuner` does, for a notebook or a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from search_spaces.catalogue import parse_space
from search_spaces.space import Space
from trainables.checkpoint import FILE_NAME
from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.paths import parse_config, plain
from trainables.sources import is_path
from trainables.vae import Vae
from tuner import queries
from tuner.driver import SweepResult, run_sweep
from tuner.planning import Plan, make_plan
from tuner.queries import BestTrial
from tuner.range_test import LrRange, run_lr_range
from tuner.retraining import Retrained, retrain
from tuner.spec import SweepSpec, parse_spec, read_yaml
from tuner.sweep_status import SweepStatus, sweep_statuses
from tuner.tracking_uri import resolve_uri

__all__ = ["best", "load", "lr_range", "plan", "spaces", "status", "sweep", "train"]

Spec = SweepSpec | Mapping[str, Any] | str | Path


def _spec(spec: Spec) -> SweepSpec:
    if isinstance(spec, SweepSpec):
        return spec
    return parse_spec(spec if isinstance(spec, Mapping) else read_yaml(Path(spec)))


def plan(spec: Spec, *, data_dir: Path | None = None) -> Plan:
    """What a sweep would do: rungs, concurrency, the space in numbers. Starts nothing."""
    return make_plan(_spec(spec), data_dir)


def sweep(spec: Spec, *, data_dir: Path | None = None) -> SweepResult:
    """Run a sweep to its end: a SweepSpec, its YAML file, or the same as nested plain data.

    Raises UserError for what cannot run, before anything is started.
    """
    return run_sweep(make_plan(_spec(spec), data_dir))


def best(
    sweep: str | Sequence[str] = (),
    *,
    experiment: str = "vae-tuner",
    method: str | None = None,
    dataset: str | None = None,
    metric: str | None = None,
    top: int | None = 1,
    include_pruned: bool = False,
    tracking_uri: str | None = None,
) -> list[BestTrial]:
    """The best completed trials that MLflow knows, best first; `top=None` gives the best of each method.

    Raises UserError for a store, sweep, method, data set or metric that is not there.
    """
    return queries.best(
        resolve_uri(tracking_uri, Path.cwd()),
        sweep=[sweep] if isinstance(sweep, str) else sweep,
        experiment=experiment,
        method=method,
        dataset=str(Path(dataset).expanduser().resolve()) if dataset and is_path(dataset) else dataset,
        metric=metric,
        top=top,
        include_pruned=include_pruned,
    )


def train(
    config: TrialConfig | Mapping[str, Any] | str | Path,
    *,
    experiment: str = "vae-tuner",
    tracking_uri: str | None = None,
    data_dir: Path | None = None,
) -> Retrained:
    """Train one configuration to its end and log it: a TrialConfig, its YAML file, or nested plain data."""
    if not isinstance(config, TrialConfig):
        config = parse_config(config if isinstance(config, Mapping) else read_yaml(Path(config)))
    return retrain(config, resolve_uri(tracking_uri, Path.cwd()), experiment, data_dir)


def lr_range(
    config: TrialConfig | Mapping[str, Any] | str | Path,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    epochs: int = 3,
    linear: bool = False,
    out: str | Path | None = None,
    data_dir: Path | None = None,
) -> LrRange:
    """Train a configuration while its learning rate rises, and suggest the bounds of its cycles.

    out: a new folder for the curve, its picture, and a sweep and a configuration with the bounds; none writes nothing.
    """
    if isinstance(config, TrialConfig):
        config = plain(config)
    tree = config if isinstance(config, Mapping) else read_yaml(Path(config))
    result = run_lr_range(tree, low=low, high=high, epochs=epochs, linear=linear, chosen_data_dir=data_dir)
    if out is not None:
        result.write(Path(out))
    return result


def load(source: str | Path, *, model: str | None = None, tracking_uri: str | None = None, device: str = "cpu") -> Vae:
    """A trained model: from a checkpoint file, or from an MLflow run that completed, by its id.

    model: of a model that a user's own `package.module:factory` made, that name again: what is loaded says which code
    it needs, and the caller whether it may run. Raises UserError for a source that is not there or not allowed.
    """
    if Path(source).is_file():
        return Vae.from_file(source, device, model)
    if "/" in str(source) or Path(source).suffix:
        raise UserError(f"{source} does not exist; give a checkpoint file or the id of an MLflow run")
    with TemporaryDirectory() as folder:
        file = queries.artifact(resolve_uri(tracking_uri, Path.cwd()), str(source), FILE_NAME, Path(folder))
        return Vae.from_file(file, device, model)


def status(name: str | None = None, *, storage: str | Path = "./sweeps") -> list[SweepStatus]:
    """How the sweeps in a storage folder stand, or the one of this name."""
    return sweep_statuses(Path(storage), name)


def spaces(name: str) -> Space:
    """A search space by name; names may be joined by `+`."""
    return parse_space(name)
