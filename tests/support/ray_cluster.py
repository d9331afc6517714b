"""A Ray cluster of several nodes on this machine."""

from contextlib import contextmanager

import pytest


@contextmanager
def ray_cluster(**head):
    """A cluster that asks for no token, as its drivers here have none, and that nodes can be added to.

    After `ray.init(address="local")` whatever Ray a process starts would ask for one: it leaves RAY_AUTH_MODE=token.
    """
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        made = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **head})
        yield made
        made.shutdown()
