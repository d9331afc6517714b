"""What a comparison was asked for, and the design that follows from it and the data."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from trainables.config import TrialConfig
from trainables.config.paths import flatten, parse_config, plain, unflatten
from trainables.data.dataset import DataFacts, data_facts
from trainables.data.readers import absolute
from trainables.errors import ConfigError, UserError
from trainables.resolve import resolve
from trainables.schedules.lr import ConstantLr, scaling_of
from tuner.comparison.design import RATE_FACTORS, Design
from tuner.comparison.kinds import METHODS
from tuner.comparison.methods import LR, Scale, free_paths
from tuner.comparison.stages import REQUEST_FILE
from tuner.comparison.statistics import MOST_SEEDS
from tuner.sweeps.atomic_files import write_json
from tuner.sweeps.journal import JOURNAL, read_journal
from tuner.sweeps.spec import NAME
from tuner.sweeps.state import REFUSED, Sweep, fold

FEWEST_SEEDS = 2
QUICK_SEEDS, QUICK_POOL = 5, 24
SEEDS, POOL = 10, 64
REACH_FILE = "reach.json"
LONGEST_NAME = 48
OWNED = ("seed", "objective", "beta")
ASKED_FOR = {"data.name": "--dataset", "model.kind": "--model"}


@dataclass(frozen=True)
class Request:
    """Two requests of one name must be equal: the second goes on with the first.

    settings: further fixed values by configuration path. seeds: none for 10, or 5 when quick. transfer: the finished
    comparison on other data with which dials are exchanged; it may be named later, once.
    """

    name: str
    dataset: str = "digits"
    model: str = "mlp"
    methods: tuple[str, ...] = METHODS
    epochs: int | None = None
    seeds: int | None = None
    quick: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    transfer: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or len(self.name) > LONGEST_NAME:
            raise ConfigError(f"name: {self.name!r} is not allowed; allowed: 1 to 48 letters, digits, '.', '_' or '-'")
        for method in self.methods:
            free_paths(method)
        if "geco" not in self.methods or len(set(self.methods)) != len(self.methods):
            raise ConfigError(f"methods: {','.join(self.methods)} is not allowed; name geco and its rivals, each once")
        if self.seeds is not None and not FEWEST_SEEDS <= self.seeds <= MOST_SEEDS:
            raise ConfigError(f"seeds: {self.seeds} is not allowed; allowed: {FEWEST_SEEDS} to {MOST_SEEDS}")
        if self.transfer is not None and (self.transfer == self.name or not NAME.fullmatch(self.transfer)):
            raise ConfigError(f"transfer: {self.transfer!r} is not allowed; name another comparison that is finished")
        for path, value in flatten(self.settings).items():
            _check_free(path, value)

    @property
    def base(self) -> dict[str, Any]:
        """The fixed part of every run, by configuration path."""
        chosen = {"data.name": absolute(self.dataset), "model.kind": self.model, "epochs": self.epochs}
        return {path: value for path, value in {**chosen, **self.settings}.items() if value is not None}


def _check_free(path: str, value: Any) -> None:
    """Refuse to fix what the comparison decides, or what has an option of its own."""
    if path.partition(".")[0] in OWNED:
        raise ConfigError(f"{path}: {value} is not allowed; a comparison chooses it for every run, leave it out")
    if path in ASKED_FOR:
        raise ConfigError(f"{path}: {value} is not allowed in --set; name it with {ASKED_FOR[path]}")


def named_after(dataset: str, model: str) -> str:
    """What a comparison without a name is called.

    Parameters
    ----------
    dataset, model
        As they are asked for.

    Returns
    -------
    str
        DATASET-MODEL.

    Examples
    --------
    >>> named_after("./faces.npz", "nets:make")
    'faces-nets-make'
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{Path(dataset).stem}-{model}").strip("-")[:LONGEST_NAME]


def design_of(request: Request, data_dir: Path) -> tuple[Design, TrialConfig]:
    """What a request amounts to on its data.

    Parameters
    ----------
    request
        What was asked for.
    data_dir
        Folder of the built-in data sets.

    Returns
    -------
    tuple of Design and TrialConfig
        The design, and the default configuration with its numbers.

    Raises
    ------
    UserError
        That cannot be compared.
    """
    config, facts = _resolved(request, data_dir)
    if not isinstance(config.lr, ConstantLr):
        raise ConfigError(f"lr.kind: {config.lr.kind} cannot be compared; methods share a grid of constant rates")
    sigma = config.model.sigma if isinstance(config.model.sigma, float) else None
    scale = Scale(facts.kappa_max["nll" if sigma is None else "re"], sigma, facts.n_elements)
    if scale.sigma is None and "gqn" in request.methods:
        raise ConfigError("methods: gqn anneals sigma, which a Bernoulli likelihood does not have; leave it out")
    return (
        Design(
            request.base,
            request.methods,
            scale,
            tuple(factor * config.lr.base for factor in RATE_FACTORS),
            request.seeds or (QUICK_SEEDS if request.quick else SEEDS),
            QUICK_POOL if request.quick else POOL,
        ),
        config,
    )


def _resolved(request: Request, data_dir: Path) -> tuple[TrialConfig, DataFacts]:
    config = parse_config(unflatten(request.base))
    if config.model.learn_sigma:
        raise ConfigError("model.learn_sigma: what GECO and β weigh is a fixed sigma; set it to false")
    facts = data_facts(config.data, data_dir)
    return resolve(config, facts), facts


def remembered(request: Request, folder: Path) -> None:
    """Write a request down, or refuse another one under its name.

    Parameters
    ----------
    request
        What was asked for.
    folder
        Of the comparison.

    Raises
    ------
    UserError
        The comparison was begun with another setting.
    """
    file = folder / REQUEST_FILE
    asked = json.loads(json.dumps(asdict(request)))
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, asked)
        return
    begun = json.loads(file.read_text(encoding="utf-8"))
    newly_named = not begun.get("transfer")
    before = {**begun, "transfer": asked["transfer"] if newly_named else begun["transfer"]}
    differing = next(iter(differing_paths(before, asked)), None)
    if differing:
        raise UserError(
            f"name: comparison {request.name} was begun with another {differing} "
            f"({flatten(before).get(differing)}); repeat its command to go on with it, or choose another name"
        )
    if newly_named and request.transfer:
        write_json(file, before)


def known_reach(folder: Path) -> dict[str, float]:
    """κ_min as it was measured for a comparison.

    Parameters
    ----------
    folder
        Of the comparison.

    Returns
    -------
    dict of str to float
        By constraint; empty where it was not measured, or could not be.
    """
    file = folder / REACH_FILE
    found: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def as_begun(design: Design, config: TrialConfig, pilot: Path) -> Design:
    """A design with the learning rates that its pilot was begun with, and the rule by which they follow the batch size.

    Parameters
    ----------
    design
        By today's defaults, which may have changed since.
    config
        What all methods share, by today's defaults.
    pilot
        Folder of the pilot's sweep.

    Returns
    -------
    Design
        The same where the pilot has not begun.
    """
    file = pilot / JOURNAL
    events = read_journal(file) if file.exists() else []
    if not events:
        return design
    sweep = fold(events)
    rates = {point[LR] for point in sweep.header["spec"]["search"]["points"]}
    today = schedule_of(config)
    former = {path: value for path, value in (schedule_begun(sweep) or today).items() if today.get(path) != value}
    return replace(design, rates=tuple(sorted(rates)), base={**design.base, **former})


def schedule_begun(sweep: Sweep) -> dict[str, Any] | None:
    """The learning-rate schedule that a sweep was begun with.

    Parameters
    ----------
    sweep
        With the configurations of its trials.

    Returns
    -------
    dict or None
        By path, of the first trial that was not refused; None without one.
    """
    first = next((trial for trial in sweep.trials.values() if trial.kind != REFUSED), None)
    return None if first is None else schedule_of(parse_config(first.config))


def schedule_of(config: TrialConfig) -> dict[str, Any]:
    """What makes learning rates of `lr.base`.

    Parameters
    ----------
    config
        Resolved.

    Returns
    -------
    dict of str to value
        By path; the rule for batch sizes only where it has something to do.
    """
    scaled = {"lr.scaling": scaling_of(config.lr.scaling), "lr.base_batch_size": config.lr.base_batch_size}
    rest = {path: value for path, value in flatten(plain(config)).items() if path.startswith("lr.") and path != LR}
    rest = {path: value for path, value in rest.items() if path not in scaled}
    return rest if config.batch_size == config.lr.base_batch_size else {**rest, **scaled}


def differing_paths(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The paths at which two trees of plain data differ.

    Parameters
    ----------
    one, other
        Nested.

    Returns
    -------
    list of str
        In the order of `other`.

    Examples
    --------
    >>> differing_paths({"seeds": 2, "lr": {"base": 1}}, {"seeds": 3, "lr": {"base": 1}})
    ['seeds']
    """
    flat, other_flat = flatten(one), flatten(other)
    return [path for path in dict.fromkeys([*other_flat, *flat]) if flat.get(path) != other_flat.get(path)]


def read_request(folder: Path) -> Request | None:
    """What a comparison was asked for.

    Parameters
    ----------
    folder
        Of the comparison.

    Returns
    -------
    Request or None
        None where there is no comparison.
    """
    if not (folder / REQUEST_FILE).is_file():
        return None
    kept = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    return Request(**{**kept, "methods": tuple(kept["methods"])})


def command_of(request: Request, options: Mapping[str, Any] | None = None) -> str:
    """The command that repeats a comparison.

    Parameters
    ----------
    request
        What was asked for.
    options
        Where and how it runs, by option; one that is True has no value.

    Returns
    -------
    str
        Quoted for a shell.

    Examples
    --------
    >>> command_of(Request("c", methods=("geco", "beta")), {"--offline": True})
    'vae-tuner compare --dataset digits --model mlp --name c --methods geco,beta --offline'
    """
    words = ["vae-tuner", "compare", "--dataset", request.dataset, "--model", request.model, "--name", request.name]
    words += ["--methods", ",".join(request.methods)]
    words += ["--epochs", str(request.epochs)] if request.epochs else []
    words += ["--seeds", str(request.seeds)] if request.seeds else []
    words += ["--quick"] if request.quick else []
    words += ["--transfer", request.transfer] if request.transfer else []
    for path, value in request.settings.items():
        words += ["--set", f"{path}={_as_yaml(value)}"]
    for option, value in (options or {}).items():
        words += [option] if value is True else [option, str(value)]
    return shlex.join(words)


def _as_yaml(value: Any) -> str:
    """A value on one line, as `--set` reads it back."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()
