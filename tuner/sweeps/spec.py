"""What a sweep is, as one YAML file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from search_spaces.reach import is_constant
from trainables.config.paths import flatten, is_known, known_paths, not_allowed, suggest, unflatten
from trainables.credentials import check_no_secrets
from trainables.errors import ConfigError
from trainables.object_storage import checked_storage
from trainables.ranking import LAST, is_ranking
from trainables.values import Auto, Count, Optional, Positive, Seed
from tuner.sweeps.kinds import Pruning, Sampler
from tuner.sweeps.tracking_uri import without_secret
from tuner.sweeps.yaml_files import read_yaml

DEFAULT_SPACE = "geco-vs-annealing"
MOST_REPEATS = 1_000
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class _SpecSection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _name(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and NAME.fullmatch(value)):
        raise ValueError("1 to 64 letters, digits, '.', '_' or '-', not starting with a dot")
    return value


def _metrics(value: Any) -> Any:
    """`val/mse,val/kl` as on the command line, or a list; one name stays a word."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _ranking(value: str) -> str:
    if not is_ranking(value):
        raise ValueError("last, best, or mean-K for the mean over the last K epochs, as in mean-5")
    return value


def parse_time(value: Any) -> Any:
    """Seconds, from a number or from `90s`, `30m`, `2h`, `1d`."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([smhd]?)\s*", value)
        if match is None:
            raise ValueError("a time such as 90s, 30m, 2h or 1d")
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    return value


def _gpus(value: Any) -> Any:
    """Ray gives a part of one GPU, or whole ones."""
    if value is None or value == "auto":
        return value
    try:
        gpus = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        gpus = math.nan
    if not (0.01 <= gpus <= 1 or (gpus >= 0 and gpus.is_integer())):
        raise ValueError("auto, none, a share of a GPU from 0.01 to 1, or a whole number of them")
    return gpus


class Search(_SpecSection):
    """How configurations are chosen, and what counts.

    sampler: `tpe` learns from finished trials, and so does `nsga2`, for several metrics; `random` and `qmc` do not;
        `grid` enumerates.
    trials: configurations.
    repeats: how many seeds each is trained with: `seed`, `seed` + 1, …; they are ranked by their mean and pruned
        together.
    seed: of the sampler and of every trial.
    metric: `auto` follows likelihood and objective; several are searched as a Pareto set.
    ranking: the epoch by which a trial is ranked: its `last`, its `best` by the (first) metric, or `mean-K`, the mean
        over its last K.
    warm_start: earlier sweeps in the same storage whose trials the sampler is told of.
    points: exactly these trials, by configuration path, in this order; the space, the sampler and the number of trials
        then mean nothing.
    """

    sampler: Sampler = "tpe"
    trials: Count = 20
    repeats: Annotated[Count, Field(le=MOST_REPEATS)] = 1
    seed: Seed = 0
    metric: Annotated[str | tuple[str, ...], BeforeValidator(_metrics)] = "auto"
    ranking: Annotated[str, AfterValidator(_ranking)] = LAST
    warm_start: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    points: tuple[dict[str, Any], ...] = ()


class Scheduler(_SpecSection):
    """Which trials are stopped early.

    kind: `auto` is asha for one metric and none for several.
    grace: epochs before the first comparison; `auto` from the longest warm-up the space can draw.
    reduction_factor: of the trials that reach a rung, one in so many goes on.
    patience: a trial stops whose metric has not been better for so many epochs, counted after its own warm-ups and,
        under cycles, at their ends alone; under GECO once its constraint was met.
    """

    kind: Auto | Pruning = "auto"
    grace: Count | Auto = "auto"
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    patience: Annotated[Count | None, Optional] = None


class Budget(_SpecSection):
    """Where the sweep stops in order, whichever comes first; epochs under way are finished and kept.

    time: seconds, or `90s`, `30m`, `2h`, from the start of the sweep, Ray's start included.
    epochs: of all trials together.
    """

    time: Annotated[Positive | None, BeforeValidator(parse_time), Optional] = None
    epochs: Annotated[Count | None, Optional] = None


class Resources(_SpecSection):
    """What trials get, and how many run at once: as many as `concurrency` says, and no more than lanes × members.

    concurrency: trials at once; `auto` is a quarter of them for a sampler that learns, so that it still does, and for
        others as many as find room.
    lanes: workers, each of which trains several trials at once; `auto` is one for each core, or for each GPU, of the
        machine or of what the cluster has.
    members: the most trials of a lane; `auto` is as many as make a step cheapest for each.
    cpus_per_trial: cores of a lane, and its threads.
    gpus_per_trial: of a lane; none for 1 where there is a GPU, else 0; a fraction shares one; `auto` measures what
        share of one the largest configuration needs.
    ray_address: of a Ray cluster that runs; none starts Ray here.
    retries: how often a trial that is lost with its worker, or whose model raises, goes on from its last checkpoint.
    epoch_timeout: seconds, or `90s`, `30m`, after which a trial ends whose epoch has not; its first begins with reading
        data and making the model. A lane has as much for each of its trials.
    """

    concurrency: Count | Auto = "auto"
    lanes: Count | Auto = "auto"
    members: Count | Auto = "auto"
    cpus_per_trial: Positive = 1.0
    gpus_per_trial: Annotated[float | Auto | None, BeforeValidator(_gpus), Optional] = None
    ray_address: Annotated[str | None, Optional] = None
    retries: Annotated[int, Field(ge=0)] = 3
    epoch_timeout: Annotated[Positive | None, BeforeValidator(parse_time), Optional] = None


class Tracking(_SpecSection):
    """Where the records go.

    uri: MLflow's; none for `sqlite:///mlflow.db` in the working directory, or MLFLOW_TRACKING_URI.
    experiment: MLflow's.
    offline: nothing is sent while the sweep runs; `vae-tuner sync` does it afterwards.
    tags: of the sweep's run in MLflow.
    """

    uri: Annotated[str | None, Optional] = None
    experiment: Annotated[str, Field(min_length=1)] = "vae-tuner"
    offline: bool = False
    tags: dict[str, str] = {}


class SweepSpec(_SpecSection):
    """A sweep: the fixed part of every trial, what varies, and how it is searched.

    name: state is kept in storage/NAME; none for SPACE-DATASET-N with the first free N.
    config: configuration by section.
    space: names joined by `+`, or `use: [NAME]` with dimensions by path.
    storage: root of sweep states: a folder, or `s3://…`, `gs://…`, `abfs://…`.
    """

    name: Annotated[str | None, BeforeValidator(_name), Optional] = None
    config: dict[str, Any] = {}
    space: str | dict[str, Any] = DEFAULT_SPACE
    search: Search = Search()
    scheduler: Scheduler = Scheduler()
    budget: Budget = Budget()
    resources: Resources = Resources()
    tracking: Tracking = Tracking()
    storage: Annotated[str, Field(min_length=1), AfterValidator(checked_storage)] = "./sweeps"


def parse_spec(tree: Mapping[str, Any]) -> SweepSpec:
    """A spec from nested plain data; raises ConfigError with one line that names field, value and fix."""
    try:
        spec = SweepSpec.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(error.errors()))) from None
    for path in flatten(spec.config):
        if not is_known(path):
            raise ConfigError(f"config: unknown key `{path}`{suggest(path, known_paths())}")
    return spec


def _explain(details: Sequence[Any]) -> list[str]:
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    sentences = [
        f"unknown key `{'.'.join(map(str, path))}`{suggest(str(path[-1]), _fields(path[:-1]))}" for path in unknown
    ]
    others = [detail for detail in details if detail["type"] != "extra_forbidden"]
    return sentences + not_allowed([(_path_of(detail["loc"]), detail) for detail in others])


def _path_of(location: Sequence[int | str]) -> str:
    """The path of a field in pydantic's location, which also names the alternative of a union tried; and of a tag."""
    words, before = _spec_words(), (None, *location)
    return ".".join(str(part) for n, part in enumerate(location) if part in words or before[n] == "tags")


def _fields(section: Sequence[int | str]) -> list[str]:
    """The keys a section of a spec may have."""
    owner = SweepSpec.model_fields[str(section[0])].annotation if section else SweepSpec
    return list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []


def _spec_words() -> set[str]:
    sections = [field.annotation for field in SweepSpec.model_fields.values()]
    models: list[type[BaseModel]] = [SweepSpec]
    models += [section for section in sections if isinstance(section, type) and issubclass(section, BaseModel)]
    return {word for model in models for word in model.model_fields}


def unit_of_trials(n_seeds: int) -> str:
    """What `search.trials` counts where each configuration is trained with so many seeds."""
    return "trials" if n_seeds == 1 else "configurations"


def public(spec: SweepSpec) -> SweepSpec:
    """A spec as it may be written down: without a tracking URI that holds a password."""
    tracking = spec.tracking.model_copy(update={"uri": without_secret(spec.tracking.uri)})
    return spec.model_copy(update={"tracking": tracking})


def check_public(spec: SweepSpec) -> None:
    """Raises ConfigError where a field holds a secret: specs are written into the journal, MLflow and reports. The
    tracking URI is not asked, for it is left out there."""
    check_no_secrets(spec.model_dump(mode="json", exclude={"tracking": {"uri"}}))


def spec_yaml(spec: SweepSpec) -> str:
    """A spec as YAML that parses back to the same."""
    return as_yaml(spec.model_dump(mode="json"))


def as_yaml(tree: Mapping[str, Any]) -> str:
    """Nested plain data as YAML, in its order."""
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)


def sweep_tree(source: Path | Mapping[str, Any], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A sweep's file, or the same as a mapping, with options by path laid over it.

    An option fixes what the file searches by its own path. Raises ConfigError where the file itself does both.
    """
    tree = read_yaml(source) if isinstance(source, Path) else dict(source)
    if isinstance(config := tree.get("config"), Mapping):
        tree["config"] = unflatten(flatten(config))  # `lr.base: …` and `lr: {base: …}` are the same
    for path, (domain, value) in _both(tree).items():
        if is_constant(path):
            raise ConfigError(f"space: {path} must be the same for all trials; leave it to config")
        raise ConfigError(
            f"{path} is searched under space ({json.dumps(domain, default=str)}) and fixed under config "
            f"({json.dumps(value, default=str)}); leave one of the two out"
        )
    laid = overlaid(tree, options or {})
    fixed = {path: value for path, (_, value) in _both(laid).items()}
    return {**laid, "space": {**laid["space"], **fixed}} if fixed else laid


def _both(tree: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What a file searches by its own path under `space:` and fixes under `config:`, as (dimension, value)."""
    space, config = tree.get("space"), tree.get("config")
    if not isinstance(space, Mapping) or not isinstance(config, Mapping):
        return {}
    fixed = flatten(config)
    return {path: (entry, fixed[path]) for path, entry in space.items() if isinstance(entry, Mapping) and path in fixed}


def overlaid(tree: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with options by path laid over it; options that are None are left out."""
    chosen = {path: value for path, value in options.items() if value is not None}
    result: dict[str, Any] = dict(tree)
    for section, value in unflatten(chosen).items():
        below = result.get(section)
        result[section] = overlaid(below, value) if isinstance(below, Mapping) and isinstance(value, dict) else value
    return result
