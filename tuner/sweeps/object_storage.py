"""Sweeps on object storage. Their driver works in a folder of its machine and seals the journal as it goes."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainables.data.readers.fetched import DATA
from trainables.folder import Folder, bytes_in
from trainables.object_storage import RemoteFolder
from tuner.sweeps.events import Line
from tuner.sweeps.folder import HeldSweep, first_free, taken, unknown
from tuner.sweeps.journal import JOURNAL, Journal, parse_journal
from tuner.sweeps.sealed_journal import RemoteLease, SealedJournal, has_begun, is_kept, is_segment, read_lines
from tuner.sweeps.spec import NAME


@dataclass(frozen=True)
class HeldRemoteSweep(HeldSweep):
    """A sweep on object storage that this process holds. folder: where it works here; remote: where it is kept."""

    claim: RemoteLease
    remote: RemoteFolder

    def create_journal(self) -> Journal:
        return SealedJournal.create(self.folder / JOURNAL, self.claim)

    def open_journal(self) -> Journal:
        (self.folder / JOURNAL).write_bytes(read_lines(self.remote / "journal"))
        return SealedJournal.open(self.folder / JOURNAL, self.claim)

    @property
    def place(self) -> Folder:
        return self.remote

    def remove_all(self) -> int:
        freed = super().remove_all()
        shutil.rmtree(self.folder)
        return freed

    def _confirm(self) -> None:
        self.claim.confirm()


@dataclass(frozen=True)
class RemoteStorage:
    """The sweeps below a URI such as `s3://bucket/sweeps`."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    def names(self) -> list[str]:
        """The sweeps that have begun."""
        paths = [path.split("/") for path, size in RemoteFolder(self.uri).sizes().items() if size]
        return sorted({path[0] for path in paths if path[1:2] == ["journal"] and is_segment(path[-1])})

    def exists(self, name: str) -> bool:
        """Whether anything lies below a name."""
        return bool((RemoteFolder(self.uri) / name).names())

    def lines(self, name: str) -> list[Line]:
        """What a sweep's journal holds for good."""
        folder = self._journal(name)
        return parse_journal(folder.uri, read_lines(folder))[0]

    def is_held(self, name: str) -> bool:
        """Whether a driver runs a sweep."""
        return is_kept(self._journal(name))

    @contextmanager
    def hold(self, name: str, *, to_remove: bool = False) -> Iterator[HeldSweep]:
        """Hold a sweep that exists, also where its journal is gone; raises UserError for any other name. Objects are
        never out of room."""
        if not NAME.fullmatch(name) or not (has_begun(self._journal(name)) or self._has_spec(name)):
            raise unknown(self, name)
        with self._held(name) as held:
            yield held

    @contextmanager
    def new(self, name: str | None, stem: str) -> Iterator[HeldSweep]:
        """Hold a new sweep."""
        name = name or first_free(stem, self.exists)
        left = [path for path in (RemoteFolder(self.uri) / name).names() if not path.startswith("journal/")]
        if not {*left} <= {"spec.yaml"} or has_begun(self._journal(name)):
            raise taken(self, name)
        with self._held(name) as held:
            if has_begun(self._journal(name)):
                raise taken(self, name)
            yield held

    def remove_data(self, digest: str) -> int:
        """Delete data that a job was given along."""
        folder = RemoteFolder(self.uri) / DATA / digest
        freed = bytes_in(folder)
        folder.clear()
        return freed

    @contextmanager
    def _held(self, name: str) -> Iterator[HeldSweep]:
        lease = RemoteLease.take(self._journal(name), name)
        try:
            folder = _cache() / hashlib.sha256(self.uri.encode()).hexdigest()[:16] / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            yield HeldRemoteSweep(folder, lease, RemoteFolder(self.uri) / name)
        finally:
            lease.release()

    def _has_spec(self, name: str) -> bool:
        return "spec.yaml" in (RemoteFolder(self.uri) / name).names()

    def _journal(self, name: str) -> RemoteFolder:
        return RemoteFolder(self.uri) / name / "journal"


def _cache() -> Path:
    """The folder in which drivers work on sweeps that are kept elsewhere."""
    return Path(os.environ.get("VAE_TUNER_CACHE", "~/.cache/vae-tuner")).expanduser() / "storage"
