"""The Tune trainable around a trainer. One actor serves many trials; its data stay on its device."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.importing import uncollected

with uncollected():
    import torch
    from ray import tune

    from trainables import global_settings
    from trainables.config import DataConfig, TrialConfig
    from trainables.config.models import UserModel
    from trainables.config.paths import parse_config
    from trainables.data import readers
    from trainables.data.dataset import Dataset, load
    from trainables.data.readers import on_this_node
    from trainables.errors import RESULT_KEY, StorageError
    from trainables.files.epoch_checkpoints import EpochCheckpoints
    from trainables.files.trial_files import FILE_NAME, trial_files
    from trainables.identity import Identity, differences, parse_identity
    from trainables.models.user import keep_loaded, make_importable
    from trainables.out_of_memory import is_out_of_memory
    from trainables.ranking import BEST, BY_LAST, Best, Eligible, Ranking, eligible_of, is_spent
    from trainables.training.report import Report
    from trainables.training.trainer import Trainer
    from trainables.worker.results import write_results


@lru_cache(maxsize=1)
def _dataset(config: DataConfig, root: Path, device: str, memory_share: float, digest: str) -> Dataset:
    """digest: of the data as they are now; others than those before are read anew."""
    return load(config, root, torch.device(device), memory_share)


def _data_of(trial: TrialConfig, given: Mapping[str, Any]) -> Dataset:
    """The data of a trial, of which the actor holds one set at a time."""
    name = on_this_node(trial.data.name, Path(given.get("working_dir", "")), _working_dir())
    root, share = Path(given["data_dir"]), given.get("memory_share", 1.0)
    digest = readers.digest(name, root, trial.data.image_size)
    return _dataset(trial.data.model_copy(update={"name": name}), root, trial.device, share, digest)


def _working_dir() -> Path:
    """Of this worker, as Ray started it; Tune changes into a trial's folder."""
    return Path(os.environ.get("TUNE_ORIG_WORKING_DIR") or Path.cwd())


class VaeTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains one epoch a step and returns its report as JSON under RESULT_KEY, which Tune cannot take apart.

    Its configuration: `trial` (our id), `config` (the resolved TrialConfig as JSON), `folder` (of the sweep's
    trials: a path that every node sees, or a URI of object storage), `data_dir` (made on every node that has none),
    `working_dir` (the driver's, where a user's model and data are found), `memory_share` (the part of its device's
    memory a trial may count on; all of it where it is not given), `session` (of the driver), `epochs_done` (how
    many the driver knows of), `identity` (what the sweep trains on and with, as JSON; other data or code here stop
    the sweep in order). Where trials are ranked by their best epoch also `ranking` and `patience` as JSON, and `best`,
    the best epoch so far and its value: the checkpoint of the best is kept beside the last.
    A trial goes on from its last whole checkpoint; an epoch that was trained and not heard of
    is reported again. What a model raises is a report too, so that the actor serves the next trial. Tune saves and
    restores nothing: the sweep's folder has all.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take a trial on; reading data and making a model are a part of its first step, whose time is watched."""
        self.key = str(config["trial"])
        self.trainer: Trainer | None = None
        self._given: dict[str, Any] | None = config

    def begin(self) -> None:
        """Make ready what was taken on, unless that is done."""
        config, self._given = self._given, None
        if config is None:
            return
        self.files = trial_files(config["folder"], self.key)
        global_settings.reset()  # the model of the trial before may have set any
        torch.cuda.empty_cache()  # what the trial before has taken belongs to all that share the GPU
        self.failure: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.untold: Report | None = None
        try:
            trial_config = parse_config(json.loads(config["config"]))
            if isinstance(trial_config.model, UserModel):
                make_importable(Path(config["working_dir"]))
            recorded = parse_identity(json.loads(config.get("identity", "{}")))
            keep_loaded(recorded.code)
            trainer = Trainer(trial_config, _data_of(trial_config, config))
            self._check_same(trainer, recorded)
            self.checkpoints = EpochCheckpoints(self.files, config["session"], self.warnings.append)
            self._take_ranking(config, eligible_of(trial_config, trainer.steps_per_epoch))
            self._go_on(trainer, config["epochs_done"])
            self.trainer = trainer
        except StorageError as error:
            self.failure = {"storage": str(error)}
        except BaseException as error:  # whatever a model raises ends its trial, with the text kept, and not the sweep
            self.failure = _failure(error)

    @staticmethod
    def _check_same(trainer: Trainer, recorded: Identity) -> None:
        """Each node has its own copies, and files may change while a sweep runs."""
        changed = differences(trainer.identity, recorded, trainer.config.data.name, "of the sweep")
        if changed:
            raise StorageError(f"on {socket.gethostname()} {'; '.join(changed)}; put back what the sweep began with")

    def _go_on(self, trainer: Trainer, epochs_done: int) -> None:
        """Take up the last checkpoint, which may be an epoch ahead of what the driver has heard."""
        found = self.checkpoints.latest(trainer.config, trainer.device, epochs_done + 1)
        if found is None:
            return
        trainer.restore(found)
        if found.epoch > epochs_done:
            self.untold = Report(found.epoch, dict(found.metrics), diverged=False, outcome=found.outcome)

    def _take_ranking(self, given: dict[str, Any], eligible: Eligible) -> None:
        """What the best epoch is a function of, and the best of those that the driver knows of."""
        ranking, best = json.loads(given.get("ranking", "null")), json.loads(given.get("best", "null"))
        self.ranking = Ranking(**ranking) if ranking else BY_LAST
        self.patience: int | None = json.loads(given.get("patience", "null"))
        self.best = Best(*best) if best else None
        self.eligible = eligible

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial into this actor."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.begin()
        warnings, self.warnings[:] = list(self.warnings), []
        return {RESULT_KEY: json.dumps({"trial": self.key, "warnings": warnings, **self._epoch_or_error()})}

    def _epoch_or_error(self) -> dict[str, Any]:
        try:
            return self._epoch() if self.trainer else self.failure
        except StorageError as error:
            return {"storage": str(error)}
        except BaseException as error:  # as in setup; the trainer's memory is given back
            self.trainer = None
            return _failure(error)

    def _epoch(self) -> dict[str, Any]:
        report, self.untold = self.untold or self._running.train_epoch(), None
        if self.ranking.kind == BEST and not report.diverged:
            self.best = self.ranking.better(self.best, report.epoch, report.metrics, self.eligible)
        return {
            "epoch": report.epoch,
            "metrics": report.metrics,
            "diverged": report.diverged,
            "outcome": report.outcome,
            "checkpoint": self._save(report),
        }

    def _save(self, report: Report) -> str | None:
        """The checkpoint is kept before the epoch is reported; a diverged epoch leaves the one before."""
        if report.diverged:
            return None
        best = self.best.epoch if self.best else None
        if report.epoch < self._running.config.epochs and not self._is_spent(report):
            return self.checkpoints.save(self._running.checkpoint(report), best)
        earlier = None
        if best is not None and best < report.epoch:
            earlier = self.checkpoints.of_epoch(best, self._running.config, self._running.device)
        with self.files.writing(last=FILE_NAME) as folder:
            write_results(folder, self._running, report, earlier)
        self.checkpoints.clear()
        return FILE_NAME

    def _is_spent(self, report: Report) -> bool:
        """Whether the trial ends here with its best epoch as its result: only where it is ranked by that."""
        return self.ranking.kind == BEST and is_spent(self.best, report.epoch, self.eligible, self.patience)

    @property
    def _running(self) -> Trainer:
        assert self.trainer is not None
        return self.trainer


def _failure(error: BaseException) -> dict[str, Any]:
    """What is reported in an epoch's place."""
    return {"error": traceback.format_exc(), "kind": "memory" if is_out_of_memory(error) else "raised"}
