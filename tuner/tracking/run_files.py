"""The files of a run: MLflow keeps them apart from its records, in another store that can fail by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trainables.folder import replacing
from tuner.tracking.mlflow_store import LocalArtifactRepository, artifact_repository

if TYPE_CHECKING:
    from tuner.tracking.mlflow_store import MlflowClient


class RunFiles:
    """What lies at a run's artifact URI. Every method may raise what the store of artifacts raises, of whatever kind:
    MLflow's own error, its HTTP client's, a disk's or a cloud's."""

    def __init__(self, client: MlflowClient, artifact_uri: str) -> None:
        self._repository = artifact_repository(client, artifact_uri)
        is_local = isinstance(self._repository, LocalArtifactRepository)
        self._folder = Path(self._repository.artifact_dir) if is_local else None

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
        if self._folder is None:
            self._repository.log_artifact(str(path))
            return
        with _in_place(self._folder, path.name) as part:
            shutil.copy2(path, part)

    def remove(self, name: str) -> None:
        """Take a file away."""
        self._repository.delete_artifacts(name)

    def send_folder(self, folder: Path) -> None:
        """Put all files of a folder there."""
        self._repository.log_artifacts(str(folder))

    def send_text(self, name: str, text: str) -> None:
        """Put a text there as a file."""
        if self._folder is not None:
            with _in_place(self._folder, name) as part:
                part.write_text(text, encoding="utf-8")
            return
        with TemporaryDirectory(prefix="vae-tuner-") as scratch:
            (Path(scratch) / name).write_text(text, encoding="utf-8")
            self.send(Path(scratch) / name)


@contextmanager
def _in_place(folder: Path, name: str) -> Iterator[Path]:
    """A path to write a file of a folder to; MLflow checks a local one at every step, which takes ten times as long."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / name) as part:
        yield part
