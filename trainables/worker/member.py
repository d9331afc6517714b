"""One trial of a lane: from its last checkpoint to its end."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch

from trainables import global_settings
from trainables.config import DataConfig, TrialConfig
from trainables.config.models import UserModel
from trainables.config.paths import parse_config
from trainables.data import readers
from trainables.data.dataset import Dataset, load
from trainables.data.readers import on_this_node
from trainables.errors import StorageError
from trainables.files.epoch_checkpoints import EpochCheckpoints
from trainables.files.trial_files import FILE_NAME, trial_files
from trainables.identity import differences, parse_identity
from trainables.models.user import keep_loaded, make_importable
from trainables.out_of_memory import is_out_of_memory
from trainables.ranking import BEST, BY_LAST, Best, Ranking, eligible_of, is_spent
from trainables.training.report import Report
from trainables.training.trainer import Trainer
from trainables.worker.results import write_results

_loaded: WeakValueDictionary[tuple[DataConfig, Path, str, float, str], Dataset] = WeakValueDictionary()
_latest: list[Dataset] = []
"""The data set that was asked for last, which stays where no trial uses it."""


class Failure(NamedTuple):
    """What a model raised, as text: an error itself would hold the memory of its frames. kind: `raised` or `memory`."""

    error: str
    kind: str


def failure_of(error: BaseException) -> Failure:
    text = "".join(traceback.format_exception(error))
    return Failure(text, "memory" if is_out_of_memory(error) else "raised")


class Member:
    """A trial in a lane: its trainer, its checkpoints, and what it has to tell.

    Parameters
    ----------
    given
        Of all trials of the lane `folder` (of the sweep's trials: a path that every node sees, or a URI of object
        storage), `data_dir` (made on every node that has none), `working_dir` (the driver's, where a user's model and
        data are found), `memory_share` (the part of its device's memory a lane may count on; all of it where it is not
        given), `session` (of the driver), `identity` (what the sweep trains on and with, as JSON; other data or code
        here stop the sweep in order); where trials are ranked by their best epoch also `ranking` and `patience` as
        JSON. Of this one `trial` (our id), `config` (the resolved TrialConfig as JSON), `epochs_done` (how many the
        driver knows of), and `best` as JSON, the best epoch so far and its value: the checkpoint of the best is kept
        beside the last.

    Attributes
    ----------
    id
        Ours.
    warnings
        That are not told yet.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.id = str(given["trial"])
        self.warnings: list[str] = []
        self._given = given
        self._trainer: Trainer | None = None
        self._untold: Report | None = None
        self._unsaved: Report | None = None
        self._settings: global_settings.Settings = {}
        self._threads = self._own_threads = 1
        self._is_users = False

    @property
    def trainer(self) -> Trainer:
        """Once it has begun."""
        assert self._trainer is not None
        return self._trainer

    @property
    def has_begun(self) -> bool:
        return self._trainer is not None

    def begin(self) -> None:
        """Read the data, make the model, and take up the last whole checkpoint, which may be an epoch ahead of what the
        driver has heard; raises whatever a model raises, and StorageError."""
        given = self._given
        config = parse_config(json.loads(given["config"]))
        self._is_users = isinstance(config.model, UserModel)
        self._threads = self._own_threads = int(config.threads)
        with self.own_settings():
            if self._is_users:
                make_importable(Path(given["working_dir"]))
            recorded = parse_identity(json.loads(given.get("identity", "{}")))
            keep_loaded(recorded.code)
            trainer = Trainer(config, _data_of(config, given))
            changed = differences(trainer.identity, recorded, config.data.name, "of the sweep")
            if changed:  # each node has its own copies, and files may change while a sweep runs
                told = f"on {socket.gethostname()} {'; '.join(changed)}; put back what the sweep began with"
                raise StorageError(told)
            self._files = trial_files(given["folder"], self.id)
            self._checkpoints = EpochCheckpoints(self._files, given["session"], self.warnings.append)
            self._take_ranking(given)
            self._eligible = eligible_of(config, trainer.steps_per_epoch)
            self._go_on(trainer, given["epochs_done"])
            self._trainer = trainer

    def _take_ranking(self, given: Mapping[str, Any]) -> None:
        """What the best epoch is a function of, and the best of those that the driver knows of."""
        ranking, best = json.loads(given.get("ranking", "null")), json.loads(given.get("best", "null"))
        self._ranking = Ranking(**ranking) if ranking else BY_LAST
        self._patience: int | None = json.loads(given.get("patience", "null"))
        self._best = Best(*best) if best else None

    def _go_on(self, trainer: Trainer, epochs_done: int) -> None:
        found = self._checkpoints.latest(trainer.config, trainer.device, epochs_done + 1)
        if found is None:
            return
        trainer.restore(found)
        if found.epoch > epochs_done:
            self._untold = Report(found.epoch, dict(found.metrics), diverged=False, outcome=found.outcome)

    @contextmanager
    def own_settings(self) -> Iterator[None]:
        """What a user's model sets of torch for the whole process holds while the block lasts, and in its next one;
        other trials find the settings of a new process."""
        if not self._is_users:
            yield
            return
        global_settings.apply(self._settings)
        torch.set_num_threads(self._own_threads)
        try:
            yield
        finally:
            self._settings, self._own_threads = global_settings.current(), torch.get_num_threads()
            global_settings.reset()
            torch.set_num_threads(self._threads)

    def known_report(self) -> Report | None:
        """The epoch that was trained and not heard of before, once."""
        found, self._untold = self._untold, None
        return found

    def take(self, report: Report) -> None:
        """An epoch is trained. A diverged one is never kept: the checkpoint that was written last stays."""
        if report.diverged:
            self._unsaved = None
            return
        self._unsaved = report
        if self._ranking.kind == BEST:
            self._best = self._ranking.better(self._best, report.epoch, report.metrics, self._eligible)

    def save(self, due: bool = True) -> str | None:
        """Write the checkpoint of the last epoch where it is not; returns its file's name, None where nothing was
        written.

        due: whether a usual one is to be written. That of the best epoch so far is at once, and so are the results of
        a trial that has come to its end.
        """
        report, best = self._unsaved, self._best
        if report is None:
            return None
        is_last = report.epoch == self.trainer.config.epochs or self._is_spent(report)
        if not (due or is_last or (best and best.epoch == report.epoch)):
            return None
        self._unsaved = None
        if not is_last:
            return self._checkpoints.save(self.trainer.checkpoint(report), best.epoch if best else None)
        earlier = None
        if best is not None and best.epoch < report.epoch:
            earlier = self._checkpoints.of_epoch(best.epoch, self.trainer.config, self.trainer.device)
        with self._files.writing(last=FILE_NAME) as folder, self.own_settings():
            write_results(folder, self.trainer, report, earlier)
        self._checkpoints.clear()
        return FILE_NAME

    def _is_spent(self, report: Report) -> bool:
        """Whether the trial ends here with its best epoch as its result: only where it is ranked by that."""
        return self._ranking.kind == BEST and is_spent(self._best, report.epoch, self._eligible, self._patience)

    def told(self, outcome: Report | Failure, checkpoint: str | None = None) -> dict[str, Any]:
        """What the driver hears of an epoch, or of what was raised in its place."""
        warnings, self.warnings[:] = list(self.warnings), []
        found = {"trial": self.id, "warnings": warnings}
        if isinstance(outcome, Failure):
            return {**found, **outcome._asdict()}
        epoch = {name: getattr(outcome, name) for name in ("epoch", "metrics", "diverged", "outcome")}
        return {**found, **epoch, "checkpoint": checkpoint}


def _data_of(config: TrialConfig, given: Mapping[str, Any]) -> Dataset:
    """The data of a trial, once for all that train on the same; others than those before are read anew."""
    working_dir = Path(os.environ.get("TUNE_ORIG_WORKING_DIR") or Path.cwd())  # Tune changes into a trial's folder
    name = on_this_node(config.data.name, Path(given.get("working_dir", "")), working_dir)
    root, share = Path(given["data_dir"]), given.get("memory_share", 1.0)
    digest = readers.digest(name, root, config.data.image_size)
    data = config.data.model_copy(update={"name": name})
    key = data, root, config.device, share, digest
    found = _loaded.get(key)
    if found is None:
        found = _loaded[key] = load(data, root, torch.device(config.device), share)
    _latest[:] = [found]
    return found
