"""A session of a sweep: what it works with and shows, and how its end is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainables.errors import StorageError
from tuner.cluster.shared_ray import SharedRay
from tuner.cluster.signals import Signals
from tuner.planning.plans import Plan
from tuner.sweeps.events import Event
from tuner.sweeps.folder import trials_of
from tuner.sweeps.journal import Journal, close_session
from tuner.sweeps.lease import FencedError
from tuner.sweeps.state import Sweep


class Progress(Protocol):
    """What is told of a running sweep."""

    def event(self, event: Event) -> None:
        """A line was written to the journal."""

    def sending(self, unsent: int, error: str | None) -> None:
        """Some seconds more have been spent on sending the rest to MLflow. error: why the last try failed."""

    def stopped(self, cause: str) -> None:
        """The sweep stops in order, because its state cannot be written."""

    def silent(self, says: str) -> None:
        """Nothing was heard of a trial for a while."""


class _Silent:
    def event(self, event: Event) -> None:
        """Nothing is shown."""

    def sending(self, unsent: int, error: str | None) -> None:
        """Nothing is shown."""

    def stopped(self, cause: str) -> None:
        """Nothing is shown."""

    def silent(self, says: str) -> None:
        """Nothing is shown."""


ProgressFactory = Callable[[Plan, Sweep, str], AbstractContextManager[Progress]]


@contextmanager
def silent(plan: Plan, sweep: Sweep, uri: str) -> Iterator[Progress]:
    """Shows nothing."""
    yield _Silent()


@dataclass
class Session:
    """What a running sweep works with. folder: the sweep's own on this machine.

    exit_code: of the process, once the session has ended. full: why nothing more could be written.
    """

    plan: Plan
    journal: Journal
    folder: Path
    shown: Progress
    shared: SharedRay
    signals: Signals
    exit_code: int = 1
    full: StorageError | None = None

    @property
    def trials(self) -> str:
        """Where the trials keep their files: a path or a URI."""
        return trials_of(self.plan.spec.storage, self.folder.name)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Whatever ends the block, the journal says how the session ended.

        A signal and a full disk end the session in order. Any other error is raised, and FencedError at once: the
        journal belongs to another session then.
        """
        try:
            yield
            self._complete()
        except FencedError:
            raise
        except StorageError as error:
            self.shown.stopped(str(error))
            self.full = error
            self._interrupt()
        except BaseException as error:
            self._interrupt()
            # Ray's native code turns a StopSignal into a plain KeyboardInterrupt.
            if not (isinstance(error, KeyboardInterrupt) and self.signals.received):
                raise
            self.signals.acknowledge()

    @contextmanager
    def told_before_ray_ends(self) -> Iterator[None]:
        """An interrupt is acknowledged and written down before Ray ends, which takes seconds."""
        try:
            yield
        except KeyboardInterrupt:
            if self.signals.received:
                self.signals.acknowledge()
            self._interrupt()
            raise

    def _interrupt(self) -> None:
        with suppress(StorageError):
            close_session(self.journal, "interrupted")

    def _complete(self) -> None:
        sweep = self.journal.sweep
        trials = sweep.trials.values()
        was_cut_short = not sweep.spent and any(trial.unfinished for trial in trials)  # SIGUSR1 ends Tune's loop
        close_session(self.journal, "interrupted" if was_cut_short else "budget" if sweep.spent else "completed")
        completed = any(trial.stop_reason == "completed" for trial in trials)
        if not was_cut_short and (completed or (sweep.exhausted and not sweep.trials)):
            self.exit_code = 0
