"""A trial's checkpoints, epoch by epoch: the newest that is whole is gone on from, and few are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

import torch

from trainables.checkpoint import FILE_NAME, Checkpoint, config_hash, read, write
from trainables.config import TrialConfig
from trainables.errors import ConfigError, DataError
from trainables.trial_files import TrialFiles

__all__ = ["Generations"]

KEPT = 2
PATTERN = "epoch-*.safetensors"


@dataclass(frozen=True)
class Generations:
    """The checkpoints `epoch-N-SESSION.safetensors` among a trial's files.

    session: names the process that writes, so that an orphan of an earlier one never writes what this one reads.
    warn: told why a checkpoint was passed over.
    """

    files: TrialFiles
    session: str
    warn: Callable[[str], None]

    def save(self, checkpoint: Checkpoint) -> str:
        """Write a checkpoint, drop all but the newest two; returns its file's name."""
        name = f"epoch-{checkpoint.epoch:05}-{self.session}.safetensors"
        with self.files.writing() as folder:
            write(folder / name, checkpoint)
        for old in self._oldest_first()[:-KEPT]:
            self.files.delete(old)
        return name

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
            self.warn(f"{self.files.place} has no checkpoint to go on from: the trial begins anew")
        return None

    def _whole(self, name: str, config: TrialConfig, device: str | torch.device) -> Checkpoint | None:
        address = self.files.place / name
        try:
            with self.files.reading(name) as path:
                found = read(path, device, str(address))
        except (ConfigError, DataError) as error:
            self.warn(f"{error}; the checkpoint before it is taken")
            return None
        if config_hash(found.config) != config_hash(config):
            self.warn(f"{address} is of another configuration and is not read")
            return None
        return found

    def clear(self) -> None:
        """Remove them; the final checkpoint stays."""
        for name in self._oldest_first():
            self.files.delete(name)

    def _oldest_first(self) -> list[str]:
        return [name for name in self.files.names() if fnmatch(name, PATTERN)]

    def _newest_first(self) -> list[str]:
        """The final checkpoint first: a trial that has one has trained to its end."""
        names = self.files.names()
        epochs = [name for name in reversed(names) if fnmatch(name, PATTERN)]
        return [FILE_NAME, *epochs] if FILE_NAME in names else epochs
