"""A trial's checkpoints, epoch by epoch: the newest that is whole is gone on from, and few are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainables.config import TrialConfig
from trainables.errors import ConfigError, DataError
from trainables.files.checkpoint import Checkpoint, config_hash, read, write
from trainables.files.trial_files import BEST_NAME, FILE_NAME
from trainables.folder import Folder

KEPT = 2
NAME = re.compile(r"epoch-(\d+)-(.+)\.safetensors")


@dataclass(frozen=True)
class EpochCheckpoints:
    """The checkpoints `epoch-N-SESSION.safetensors` among a trial's files.

    session: names the process that writes; later ones sort after it. So an orphan of an earlier one neither writes nor
    removes what this one reads.
    warn: told why a checkpoint was passed over.
    """

    files: Folder
    session: str
    warn: Callable[[str], None]

    def save(self, checkpoint: Checkpoint, best: int | None = None) -> str:
        """Write a checkpoint, drop all before the newest two epochs up to its own; returns its file's name.

        best: an epoch of which the checkpoint stays.
        """
        name = f"epoch-{checkpoint.epoch:05}-{self.session}.safetensors"
        with self.files.writing() as folder:
            write(folder / name, checkpoint)
        epochs = {epoch for epoch in self._ours().values() if epoch <= checkpoint.epoch}
        self._drop(sorted(epochs)[-KEPT:][0], best)
        return name

    def of_epoch(self, epoch: int, config: TrialConfig, device: str | torch.device) -> Checkpoint | None:
        """The checkpoint of the best epoch, whole and of this configuration; None with a warning where it is gone."""
        names = [name for name, known in self._ours().items() if known == epoch]
        kept = [BEST_NAME] if BEST_NAME in self.files.names() else []
        for name in (*kept, *reversed(names)):
            found = self._whole(name, config, device)
            if found is not None and found.epoch == epoch:
                return found
        self.warn(f"{self.files} has no checkpoint of epoch {epoch}, the best; the last epoch's is used")
        return None

    def latest(self, config: TrialConfig, device: str | torch.device, at_most: int) -> Checkpoint | None:
        """The newest checkpoint that is whole, of this configuration and not beyond an epoch; None where there is none.

        With a warning for each that is passed over, and where a trial that had some must begin anew.
        """
        names = self._newest_first()
        for name in names:
            found = self._whole(name, config, device)
            if found is not None and found.epoch <= at_most:
                return found
        if names:
            self.warn(f"{self.files} has no checkpoint to go on from: the trial starts again")
        return None

    def _whole(self, name: str, config: TrialConfig, device: str | torch.device) -> Checkpoint | None:
        address = self.files / name
        try:
            with self.files.reading(name) as path:
                found = read(path, device, str(address))
        except (ConfigError, DataError) as error:
            self.warn(f"{error}; the checkpoint before it is used")
            return None
        if config_hash(found.config) != config_hash(config):
            self.warn(f"{address} belongs to another configuration and is skipped")
            return None
        return found

    def clear(self) -> None:
        """Remove them; the final checkpoint stays."""
        self._drop(math.inf)

    def _drop(self, before: float, but: int | None = None) -> None:
        for name, epoch in self._ours().items():
            if epoch < before and epoch != but:
                self.files.delete(name)

    def _ours(self) -> dict[str, int]:
        """The checkpoints by epoch, but for those of later sessions."""
        found = ((name, NAME.fullmatch(name)) for name in self.files.names())
        return {name: int(match[1]) for name, match in found if match and match[2] <= self.session}

    def _newest_first(self) -> list[str]:
        """The final checkpoint first: a trial that has one has trained to its end."""
        names = self.files.names()
        epochs = [name for name in reversed(names) if NAME.fullmatch(name)]
        return [FILE_NAME, *epochs] if FILE_NAME in names else epochs
