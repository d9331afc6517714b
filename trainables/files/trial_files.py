"""The files of a trial: which there are, and where they lie."""

from __future__ import annotations

from pathlib import Path

from trainables.folder import Folder
from trainables.object_storage import PATIENCE, folder_at

FILE_NAME = "checkpoint.safetensors"  # of the last epoch; put there last: where it is, all other results are
BEST_NAME = "best.safetensors"  # of the best, where trials are ranked by that and it is not the last
RESULT_FILES = (FILE_NAME, BEST_NAME, "config.yaml", "reconstructions.png", "samples.png")


def trial_files(root: str | Path, trial: str) -> Folder:
    """A trial's files below a root that is a path, or a URI of object storage, which may be away for a moment."""
    return folder_at(root, PATIENCE) / trial
