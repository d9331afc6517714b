#!/usr/bin/env bash
# Ray: a process that has used Ray of its own cannot start actors on a cluster that asks for no token.
#
# Versions: ray 2.60.0, Python 3.11.
# Behaviour: `ray.init(address="local")` turns on tokens for the process, in RAY_AUTH_MODE and in its native code.
#   `ray.shutdown()` leaves both on, and taking the variable away does not turn the native code back. The process may
#   then join a cluster that was started without tokens, where tasks run and every actor dies before it starts, as one
#   that nobody refers to any more. So a notebook that has searched on its own machine cannot search on such a cluster.
#   A fresh process, or one with RAY_AUTH_MODE=disabled from its start, can.
# Output seen:
#   tokens before, while and after Ray runs here: None token token
#   a task on the cluster: 5
#   an actor on the cluster: ActorDiedError
#   the same in a fresh process: 5 5
# Exits with 1 where that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[default]==2.60.0' 2>/dev/null
cat >"$folder/joining.py" <<'PYTHON'
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.pop("RAY_AUTH_MODE", None)

import ray

QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


@ray.remote
class Five:
    def five(self):
        return 5


def on_cluster(address):
    ray.init(address=address, **QUIET)
    task = ray.get(ray.remote(lambda: 5).remote(), timeout=120)
    try:
        actor = ray.get(Five.remote().five.remote(), timeout=120)
    except ray.exceptions.RayActorError as error:
        actor = type(error).__name__
    ray.shutdown()
    return task, actor


if len(sys.argv) == 2:
    print("the same in a fresh process:", *on_cluster(sys.argv[1]))
    sys.exit()

from ray.cluster_utils import Cluster

modes = [os.environ.get("RAY_AUTH_MODE")]
ray.init(address="local", num_cpus=1, include_dashboard=False, **QUIET)
modes.append(os.environ.get("RAY_AUTH_MODE"))
ray.shutdown()
modes.append(os.environ.pop("RAY_AUTH_MODE", None))
print("tokens before, while and after Ray runs here:", *modes)
head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
cluster = Cluster(initialize_head=True, head_node_args=head)
task, actor = on_cluster(cluster.address)
print("a task on the cluster:", task)
print("an actor on the cluster:", actor)
sys.stdout.flush()
os.system(f"{sys.executable} {sys.argv[0]} {cluster.address}")
cluster.shutdown()
PYTHON
"$folder/venv/bin/python" "$folder/joining.py" 2>/dev/null | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' >/dev/null
tokens before, while and after Ray runs here: None token token
a task on the cluster: 5
an actor on the cluster: ActorDiedError
the same in a fresh process: 5 5
SEEN
