"""Off the driver's path: a thread that keeps MLflow up to the journal, and the run of a retrained configuration."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.config import TrialConfig, method_of
from trainables.errors import UserError
from trainables.folder import LocalFolder
from trainables.identity import Identity
from trainables.importing import uncollected
from tuner.sweeps.events import Event
from tuner.tracking.database_file import cause_at
from tuner.tracking.origin import Origin

if TYPE_CHECKING:
    from tuner.tracking.projection import Projection

_BATCH = 2000
_LONGEST_DELAY = 60.0
NOTE_SECONDS = 5.0


class Tracker(threading.Thread):
    """Sends a growing list of journal events to MLflow.

    The journal is the truth: an outage makes the tracker fall behind and nothing else, and it takes up where MLflow
    stands, whether after an outage, a crash or in another process. A missing database is created as soon as it starts.

    events: the journal's list, only ever appended to.
    trials: the path or the URI below which the trials' files lie.
    interval: seconds between two looks at the list; doubled after each failure, up to a minute.
    check: called before anything is sent; raises where nothing may be.
    sync: puts all events on disk; called before any are sent, so that MLflow never knows more than the journal.
    error: why the last try failed, None where it did not. unsent_files: by trial, why a file of its run was not sent.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        events: Sequence[Event],
        trials: Path | str | None = None,
        tags: Mapping[str, str] | None = None,
        interval: float = 1.0,
        check: Callable[[], None] = lambda: None,
        sync: Callable[[], None] = lambda: None,
    ):
        super().__init__(name="mlflow-tracker", daemon=True)
        self.error: str | None = None
        self.unsent_files: dict[str, str] = {}
        self._uri, self._experiment, self._trials, self._tags = uri, experiment, trials, tags
        self._events = events
        self._interval, self._check, self._sync = interval, check, sync
        self._projection: Projection | None = None
        self._run_ids: dict[str, str] = {}
        self._parent_run_id: str | None = None
        self._position = 0
        self._finishing = threading.Event()
        self._abandoned = threading.Event()

    @property
    def unsent(self) -> int:
        """The number of events that MLflow lacks."""
        return len(self._events) - self._position

    @property
    def parent_run_id(self) -> str | None:
        """The sweep's run, None until it was sent."""
        return self._parent_run_id

    def run_ids(self) -> dict[str, str]:
        """Trial → run, of what was sent."""
        return self._run_ids

    def finish(self, timeout: float, waiting: Callable[[int, str | None], None] = lambda unsent, error: None) -> int:
        """Wait up to `timeout` seconds for the rest; returns the number of events not sent. No event may follow.

        It starts now where it has not. A failure that no waiting heals, as of a deleted experiment, ends the wait at
        once. waiting: called every few seconds with the number of events not yet sent and the last failure.
        """
        self._finishing.set()
        if self.ident is None:
            self.start()
        deadline = time.monotonic() + timeout
        try:
            while self.is_alive() and time.monotonic() < deadline:
                self.join(max(0.0, min(NOTE_SECONDS, deadline - time.monotonic())))
                if self.is_alive():
                    waiting(self.unsent, self.error)
        finally:
            self._abandoned.set()
        return self.unsent

    def run(self) -> None:
        delay = self._interval
        while not self._abandoned.is_set():
            afresh, hopeless = self._projection is None, False
            try:
                self._send()
                self.error, delay = None, self._interval
            except Exception as error:  # whatever goes wrong in a server or on the way is an outage
                self._projection, self.error, delay = None, cause_at(self._uri, error), min(2 * delay, _LONGEST_DELAY)
                hopeless = afresh and _is_permanent(error)
            if self._finishing.is_set() and (hopeless or not self.unsent):
                return
            self._wait(delay)

    def _wait(self, delay: float) -> None:
        """Until it is time for the next try; a finish brings it forward, but never to a busy loop."""
        if not self._finishing.wait(delay):
            return
        if self.error:
            self._abandoned.wait(min(delay, self._interval))

    def _send(self) -> None:
        self._check()
        if self._projection is None:
            self._projection = self._opened()
        while self.unsent and not self._abandoned.is_set():
            self._check()
            batch = self._events[self._position : self._position + _BATCH]
            self._sync()
            self._projection.project(batch)
            self._advance(self._projection, self._position + len(batch))
        if self._finishing.is_set() and self.unsent_files and not self._abandoned.is_set():
            self._projection.check_files(list(self.unsent_files))

    def _opened(self) -> "Projection":
        with uncollected():
            from tuner.tracking.mlflow_store import open_client
            from tuner.tracking.projection import Projection

            client = open_client(self._uri)
            projection = Projection(client, self._experiment, self._trials, self._tags, self.unsent_files)
        self._advance(projection, projection.resume(self._events))
        return projection

    def _advance(self, projection: "Projection", position: int) -> None:
        self._run_ids, self._parent_run_id = projection.run_ids(), projection.parent_run_id
        self._position = position


def _is_permanent(error: Exception) -> bool:
    """Whether the server understood and refused: what is not there, not allowed or not valid stays so."""
    from tuner.tracking.mlflow_store import MlflowException

    if isinstance(error, MlflowException):
        return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in (408, 429)
    return isinstance(error, UserError)


@dataclass(frozen=True)
class RetrainedRun:
    """One training of a configuration. started: in seconds since 1970. identity: what it was trained on and with.

    reports: `t` in seconds since 1970, `epoch` and `metrics`, the last with those of the end, as `test/elbo`.
    """

    config: TrialConfig
    started: float
    reports: Sequence[Mapping[str, Any]]
    stop_reason: str = "completed"
    outcome: str | None = None
    origin: Origin | None = None
    identity: Identity = field(default_factory=Identity)

    @property
    def name(self) -> str:
        """After sweep, trial and seed, or else after what was trained."""
        of = self.origin
        stem = f"{of.sweep}-{of.trial}" if of else f"{Path(self.config.data.name).stem}-{method_of(self.config)}"
        return f"{stem}-seed-{self.config.seed}"


def log_retrain(uri: str, experiment: str, run: RetrainedRun, results: Path) -> str:
    """Log one training of a configuration as a run of kind `retrain`; returns its id.

    results: the folder of what it left. May raise what MLflow or its store of files raises; the run is ended anyway.
    """
    from tuner.tracking.configurations import CONFIG, config_digest, config_text
    from tuner.tracking.identity_tags import identity_tags
    from tuner.tracking.mlflow_store import Tag, ended_anyway, ensure_experiment, open_client, status_of
    from tuner.tracking.params import to_params
    from tuner.tracking.projection import milliseconds, points_of, results_in, send_result
    from tuner.tracking.records import Change, records_of
    from tuner.tracking.run_files import RunFiles

    client, tree, of = open_client(uri), run.config.model_dump(mode="json"), run.origin
    own = {
        Tag.KIND: "retrain",
        Tag.METHOD: method_of(run.config),
        Tag.DATASET: run.config.data.name,
        Tag.STOP_REASON: run.stop_reason,
        Tag.CONFIG: config_digest(tree),
        **({Tag.OUTCOME: run.outcome} if run.outcome else {}),
        **({Tag.SWEEP: of.sweep, Tag.SWEEP_ID: of.sweep_id, Tag.TRIAL: of.trial} if of else {}),
        **identity_tags(run.identity),
    }
    made = client.create_run(ensure_experiment(client, experiment), milliseconds(run.started), own, run.name)
    run_id, source, records = str(made.info.run_id), LocalFolder(results), records_of(client)
    with ended_anyway(client, run_id):
        files = RunFiles(client, made.info.artifact_uri)
        points = [point for said in run.reports for point in points_of(said["metrics"], said["t"], said["epoch"])]
        records.write([Change(run_id, points, to_params(tree))])
        files.send_text(CONFIG, config_text(tree))
        for name in results_in(source):
            send_result(files, source, name)
        ended = milliseconds(run.reports[-1]["t"])
        records.write([Change(run_id, status=status_of(run.stop_reason), end=ended)])
    return run_id
