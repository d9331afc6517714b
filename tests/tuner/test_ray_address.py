import socket

import pytest

from trainables.errors import UserError
from tuner.ray_address import check_ray_reachable


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_port_that_answers_is_let_pass_and_one_that_does_not_is_named(port, address):
    check_ray_reachable(address.format(port))
    with pytest.raises(UserError) as raised:
        check_ray_reachable(address.format(1))
    assert str(raised.value).startswith(f"resources.ray_address: no Ray cluster answers at {address.format(1)} (")
    assert str(raised.value).endswith("start one with `ray start --head`, or leave the address out to start Ray here")


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:8265", "host:port", "127.0.0.1:123456"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UserError, match="allowed: auto, host:port, ray://host:port"):
        check_ray_reachable(address)


def test_no_address_needs_no_cluster():
    check_ray_reachable(None)
