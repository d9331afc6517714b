"""A trial's checkpoints, epoch by epoch: the newest that is whole is gone on from, and few are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from trainables.checkpoint import FILE_NAME, Checkpoint, config_hash, read, write
from trainables.config import TrialConfig
from trainables.errors import UserError

__all__ = ["Generations"]

KEPT = 2
PATTERN = "epoch-*.safetensors"
NAME = re.compile(r"epoch-(\d+)-(.+)\.safetensors")


@dataclass(frozen=True)
class Generations:
    """The checkpoints `epoch-N-SESSION.safetensors` in a trial's folder.

    session: names the process that writes; later ones sort after it. So an orphan of an earlier one neither writes nor
    removes what this one reads.
    warn: told why a checkpoint was passed over.
    """

    folder: Path
    session: str
    warn: Callable[[str], None]

    def save(self, checkpoint: Checkpoint) -> str:
        """Write a checkpoint, drop all before the newest two epochs up to its own; returns its file's name."""
        path = self.folder / f"epoch-{checkpoint.epoch:05}-{self.session}.safetensors"
        write(path, checkpoint)
        epochs = {epoch for epoch in self._ours().values() if epoch <= checkpoint.epoch}
        self._drop(sorted(epochs)[-KEPT:][0])
        return path.name

    def latest(self, config: TrialConfig, device: str | torch.device, at_most: int) -> Checkpoint | None:
        """The newest checkpoint that is whole, of this configuration and not beyond an epoch; None where there is none.

        With a warning for each that is passed over, and where a trial that had some must begin anew.
        """
        paths = self._newest_first()
        for path in paths:
            found = self._whole(path, config, device)
            if found is not None and found.epoch <= at_most:
                return found
        if paths:
            self.warn(f"{self.folder} has no checkpoint to go on from: the trial begins anew")
        return None

    def _whole(self, path: Path, config: TrialConfig, device: str | torch.device) -> Checkpoint | None:
        try:
            found = read(path, device)
        except UserError as error:
            self.warn(f"{error}; the checkpoint before it is taken")
            return None
        if config_hash(found.config) != config_hash(config):
            self.warn(f"{path} is of another configuration and is not read")
            return None
        return found

    def clear(self) -> None:
        """Remove them; the final checkpoint stays."""
        self._drop(math.inf)

    def _drop(self, before: float) -> None:
        for path, epoch in self._ours().items():
            if epoch < before:
                path.unlink(missing_ok=True)

    def _ours(self) -> dict[Path, int]:
        """The checkpoints by epoch, but for those of later sessions."""
        found = ((path, NAME.fullmatch(path.name)) for path in self.folder.glob(PATTERN))
        return {path: int(match[1]) for path, match in found if match and match[2] <= self.session}

    def _newest_first(self) -> list[Path]:
        """The final checkpoint first: a trial that has one has trained to its end."""
        epochs = sorted(self.folder.glob(PATTERN), key=lambda path: path.name, reverse=True)
        final = self.folder / FILE_NAME
        return [final, *epochs] if final.exists() else epochs
