import json
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from trainables.errors import UserError
from tuner.cluster.ray_address import check_ray_answers, check_ray_reachable, connect, leave, worker_environment


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_answers_is_let_pass_and_one_that_does_not_is_named(port):
    check_ray_reachable(f"127.0.0.1:{port}")
    with pytest.raises(UserError) as raised:
        check_ray_reachable("127.0.0.1:1")
    assert str(raised.value).startswith("resources.ray_address: no Ray cluster answers at 127.0.0.1:1 (")
    assert str(raised.value).endswith("start one with `ray start --head`, or leave the address out to start Ray here")


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:8265", "host:port", "127.0.0.1:123456"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UserError, match=r"allowed: auto, host:port$"):
        check_ray_reachable(address)


@pytest.mark.parametrize("host", ["a..b", 64 * "x" + ".org"])
def test_what_is_no_name_of_a_host_is_refused(host):
    with pytest.raises(UserError) as raised:
        check_ray_reachable(f"{host}:6379")
    assert str(raised.value) == (f"resources.ray_address: '{host}:6379' is not allowed: {host} is not a host name")


@pytest.fixture
def head():
    """head(gRPC status) → the address of a server that refuses all it is asked with it."""
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)

        def start(status):
            server.add_generic_rpc_handlers([Refusing(status)])
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            return f"127.0.0.1:{port}"

        yield start
        server.stop(None).wait()


class Refusing(grpc.GenericRpcHandler):
    def __init__(self, status):
        self.status = status

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: context.abort(self.status, "refused"))


def test_a_refused_token_is_told_from_a_cluster_that_is_not_there(head):
    address = head(grpc.StatusCode.UNAUTHENTICATED)
    with pytest.raises(UserError) as raised:
        check_ray_answers(address)
    assert str(raised.value) == (
        f"resources.ray_address: the Ray cluster at {address} cannot be joined: the cluster's token is missing or "
        "another; set RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN"
    )


def test_what_else_is_wrong_is_left_to_ray(head):
    check_ray_answers(head(grpc.StatusCode.UNIMPLEMENTED))


def test_a_cluster_that_auto_remembers_and_is_gone_is_none(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConnectionError):
        check_ray_answers("auto", seconds=0.2)


def test_a_port_that_is_not_the_heads_says_which_is(port):
    with pytest.raises(UserError) as raised:
        check_ray_answers(f"127.0.0.1:{port}", seconds=0.2)
    assert str(raised.value).startswith(
        f"resources.ray_address: 127.0.0.1:{port} takes connections and does not answer as the head of a Ray cluster; "
        "give its port, 6379 as a rule: 8265 is the dashboard's"
    )


def test_rays_client_is_refused_as_it_would_leave_the_driver_behind():
    with pytest.raises(UserError) as raised:
        check_ray_reachable("ray://head:10001")
    assert str(raised.value) == (
        "resources.ray_address: ray://head:10001 is of Ray's client, which cannot carry a sweep; send it with "
        "`vae-tuner submit SPEC.yaml --cluster URL`, or run it on a machine of the cluster with --ray-address auto"
    )


def test_no_address_needs_no_cluster():
    check_ray_reachable(None)
    connect(None)
    leave()


def test_workers_find_no_secret_and_what_their_job_gave_them(monkeypatch):
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "secret")
    blanked = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN"}
    assert {name for name, value in worker_environment().items() if value == ""} >= blanked
    assert "OMP_NUM_THREADS" not in worker_environment()
    given = {"runtime_env": {"env_vars": {"MLFLOW_TRACKING_URI": "http://head:5000"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(given))
    assert "MLFLOW_TRACKING_URI" not in worker_environment()
    assert "DATABRICKS_TOKEN" in worker_environment()
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": None}))
    assert "MLFLOW_TRACKING_URI" in worker_environment()
