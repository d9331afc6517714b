import json
import socket

import pytest

from trainables.errors import UserError
from tuner.ray_address import check_ray_reachable, connect, leave, worker_environment


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
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN", "HARMLESS"):
        monkeypatch.setenv(name, "secret")
    blanked = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN"}
    assert {name for name, value in worker_environment().items() if value == ""} >= blanked
    assert "HARMLESS" not in worker_environment()
    given = {"runtime_env": {"env_vars": {"MLFLOW_TRACKING_URI": "http://head:5000"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(given))
    assert "MLFLOW_TRACKING_URI" not in worker_environment()
    assert "DATABRICKS_TOKEN" in worker_environment()
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": None}))
    assert "MLFLOW_TRACKING_URI" in worker_environment()
