"""The Ray cluster a sweep runs on: whether it can be reached, joined once per process, and left again."""

from __future__ import annotations

import json
import os
import re
import socket
from functools import partial

from trainables.errors import UserError
from tuner.cluster.ray_thread import done_by_ray_thread
from tuner.cluster.ray_users import check_shared, in_use
from tuner.cluster.worker_environment import secrets_hidden_from_workers

NAMESPACE = "vae-tuner@"
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"

_WAY_OUT = "start one with `ray start --head`, or leave the address out to start Ray here"


def check_ray_reachable(address: str | None) -> None:
    """Try the port of `host:port` once; `auto` is looked for when it is joined.

    Ray itself takes half a minute to give up on a port. Raises UserError with the address and the way out.
    """
    if address in (None, "auto"):
        return
    if str(address).startswith("ray://"):
        raise UserError(
            f"resources.ray_address: {address} is of Ray's client, which cannot carry a sweep; send it with `vae-tuner "
            "submit SPEC.yaml --cluster URL`, or run it on a machine of the cluster with --ray-address auto"
        )
    _check_port(str(address))


def check_ray_answers(address: str, seconds: float = 10.0) -> None:
    """Ask the head of a cluster for a sign of life; where there is none to be found, `auto` asks nobody.

    Ray itself takes half a minute to give up, and does not tell a token that is refused from a port that is silent. It
    has no public way to ask a head's own port: its state API and its jobs go by the dashboard, which a head need not
    have, and `ray health-check` is hidden and none either; so what Ray 2.60 generates for itself is used here.
    Raises UserError for either, and ConnectionError where what `auto` has found is gone.
    """
    import grpc  # type: ignore[import-untyped]
    from ray._private.grpc_utils import init_grpc_channel
    from ray._private.ray_constants import GLOBAL_GRPC_OPTIONS
    from ray._private.services import canonicalize_bootstrap_address
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
    from ray.exceptions import AuthenticationError

    head = canonicalize_bootstrap_address(address) if address == "auto" else address
    if head is None:
        return
    try:
        with init_grpc_channel(head, GLOBAL_GRPC_OPTIONS) as channel:
            alive = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel).CheckAlive
            alive(gcs_service_pb2.CheckAliveRequest(), timeout=seconds, wait_for_ready=True)
    except AuthenticationError:
        raise _refused(address, "RAY_AUTH_MODE asks for a token and there is none") from None
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise _refused(address, "the cluster's token is missing or another") from None
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and address == "auto":
            raise ConnectionError(f"{head} does not answer") from None
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise UserError(
                f"resources.ray_address: {address} takes connections and does not answer as the head of a Ray cluster; "
                "give its port, 6379 as a rule: 8265 is the dashboard's, for `vae-tuner submit SPEC.yaml --cluster URL`"
            ) from None


def _refused(address: str, cause: str) -> UserError:
    return UserError(
        f"resources.ray_address: the Ray cluster at {address} cannot be joined: {cause}; set RAY_AUTH_MODE=token, and "
        "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN"
    )


def connect(address: str | None) -> None:
    """Join the cluster at an address; None leaves the one that was joined, for Ray on this machine.

    Where this process is there already, or the caller has started Ray himself, that is used as it is. Raises UserError
    where no cluster answers, or a sweep of this process uses another.
    """
    done_by_ray_thread(partial(_connect, address))


def _connect(address: str | None) -> None:
    import ray

    check_shared(address)
    joined = _joined() if ray.is_initialized() else None
    if not in_use() and joined not in (None, address):
        ray.shutdown()
    if address is not None and joined != address:
        check_ray_reachable(address)
    if address is not None and not ray.is_initialized():
        _join(address)


def _join(address: str) -> None:
    import ray

    environment = worker_environment()
    try:
        check_ray_answers(address)
        ray.init(
            address=address,
            namespace=f"{NAMESPACE}{address}",
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": environment} if environment else None,
        )
    except ConnectionError as error:
        if address == "auto":
            raise UserError(f"resources.ray_address: no Ray cluster runs here for `auto` to find; {_WAY_OUT}") from None
        raise UserError(f"resources.ray_address: no Ray cluster answers at {address} ({error}); {_WAY_OUT}") from None


def leave() -> None:
    """Leave the cluster that `connect` joined; Ray that the caller started stays."""
    import ray

    if ray.is_initialized() and _joined() is not None:
        ray.shutdown()


def worker_environment() -> dict[str, str]:
    """What workers find empty in their environment: the secrets of this one, but for what a Ray job gives them."""
    return {name: "" for name in secrets_hidden_from_workers() if name not in _of_job()}


def is_joined() -> bool:
    """Whether this process is connected to a cluster by `connect`, and not by its caller."""
    return _joined() is not None


def _joined() -> str | None:
    """The address that `connect` joined: the connection's namespace says so."""
    from ray.runtime_context import get_runtime_context  # `ray.get_runtime_context` starts Ray where there is none

    namespace = str(get_runtime_context().namespace)
    return namespace.removeprefix(NAMESPACE) if namespace.startswith(NAMESPACE) else None


def _of_job() -> dict[str, str]:
    """The variables of the Ray job this process is the entry point of; Ray refuses to set one a second time."""
    job = json.loads(os.environ.get(JOB, "{}"))
    return (job.get("runtime_env") or {}).get("env_vars") or {}


def _check_port(address: str) -> None:
    found = re.fullmatch(r"\[?([^\s/]+?)\]?:(\d{1,5})", address)
    if found is None:
        raise UserError(f"resources.ray_address: {address!r} is not allowed; allowed: auto, host:port")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=5.0).close()
    except UnicodeError:
        raise UserError(f"resources.ray_address: {address!r} is not allowed: {found[1]} is not a host name") from None
    except (OSError, OverflowError) as error:
        raise UserError(f"resources.ray_address: no Ray cluster answers at {address} ({error}); {_WAY_OUT}") from None
