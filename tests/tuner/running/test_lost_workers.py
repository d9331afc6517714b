"""What a lost worker died of, by the text of Ray's own errors."""

from types import SimpleNamespace

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError

from tuner.running.lost_workers import OUT_OF_MEMORY, error_of, why

NODE = "The actor died because its node has died. Node Id: 0f\n\tthe actor's node was "


def died(message, **fields):
    return ActorDiedError(ActorDiedErrorContext(actor_id=b"0" * 16, error_message=message, **fields))


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            died(f"{NODE}terminated expectedly: received SIGTERM", node_ip_address="10.0.0.3"),
            "node",
            "its node 10.0.0.3 was lost: terminated expectedly: received SIGTERM",
        ),
        (
            died(f"{NODE}preempted: spot capacity is gone", node_ip_address="10.0.0.3"),
            "node",
            "its node 10.0.0.3 was lost: preempted: spot capacity is gone",
        ),
        (died("The actor died because its node has died. Node Id: 0f"), "node", "its node was lost"),
        (
            ActorUnavailableError("The actor is temporarily unavailable: RpcError: recvmsg:Connection reset", None),
            "node",
            "its node does not answer any more",
        ),
        (
            OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory on the node (ip: …)"),
            "memory",
            OUT_OF_MEMORY,
        ),
        (
            died("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit "
                 "detail: the process was killed by the OOM killer due to high memory usage"),
            "worker",
            "the worker process died: killed, or out of memory",
        ),
        ("", "worker", "the worker process died: killed, or out of memory"),
    ],
)  # fmt: skip
def test_a_lost_worker_died_of_what_ray_says(error, kind, says, tmp_path):
    (tmp_path / "error.txt").write_text(f"Failure # 1 (occurred at 2026-01-01_00-00-00)\n{error}\n")
    assert why(error_of(SimpleNamespace(error_file=str(tmp_path / "error.txt")))) == (kind, says)


def test_a_trial_of_which_tune_wrote_no_error_lost_its_worker():
    assert why(error_of(SimpleNamespace(error_file=None))).kind == "worker"
