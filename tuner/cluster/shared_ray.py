"""Ray as the sweeps of this process share it: the first one starts or joins it, the last one ends or leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import partial

from tuner.cluster import ray_address, ray_users
from tuner.cluster.ray_session import end_ray, quiet_no_more, quiet_ray, start_ray
from tuner.cluster.ray_thread import in_ray_thread
from tuner.cluster.ray_users import RayUse
from tuner.cluster.signals import Signals
from tuner.sweeps.spec import SweepSpec

END_SECONDS = 3.0
"""What Ray is given to end after a signal; it goes on ending when we have gone on."""

_started_here = False


class SharedRay:
    """Ray of one sweep, which is counted from before its checks to the end of its trials: no other sweep of this
    process may leave it or take another meanwhile. `close` at any moment, also twice.
    """

    def __init__(self, spec: SweepSpec, signals: Signals) -> None:
        self._use, self._signals = RayUse(spec.resources.ray_address, spec.storage), signals
        self._last: Future[None] | None = None

    def join(self) -> None:
        """Join the cluster of the sweep; on this machine Ray is started later. A signal interrupts it, where it may.

        Raises UserError where no cluster answers, or sweeps of this process use another Ray.
        """
        self._wait(partial(_begin, self._use))

    @contextmanager
    def started(self, cpus: float) -> Iterator[None]:
        """Ray runs while the block lasts; the sweep uses it no more then. Raises what `start_ray` does.

        cpus: what all its trials at once take.
        """
        try:
            self._signals.check()
            with self._signals.interrupting():
                self._wait(partial(_start, self._use, cpus))
            yield
        finally:
            self.close()

    @property
    def stays(self) -> bool:
        """Whether Ray is the caller's own, which outlives the sweeps of this process."""
        return not _started_here and not ray_address.is_joined()

    def close(self) -> None:
        """Use it no more; where Ray is still being started, that is not waited for."""
        ended = in_ray_thread(partial(_end, self._use))
        if self._last is None or self._last.done():
            with suppress(TimeoutError):
                ended.exception(END_SECONDS if self._signals.received else None)

    def _wait(self, work: Callable[[], None]) -> None:
        self._last = in_ray_thread(work)
        self._last.result()


@contextmanager
def shared_ray(spec: SweepSpec, cpus: float, signals: Signals) -> Iterator[None]:
    """Ray runs while the block lasts, for whatever sweeps there are in it."""
    with closing(SharedRay(spec, signals)) as shared:
        shared.join()
        with shared.started(cpus):
            yield


def _begin(use: RayUse) -> None:
    quiet_ray()
    try:
        ray_address.connect(use.address)
        ray_users.begin(use)
    except BaseException:
        if not ray_users.in_use():
            quiet_no_more()
        raise


def _start(use: RayUse, cpus: float) -> None:
    global _started_here
    import ray

    if not ray.is_initialized() and use.address is None:
        start_ray(cpus, ray_users.first().storage)
        _started_here = True
    ray_address.connect(use.address)


def _end(use: RayUse) -> None:
    global _started_here
    if not ray_users.end(use):
        return
    ray_address.leave()
    if _started_here:
        _started_here = False
        end_ray()
    quiet_no_more()
