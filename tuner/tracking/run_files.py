"""The files of a run: MLflow keeps them apart from its records, in another store that can fail by itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tuner.tracking.mlflow_store import artifact_repository

if TYPE_CHECKING:
    from tuner.tracking.mlflow_store import MlflowClient


class RunFiles:
    """What lies at a run's artifact URI. Every method may raise what the store of artifacts raises, of whatever kind:
    MLflow's own error, its HTTP client's, a disk's or a cloud's."""

    def __init__(self, client: MlflowClient, artifact_uri: str) -> None:
        self._repository = artifact_repository(client, artifact_uri)

    def names(self) -> set[str]:
        """The files at the top; empty where nothing was ever sent."""
        return {file.path for file in self._repository.list_artifacts()}

    def fetch(self, name: str, folder: Path) -> Path:
        """Copy a file into `folder`."""
        return Path(self._repository.download_artifacts(name, str(folder)))

    def text(self, name: str) -> str:
        """A file's text."""
        with TemporaryDirectory(prefix="vae-tuner-") as scratch:
            return self.fetch(name, Path(scratch)).read_text(encoding="utf-8")

    def send(self, path: Path) -> None:
        """Put a file there under its own name, in place of one of that name."""
        self._repository.log_artifact(str(path))

    def remove(self, name: str) -> None:
        """Take a file away."""
        self._repository.delete_artifacts(name)

    def send_folder(self, folder: Path) -> None:
        """Put all files of a folder there."""
        self._repository.log_artifacts(str(folder))

    def send_text(self, name: str, text: str) -> None:
        """Put a text there as a file."""
        with TemporaryDirectory(prefix="vae-tuner-") as scratch:
            (Path(scratch) / name).write_text(text, encoding="utf-8")
            self.send(Path(scratch) / name)
