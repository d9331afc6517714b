"""Ray as the sweeps of this process share it: the first one starts or joins it, the last one ends or leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tuner.planning.plans import Plan
from tuner.running import ray_address
from tuner.running.ray_session import end_ray, start_ray
from tuner.running.ray_thread import in_ray_thread
from tuner.running.signals import Signals, wait_for

__all__ = ["shared_ray"]

END_SECONDS = 3.0
"""What Ray is given to end after a signal; it goes on ending when we have gone on."""

_started_here = False


@contextmanager
def shared_ray(plan: Plan, signals: Signals) -> Iterator[None]:
    """Ray for one sweep; raises what `start_ray` does, and UserError where sweeps of this process use another."""
    signals.check()
    begun = in_ray_thread(partial(_begin, plan))
    try:
        with signals.interrupting():
            wait_for(begun)
        begun.result()
        yield
    finally:
        ended = in_ray_thread(lambda: _end() if begun.exception() is None else None)
        if begun.done():
            wait_for(ended, END_SECONDS if signals.received else None)


def _begin(plan: Plan) -> None:
    global _started_here
    import ray

    address = plan.spec.resources.ray_address
    if ray_address.in_use():
        ray_address.check_shared(address)
    elif not ray.is_initialized():
        start_ray(plan)
        _started_here = address is None
    ray_address.use(address)


def _end() -> None:
    global _started_here
    if not ray_address.give_up():
        return
    ray_address.leave()
    if _started_here:
        _started_here = False
        end_ray()
