"""A trial's state on disk: versioned, checked, replaced atomically, loadable without executing code (safetensors)."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.paths import parse_config, plain
from trainables.errors import DataError
from trainables.folder import replacing
from trainables.identity import Identity, parse_identity

FORMAT = "vae-tuner 1"
GROUPS = ("params", "buffers", "state")


@dataclass(frozen=True)
class Checkpoint:
    """Everything a trial needs to go on: randomness is a function of (seed, step) and needs no state.

    groups: tensors by group and name: `params`, `buffers`, `state` (the objective's), and the moments of the optimiser.
    shape: of one example.
    metrics, outcome: what the epoch was reported with, so that a report that was lost can be given again.
    identity: the data, code and versions of the epoch's training. value_range: the lowest and the highest value of its
    data, as the model saw them; None in older files.
    """

    config: TrialConfig
    epoch: int
    shape: tuple[int, ...]
    groups: Mapping[str, Mapping[str, Tensor]]
    metrics: Mapping[str, float] = field(default_factory=dict)
    outcome: str | None = None
    identity: Identity = field(default_factory=Identity)
    value_range: tuple[float, float] | None = None


def config_hash(config: TrialConfig) -> str:
    """A short digest of a configuration."""
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write beside the target, then replace it: a reader sees the old file or the new one, never half of either."""
    tensors = {
        f"{group}/{name}": value.detach().contiguous()
        for group, values in checkpoint.groups.items()
        for name, value in values.items()
    }
    metadata = {
        "format": FORMAT,
        "epoch": str(checkpoint.epoch),
        "shape": json.dumps(checkpoint.shape),
        "config": json.dumps(plain(checkpoint.config)),
        "config_hash": config_hash(checkpoint.config),
        "metrics": json.dumps(dict(checkpoint.metrics)),
        "outcome": json.dumps(checkpoint.outcome),
        "identity": json.dumps(checkpoint.identity.document()),
        "value_range": json.dumps(checkpoint.value_range),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        try:
            save_file(tensors, part, {**metadata, "checksum": checksum(metadata, tensors)})
        except SafetensorError as error:  # what it makes of a disk's error
            raise OSError(str(error)) from None


def read(path: Path, device: str | torch.device = "cpu", name: str | None = None) -> Checkpoint:
    """The checkpoint in a file; raises DataError for a file that is not one, or is not as it was written.

    name: what errors call the file, by default its path.
    """
    name = name or str(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{name} cannot be read as a checkpoint: {error}") from None
    if metadata.get("format") != FORMAT:
        raise DataError(f"{name} is not a checkpoint of the format {FORMAT}")
    if metadata.pop("checksum", None) != checksum(metadata, tensors):
        raise DataError(f"{name} is damaged: its content is not what was written")
    try:
        return Checkpoint(
            parse_config(json.loads(metadata["config"])),
            int(metadata["epoch"]),
            tuple(json.loads(metadata["shape"])),
            _grouped({key: value.to(device) for key, value in tensors.items()}),
            dict(json.loads(metadata["metrics"])),
            json.loads(metadata["outcome"]),
            parse_identity(json.loads(metadata.get("identity", "{}"))),
            _range(json.loads(metadata.get("value_range", "null"))),
        )
    except (KeyError, TypeError, ValueError) as error:  # a checksum is no secret: others can make one
        raise DataError(f"{name} is not a checkpoint of the format {FORMAT}: {error} is missing or malformed") from None


def _range(pair: Any) -> tuple[float, float] | None:
    if pair is None:
        return None
    low, high = pair
    return float(low), float(high)


def checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of all that is said and all values, in the order of the names."""
    crc = zlib.crc32(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].cpu().reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def _grouped(tensors: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """By group and name; a group that is not one of `GROUPS` is a moment, whose tensors have names of parameters."""
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in GROUPS}
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value
    for moment in groups.keys() - set(GROUPS):
        if not groups[moment].keys() <= groups["params"].keys():
            raise KeyError(moment)
    return groups
