"""The actor through which lanes get their orders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trainables.worker.orders import Desk, Orders
from tuner.running.lanes import Post

MOST_CALLS = 100_000
"""Of lanes that wait for orders at once, and of orders that are posted."""


@contextmanager
def order_desk(name: str) -> Iterator[Post]:
    """An actor of this name on the driver's node while the block lasts; yields what posts orders there. It takes no
    core, and lives no longer than this driver."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": MOST_CALLS}
    desk = ray.remote(Desk).options(name=name, scheduling_strategy=here, **options).remote()

    def post(lane: int, turn: int, orders: Orders) -> None:
        desk.post.remote(lane, turn, orders)

    try:
        yield post
    finally:
        ray.kill(desk)
