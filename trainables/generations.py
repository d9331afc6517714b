"""A trial's checkpoints, epoch by epoch: the newest that is whole is gone on from, and few are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainables.checkpoint import Checkpoint, config_hash, read, write
from trainables.config import TrialConfig
from trainables.errors import UserError

__all__ = ["Generations"]

KEPT = 2
PATTERN = "epoch-*.safetensors"


@dataclass(frozen=True)
class Generations:
    """The checkpoints `epoch-N-SESSION.safetensors` in a trial's folder.

    session: names the process that writes, so that an orphan of an earlier one never writes what this one reads.
    warn: told why a checkpoint was passed over.
    """

    folder: Path
    session: str
    warn: Callable[[str], None]

    def save(self, checkpoint: Checkpoint) -> str:
        """Write a checkpoint, drop all but the newest two; returns its file's name."""
        path = self.folder / f"epoch-{checkpoint.epoch:05}-{self.session}.safetensors"
        write(path, checkpoint)
        for old in self._newest_first()[KEPT:]:
            old.unlink(missing_ok=True)
        return path.name

    def latest(self, config: TrialConfig, device: str) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this configuration; None where there is none."""
        for path in self._newest_first():
            try:
                found = read(path, device)
            except UserError as error:
                self.warn(f"{error}; an earlier checkpoint is taken, or the trial begins anew")
                continue
            if config_hash(found.config) == config_hash(config):
                return found
            self.warn(f"{path} is of another configuration and is not read")
        return None

    def clear(self) -> None:
        """Remove them all."""
        for path in self._newest_first():
            path.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob(PATTERN), key=lambda path: path.name, reverse=True)
